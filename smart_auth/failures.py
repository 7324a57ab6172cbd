"""Attempts to log in that fail, as events: about the account, whose owner sees them, or about nobody if there is none.

What was typed is not kept; it may be a password. Each is counted by the hour, and of one account, or of nobody, so many
are told; the rest of a flood is counted only. So are attempts that have to wait. A wrong password is answered no sooner
than others are, so that the time tells neither whether there is such an account, nor which kind of hash it has.
"""

from __future__ import annotations

from asyncio import sleep
from datetime import timedelta
from time import monotonic
from typing import Any

from pymongo import ReturnDocument
from starlette.requests import Request

from smart_auth import events, throttle
from smart_auth.refusal import Refused
from smart_auth.server import Auth

TOLD = 100  # in an hour
LEAST = 0.5  # seconds: more than a hash of either kind takes, and what is kept of a failure
DAY = timedelta(days=1)
TURNED_AWAY = "turned away"


async def admit(auth: Auth, key: str, free: int = throttle.FREE) -> int:
    """As `throttle.admit`; who has to wait is counted."""
    try:
        return await throttle.admit(auth, key, free)
    except Refused:
        await counted(auth, TURNED_AWAY)
        raise


async def failed(auth: Auth, request: Request, kind: str, user: str | None, **details: Any) -> None:
    """Tell of it, or only count it."""
    subject = user or ""
    number = await counted(auth, subject)
    if number == TOLD:
        details["rest"] = "more of this hour are counted only"
    if number <= TOLD:
        await events.record(auth, kind, "", subject, address=throttle.origin(auth, request), **details)
    else:
        await counted(auth, subject, "untold")


async def answerable(came: float) -> None:
    """When a failure may be answered that came at a time of `monotonic`."""
    await sleep(max(0.0, came + LEAST - monotonic()))


async def counted(auth: Auth, subject: str, what: str = "failed") -> int:
    """How many it is in this hour."""
    hour = auth.now().replace(minute=0, second=0, microsecond=0)
    document = await auth["failures"].find_one_and_update(
        {"_id": f"{hour:%Y-%m-%dT%H} {subject}"},
        {"$inc": {what: 1}, "$setOnInsert": {"subject": subject, "expires": hour + 2 * DAY}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    count: int = (document or {}).get(what, 1)
    return count


async def lately(auth: Auth) -> dict[str, int]:
    """How many attempts failed within the last day, and how many more had to wait."""
    counts = {"failedLogIns": 0, "turnedAway": 0}
    async for each in auth["failures"].find({"expires": {"$gt": auth.now() + DAY}}):
        counts["turnedAway" if each["subject"] == TURNED_AWAY else "failedLogIns"] += each.get("failed", 0)
    return counts
