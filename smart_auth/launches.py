"""Launches from an EHR: who opens an app about whom, kept for some minutes under a secret that the app is opened with.

https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from smart_auth.server import Auth, digest, new_secret

LIFE = timedelta(minutes=5)


class Launch(NamedTuple):
    """`context` is what the app is told beside patient and encounter."""

    id: str
    user: str
    patient: str | None
    encounter: str | None
    context: Mapping[str, Any]


async def begin(auth: Auth, user: str, context: Mapping[str, Any]) -> str:
    """A launch, by the secret that the app is opened with: ?iss=…&launch=…"""
    secret, now = new_secret(), auth.now()
    launch = {"_id": digest(secret), "user": user, "context": dict(context), "used": None}
    await auth["launches"].insert_one(launch | {"issued": now, "expires": now + LIFE})
    return secret


async def find(auth: Auth, secret: str) -> Launch | None:
    """One that waits for its app."""
    asked = {"_id": digest(secret), "used": None, "expires": {"$gt": auth.now()}}
    found = await auth["launches"].find_one(asked)
    if found is None:
        return None
    context = found["context"]
    return Launch(found["_id"], found["user"], context.get("patient"), context.get("encounter"), context)


async def claim(auth: Auth, launch: Launch) -> bool:
    """Whether this is its first use."""
    change = {"$set": {"used": auth.now()}}
    return await auth["launches"].find_one_and_update({"_id": launch.id, "used": None}, change) is not None
