"""How many files and connections a process, and what it starts, may have open.

A shell allows 1,024. mongod has one for each collection and each index, and ends in the middle of its work where it may
open no more; a server has one for each connection. https://www.mongodb.com/docs/manual/reference/ulimit/
"""

from __future__ import annotations

import logging
import resource

WANTED, FEW = 64_000, 10_000  # a record with all types has some 1,500

log = logging.getLogger(__name__)


def allow_many() -> None:
    """As many as MongoDB wants, or as the system allows this user; a warning where these are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if most < FEW:
        log.warning("this system allows %d open files (ulimit -Hn); MongoDB wants %d", most, WANTED)
    if soft < most and soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
