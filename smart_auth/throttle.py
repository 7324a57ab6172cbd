"""Guessing gets slow: after five failures each further try has to wait, twice as long every time, up to 15 minutes.

An attempt counts as a failure until it proves right, in the command that admits it: a hundred at once are not a hundred
tries. Nobody is locked out for good. https://cheatsheetseries.owasp.org/cheatsheets/Authentication_Cheat_Sheet.html
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from pymongo import ReturnDocument
from starlette.requests import Request

from smart_auth import addresses
from smart_auth.refusal import Refused
from smart_auth.server import Auth, Document

FREE = 5
CEREMONIES = 100  # with passkeys: nothing can be guessed there, but each is kept for a while
MAILS = 20  # that one address may have sent before it has to wait
FIRST_WAIT = 30.0
LONGEST_WAIT = 900.0
FORGOTTEN = timedelta(minutes=15)  # after the last wait
_long_ago = datetime(1970, 1, 1, tzinfo=UTC)


def key(kind: str, of: str) -> str:
    """A key of fixed length, whatever was typed."""
    return f"{kind}:{hashlib.sha256(of.encode(errors='replace')).hexdigest()}"


def address(auth: Auth, request: Request) -> str:
    """Where a request comes from, as it is counted."""
    return addresses.neighbourhood(origin(auth, request))


def origin(auth: Auth, request: Request) -> str:
    return addresses.origin(auth.settings, request.scope)


async def admit(auth: Auth, key_: str, free: int = FREE) -> int:
    """Count an attempt, or refuse it with 429 and the time to wait. How many were refused since the one before."""
    now = auth.now()
    document = await auth["throttle"].find_one_and_update(
        {"_id": key_}, _admission(now, free), upsert=True, return_document=ReturnDocument.AFTER
    )
    if document is None:
        return 0
    if not document["admitted"]:
        wait = max(1, math.ceil((document["until"] - now).total_seconds()))
        said = f"too many attempts; wait {wait} seconds and try again"
        raise Refused("slow_down", said, 429, {"Retry-After": str(wait)})
    refused: int = document["before"]
    return refused


def _admission(now: datetime, free: int) -> list[Document]:
    doubled = {"$pow": [2, {"$min": [{"$subtract": ["$failures", free]}, 16]}]}
    wait = {"$min": [{"$multiply": [FIRST_WAIT * 1000, doubled]}, LONGEST_WAIT * 1000]}
    until = {"$cond": [{"$gte": ["$failures", free]}, {"$add": [now, {"$toLong": wait}]}, _long_ago]}
    refused = {"$ifNull": ["$refused", 0]}
    return [
        {"$set": {"admitted": {"$lte": [{"$ifNull": ["$until", _long_ago]}, now]}}},
        {"$set": {"before": {"$cond": ["$admitted", refused, 0]}}},
        {"$set": {"refused": {"$cond": ["$admitted", 0, {"$add": [refused, 1]}]}}},
        {"$set": {"failures": {"$add": [{"$ifNull": ["$failures", 0]}, {"$cond": ["$admitted", 1, 0]}]}}},
        {"$set": {"until": {"$cond": ["$admitted", until, "$until"]}}},
        {"$set": {"expires": {"$add": [{"$max": ["$until", now]}, FORGOTTEN // timedelta(milliseconds=1)]}}},
    ]


async def proved(auth: Auth, key_: str) -> None:
    """The attempt was right: all is forgiven."""
    await auth["throttle"].delete_one({"_id": key_})


@asynccontextmanager
async def given_back(auth: Auth, *keys: str) -> AsyncIterator[None]:
    """What was admitted, and then found no room to be looked at, does not count either."""
    try:
        yield
    except Refused as refused:
        if refused.status == 503:
            for each in keys:
                await refund(auth, each)
        raise


async def refund(auth: Auth, key_: str) -> None:
    """The attempt was right, but says nothing about the others by this key: it does not count."""
    await auth["throttle"].update_one(
        {"_id": key_, "failures": {"$gt": 0}}, {"$inc": {"failures": -1}, "$set": {"until": _long_ago}}
    )
