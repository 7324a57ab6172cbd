"""What access tokens allow, as this process knows it: a read needs no round trip, and a revocation holds at once.

Every change of a grant or of an account is a new epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.epochs import Epochs

MOST = 20_000


class Grant(NamedTuple):
    """What a token allows. `id` is all that was granted together, `token` this one (its digest, never the secret).

    `context` is that of the launch: `patient`, `encounter`, …; `user` is an account, `fhir_user` its resource,
    `records` the ids of the patients whose records it keeps, and `own` that of the one that the person is. `purposes`
    are what a service is registered to use data for.
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
    own: str | None = None
    purposes: frozenset[str] = frozenset()

    @property
    def patient(self) -> str | None:
        return self.context.get("patient")


class Known(Epochs):
    """Grants by the digest of a token; the oldest goes first."""

    def __init__(self) -> None:
        super().__init__()
        self._grants: dict[str, tuple[Grant, int]] = {}

    def get(self, token: str) -> Grant | None:
        found = self._grants.get(token)
        return found[0] if found is not None and self.lasts(found[1]) else None

    def keep(self, grant: Grant, epoch: int) -> None:
        """As it was read while it was `epoch`."""
        self._grants.pop(grant.token, None)
        self._grants[grant.token] = grant, epoch
        if len(self._grants) > MOST:
            del self._grants[next(iter(self._grants))]
