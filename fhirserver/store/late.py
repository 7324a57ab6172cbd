"""Resources that are made later than what they say is acknowledged: who reads their type has them made first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class Mark(NamedTuple):
    """What a line says of its event, where so much can be read of it."""

    id: str | None = None
    at: datetime | None = None


class Unmade(NamedTuple):
    """A line of the ledger of which no event can be made, and why. `intact`: it is as it was written."""

    strand: str
    number: int
    cause: str
    mark: Mark
    intact: bool


class Late(Protocol):
    """Of one type. `unmade` is what could not be made when it was last caught up."""

    @property
    def unmade(self) -> Sequence[Unmade]: ...

    async def catch_up(self) -> None: ...
