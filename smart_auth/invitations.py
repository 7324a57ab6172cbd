"""Codes that an administrator hands to a person, and that link their new account to a record. Good once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from smart_auth import users
from smart_auth.refusal import invalid_request
from smart_auth.server import Auth, Document, digest, new_secret

LIFE = timedelta(days=14)


async def make(auth: Auth, role: str, patient: str | None, fhir_user: str | None, by: str) -> str:
    """A code for a person with this role; `patient` is their own record, or of a proxy the one they keep."""
    code = new_secret()
    await auth["invitations"].insert_one(
        {
            "_id": digest(code),
            "role": role,
            "patient": patient,
            "fhir_user": fhir_user,
            "by": by,
            "expires": auth.now() + LIFE,
        }
    )
    return code


async def look(auth: Auth, code: str) -> str:
    """What `claim` knows it by. A code that is not good is refused, before anything is done for it."""
    found = await auth["invitations"].find_one(_good(auth, digest(code)))
    if found is None or not await users.administers(auth, found["by"]):
        raise invalid_request("this invitation is not known, was used before or is too old", "invitation")
    return digest(code)


async def claim(auth: Auth, invitation: str) -> Document | None:
    """What the account is linked to from now on, and to nothing else, as it is stored. Of two at once, one gets it.

    An invitation is good while who made it is an administrator.
    """
    found = await auth["invitations"].find_one_and_delete(_good(auth, invitation))
    return _linked(found) if found and await users.administers(auth, found["by"]) else None


def _linked(invitation: Mapping[str, Any]) -> Document:
    role, patient = invitation["role"], invitation["patient"]
    keeps = role == "proxy" and patient
    own = f"Patient/{patient}" if patient and not keeps else None
    whose: Document = {"patient": None if keeps else patient, "proxy_for": [patient] if keeps else []}
    return {"roles": [role], "fhir_user": invitation["fhir_user"] or own, **whose}


def _good(auth: Auth, invitation: str) -> Document:
    return {"_id": invitation, "expires": {"$gt": auth.now()}}
