"""Whose record an app may be pointed at. The names are in the record, which this room knows by this protocol only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:  # what hands the choices out knows them
    from smart_auth.users import User


class Choice(NamedTuple):
    """A patient or a visit: how it is called, and what tells it from others of that name."""

    id: str
    name: str
    detail: str = ""


class Choices(Protocol):
    async def own(self, user: User) -> Sequence[Choice]:
        """The person's own record, and those that they keep for others."""
        ...

    async def found(self, user: User, text: str) -> Sequence[Choice]:
        """Patients that this person may see, by name or identifier."""
        ...

    async def patient(self, user: User, id_: str) -> Choice | None:
        """A patient, if this person may choose it."""
        ...

    async def encounters(self, user: User, patient: str) -> Sequence[Choice]:
        """The latest visits of a patient."""
        ...

    async def encounter(self, user: User, patient: str, id_: str) -> Choice | None:
        """A visit, if it is of this patient and this person may see it."""
        ...

    async def made(self, user: User) -> str | None:
        """A new patient who is this person, by its id; None where the record takes none."""
        ...

    async def missing(self, references: Sequence[str]) -> Sequence[str]:
        """Those that the record does not have, for who links accounts to it."""
        ...


class Linked:
    """The patients that the account itself names, by their ids: what is known without asking the record."""

    async def own(self, user: User) -> Sequence[Choice]:
        return [Choice(id_, f"Patient {id_}") for id_ in user.records]

    async def found(self, user: User, text: str) -> Sequence[Choice]:
        return ()

    async def patient(self, user: User, id_: str) -> Choice | None:
        return next((each for each in await self.own(user) if each.id == id_), None)

    async def encounters(self, user: User, patient: str) -> Sequence[Choice]:
        return ()

    async def encounter(self, user: User, patient: str, id_: str) -> Choice | None:
        return None

    async def made(self, user: User) -> str | None:
        return None

    async def missing(self, references: Sequence[str]) -> Sequence[str]:
        return ()
