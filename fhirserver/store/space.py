"""Room on the disk of a database on this machine. A mongod whose disk is full ends, so writes stop a little before.

Reads go on meanwhile, and writes too as soon as there is room again. A database elsewhere has an operator of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from fhirserver.settings import is_loopback

log = logging.getLogger(__name__)
SECONDS = 0.25  # between two looks
MEGABYTE = 1 << 20
OUT_OF_DISK_SPACE = 14031  # https://www.mongodb.com/docs/manual/reference/error-codes/


@dataclass(slots=True)
class Space:
    """Leaves `spare` bytes of a folder's disk free."""

    folder: Path
    spare: int
    _look: float = field(default=0.0, repr=False)
    _free: int = field(default=0, repr=False)

    def claim(self) -> None:
        """Raises what mongod itself would say where a write would take what it needs to go on."""
        now = time.monotonic()
        if now - self._look > SECONDS or self._free < self.spare:
            self._look, self._free = now, _room(self.folder)
        if self._free < self.spare:
            left, kept = self._free // MEGABYTE, self.spare // MEGABYTE
            raise OperationFailure(f"{left} MB are left in {self.folder}, of which {kept} stay free", OUT_OF_DISK_SPACE)


def _room(folder: Path) -> int:
    """Bytes. Of a folder that went away nothing is known, and mongod is the one to say so."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        log.warning("how much room is left for the database is not known: %s", error)
        return sys.maxsize
    return disk.f_bavail * disk.f_frsize


async def space_of(client: AsyncMongoClient[dict[str, Any]], spare_mb: int) -> Space | None:
    """The disk of this database where it is this machine's: it tells where its files are."""
    member = (await client.admin.command("hello")).get("me", "")  # none of a sharded cluster
    if not spare_mb or not is_loopback(member.rpartition(":")[0]):
        return None
    try:
        options = await client.admin.command("getCmdLineOpts")
    except OperationFailure:  # not for this user, who then is no operator of it
        return None
    folder = Path(options["parsed"].get("storage", {}).get("dbPath", ""))
    return Space(folder, spare_mb * MEGABYTE) if folder.is_absolute() and os.access(folder, os.R_OK) else None
