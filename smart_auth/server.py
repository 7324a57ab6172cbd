"""What every handler of the authorization server gets first, as the FHIR interactions get `ctx`."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from fhirserver.settings import Settings
from smart_auth.choices import Choices, Linked
from smart_auth.counts import Counts
from smart_auth.key_sets import KeySets
from smart_auth.known import Known

Document = dict[str, Any]


class Happening(NamedTuple):
    """What happened to an account: who did it and to whose ("" where nobody is known), from which network address.

    `patient` is the id of the one whom it is about, and `person` the resource that the actor is, where these matter.
    `roles` are those that the account had before (`rolesBefore`) and has now, where it is about these.
    """

    kind: str
    actor: str
    subject: str
    address: str = ""
    patient: str | None = None
    person: str | None = None
    roles: Mapping[str, Sequence[str]] = {}


Tell = Callable[[Happening], Awaitable[None]]
"""Audit."""


async def untold(happening: Happening) -> None:
    """Where no audit events are kept."""


def unknown(purpose: str) -> bool:
    """Where nobody says which purposes of use there are."""
    return False


@dataclass(frozen=True, slots=True)
class Auth:
    """The authorization server of one record: `issuer` is its own base URL, `fhir` that of the record.

    `is_purpose` knows the purposes of use that Consents name.
    """

    database: AsyncDatabase[Document]
    settings: Settings
    now: Callable[[], datetime]
    known: Known = field(default_factory=Known)
    key_sets: KeySets = field(default_factory=KeySets)
    counts: Counts = field(default_factory=Counts)
    choices: Choices = field(default_factory=Linked)
    tell: Tell = untold
    is_purpose: Callable[[str], bool] = unknown
    sealing_key: bytes = b""  # AES has none that is empty: who is not given one seals nothing

    @property
    def issuer(self) -> str:
        return self.settings.auth_url

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/token"

    @property
    def fhir(self) -> str:
        return self.settings.base_url

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        """The collection `auth.[name]`."""
        return self.database[f"auth.{name}"]


def new_secret() -> str:
    """256 bits that nobody guesses, as text for a URL or a header."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a secret that was handed out. It is random, so that a fast hash is as good as a slow one."""
    return hashlib.sha256(secret.encode()).hexdigest()
