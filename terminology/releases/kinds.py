"""Which releases can be read, and how each says what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from terminology.releases import snomed
from terminology.releases.described import Described
from terminology.releases.files import Files
from terminology.releases.staging import Staging

KINDS: Mapping[str, Callable[[Files, Staging], Described]] = {
    "snomed": snomed.read,
}

__all__ = ["KINDS", "Described"]
