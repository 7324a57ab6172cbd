"""Which types have ever been written, as this process knows it: there are few, and a new one is seldom."""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.epochs import Epochs


class Present(Epochs):
    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[Sequence[str], int] = ((), -1)

    @property
    def types(self) -> Sequence[str] | None:
        """None where the database has to be asked."""
        found, epoch = self._kept
        return found if self.lasts(epoch) else None

    def keep(self, types: Sequence[str], epoch: int) -> None:
        """As they were found in an epoch."""
        self._kept = types, epoch
