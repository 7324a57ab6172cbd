"""What was compiled from stored resources, kept as long as it is the present state of them; the oldest goes first."""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.epochs import Epochs
from terminology.canonical import Canonical
from terminology.code_systems import CodeSystem
from terminology.codes import Expanded, size
from terminology.concept_maps import ConceptMap
from terminology.naming import NamingSystem
from terminology.releases.release import Release
from terminology.supplements import Supplements
from terminology.ucum import Ucum
from terminology.value_sets import Present, ValueSet

Identity = tuple[str, int] | None  # a stored version of a resource; None where nothing is stored
Definition = ValueSet | CodeSystem | ConceptMap | NamingSystem | Release | Supplements | Ucum
MOST_CODES = 500_000


class Gathered:
    """What a canonical was made of: `used` is what each one that was looked up meant at the time, `epoch`."""

    def __init__(self, used: Mapping[Canonical, Identity], present: Present, epoch: int) -> None:
        self.used = used
        self.present = present
        self.epoch = epoch
        self.expansion: Expanded | None = None


class Terminology(Epochs):
    """What canonicals were made of, and value sets and code systems by the stored version that they were made of."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Canonical | tuple[str, int], tuple[Gathered | Definition, int]] = {}
        self._codes = 0

    def gathered(self, asked: Canonical) -> Gathered | None:
        found = self._kept.get(asked)
        return found[0] if found is not None and isinstance(found[0], Gathered) else None

    def compiled(self, stored: tuple[str, int]) -> Definition | None:
        found = self._kept.get(stored)
        return None if found is None or isinstance(found[0], Gathered) else found[0]

    def keep(self, key: Canonical | tuple[str, int], value: Gathered | Definition) -> None:
        """Also again, after its expansion became known."""
        self._drop(key)
        self._kept[key] = value, _size(value)
        self._codes += _size(value)
        while self._codes > MOST_CODES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Canonical | tuple[str, int]) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._codes -= dropped[1]


def _size(value: Gathered | Definition) -> int:
    """In codes; 100 more for each, so that many small ones are bounded too. What is kept twice counts twice."""
    if not isinstance(value, Gathered):
        return 100 + value.size
    held = sum(each.size for each in value.present.value_sets.values())
    held += sum(each.size for each in value.present.concept_maps.values())
    held += sum(each.size for each in value.present.code_systems.values() if isinstance(each, CodeSystem))
    return 100 + len(value.used) + held + (size(value.expansion.codes) if value.expansion else 0)
