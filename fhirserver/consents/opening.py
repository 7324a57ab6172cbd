"""Whose records somebody may open, as the records say it: kept by this process until what says so may be another.

That are the resources of a few types; a write to any of them, by whatever server, ends what is kept (`epochs`), and so
does the next moment at which a period that was looked at begins or ends.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import NamedTuple

from fhirserver.epochs import Epochs

SAYING = frozenset({"CareTeam", "Consent", "Encounter", "Patient", "PractitionerRole", "RelatedPerson"})
MOST, MOST_IDS = 10_000, 2_000_000  # of those who ask, and of patients in all


class Openable(NamedTuple):
    """The ids of the patients, sorted, and when that may change by itself."""

    patients: tuple[str, ...]
    until: datetime | None = None


class Opening(Epochs):
    """By who asks for what; all go where there is no more room."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Hashable, tuple[Openable, int]] = {}
        self._ids = 0

    def get(self, asked: Hashable, now: datetime) -> Openable | None:
        found = self._kept.get(asked)
        if found is None or not self.lasts(found[1]):
            return None
        openable = found[0]
        return openable if openable.until is None or now < openable.until else None

    def keep(self, asked: Hashable, found: Openable, epoch: int) -> None:
        if len(self._kept) >= MOST or self._ids + len(found.patients) > MOST_IDS:
            self._kept.clear()
            self._ids = 0
        before = self._kept.pop(asked, None)
        self._ids += len(found.patients) - (len(before[0].patients) if before is not None else 0)
        self._kept[asked] = found, epoch
