"""How long what was read may be trusted without a second look: until a change is told, or nobody tells of changes."""

from __future__ import annotations

from time import monotonic

TRUSTED_SECONDS = 2.0  # of silence from who tells of changes
KEPT = "kept"  # the comment of a command to the database of which the answer is kept until it changes


class Epochs:
    """Every change of what is stored is a new epoch.

    One of this process counts with the next request; those of others are told by a change stream. As long as a change
    would have been told, what was found in this epoch needs no second look.
    """

    def __init__(self) -> None:
        self._heard = -TRUSTED_SECONDS
        self.epoch = 0

    def changed(self) -> None:
        """Something that is stored is another now."""
        self.epoch += 1

    def heard(self, at: float | None = None) -> None:
        """Whatever was changed before this moment (of `monotonic`), or until now, was told."""
        self._heard = monotonic() if at is None else at

    def lost(self) -> None:
        """Changes are not told any more, and those that were not are unknown."""
        self._heard = -TRUSTED_SECONDS
        self.epoch += 1

    def lasts(self, epoch: int) -> bool:
        """Whether nothing was changed since it began."""
        return epoch == self.epoch and monotonic() - self._heard < TRUSTED_SECONDS
