"""What was compiled from stored resources, kept as long as it is the present state of them; the oldest goes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from terminology.canonical import Canonical
from terminology.code_systems import CodeSystem
from terminology.value_sets import Expansion, size

Identity = tuple[str, int] | None  # a stored version of a resource; None where nothing is stored
MOST_CODES = 500_000


class Compiled(NamedTuple):
    """`used` is what each canonical that was looked up meant at the time."""

    used: Mapping[Canonical, Identity]
    expansion: Expansion


class Terminology:
    """Expansions by what was asked for, code systems by the stored version that they were made of."""

    def __init__(self) -> None:
        self._kept: dict[Canonical | tuple[str, int], Compiled | CodeSystem] = {}
        self._codes = 0

    def expansion(self, asked: Canonical) -> Compiled | None:
        found = self._kept.get(asked)
        return found if isinstance(found, Compiled) else None

    def system(self, stored: tuple[str, int]) -> CodeSystem | None:
        found = self._kept.get(stored)
        return found if isinstance(found, CodeSystem) else None

    def keep(self, key: Canonical | tuple[str, int], value: Compiled | CodeSystem) -> None:
        self._drop(key)
        self._kept[key] = value
        self._codes += _size(value)
        while self._codes > MOST_CODES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Canonical | tuple[str, int]) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._codes -= _size(dropped)


def _size(value: Compiled | CodeSystem) -> int:
    """In codes; 100 more for each, so that many small ones are bounded too."""
    return 100 + (size(value.expansion) + len(value.used) if isinstance(value, Compiled) else len(value.said))
