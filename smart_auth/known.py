"""What access tokens allow, as this process knows it: a read needs no round trip, and a revocation holds at once.

As `terminology.kept` does: every change of a grant or of an account is a new epoch. One of this process counts with the
next request; those of others are told by a change stream, and when that is silent nothing that is known is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

MOST = 20_000
TRUSTED_SECONDS = 2.0  # of silence from who tells of changes


class Grant(NamedTuple):
    """What a token allows. `id` is all that was granted together, `token` this one (its digest, never the secret).

    `context` is that of the launch: `patient`, `encounter`, …; `user` is an account, `fhir_user` its resource,
    and `records` the ids of the patients whose records it keeps.
    """

    id: str
    token: str
    client: str
    scope: str
    issued: datetime
    expires: datetime
    user: str | None = None
    session: str | None = None
    fhir_user: str | None = None
    roles: frozenset[str] = frozenset()
    records: tuple[str, ...] = ()
    context: Mapping[str, Any] = {}

    @property
    def patient(self) -> str | None:
        return self.context.get("patient")


class Known:
    """Grants by the digest of a token; the oldest goes first."""

    def __init__(self) -> None:
        self._grants: dict[str, tuple[Grant, int]] = {}
        self._heard = -TRUSTED_SECONDS
        self.epoch = 0

    def changed(self) -> None:
        """A grant was revoked, or an account is another now."""
        self.epoch += 1

    def heard(self) -> None:
        """Whatever was changed before this moment was told."""
        self._heard = monotonic()

    def lost(self) -> None:
        """Changes are not told any more, and those that were not are unknown."""
        self._heard = -TRUSTED_SECONDS
        self.epoch += 1

    def get(self, token: str) -> Grant | None:
        found = self._grants.get(token)
        if found is None or found[1] != self.epoch or monotonic() - self._heard >= TRUSTED_SECONDS:
            return None
        return found[0]

    def keep(self, grant: Grant, epoch: int) -> None:
        """As it was read while it was `epoch`."""
        self._grants.pop(grant.token, None)
        self._grants[grant.token] = grant, epoch
        if len(self._grants) > MOST:
            del self._grants[next(iter(self._grants))]
