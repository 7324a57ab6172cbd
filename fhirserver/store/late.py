"""Resources that are made later than what they say is acknowledged: who reads their type has them made first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Unmade(NamedTuple):
    """A line of the ledger of which no event can be made, and why. `id` is that of the event, where it can be read."""

    strand: str
    number: int
    cause: str
    id: str | None


class Late(Protocol):
    """Of one type. `unmade` is what could not be made when it was last caught up."""

    @property
    def unmade(self) -> Sequence[Unmade]: ...

    async def catch_up(self) -> None: ...
