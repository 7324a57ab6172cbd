"""The locks are complete for every Python that is said to do, not only for the one that made them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11.0", "3.11.2", "3.11.14", "3.12.0", "3.13.0", "3.14.0")


def locked(name: str) -> list[str]:
    return [canonicalize_name(each) for each in re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.MULTILINE)]


def left_out() -> set[str]:
    """What is never loaded: the Makefile says so."""
    said = re.findall(r"^UNUSED(?:_AT_RUN_TIME)? := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {canonicalize_name(each) for each in " ".join(said).replace("\\\n", " ").split()}


def needed(name: str) -> Iterator[str]:
    """By a package on Linux, with any of these versions of Python and no extras."""
    for each in map(Requirement, distribution(name).requires or ()):
        for version in PYTHONS:
            here = {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version, "extra": ""}
            if each.marker is None or each.marker.evaluate(here):
                yield canonicalize_name(each.name)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_what_a_locked_package_needs_is_locked(lock: str) -> None:
    have = locked(lock)
    lacking = {f"{name} needs {each}" for name in have for each in needed(name) if each not in {*have, *left_out()}}
    assert lacking == set()
