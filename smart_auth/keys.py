"""The keys that sign ID tokens. A new one every month; one that no longer signs stays published while its tokens live.

Their private halves are sealed: who copies the database signs nothing with them.
https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

from joserfc.jwk import RSAKey
from pymongo.errors import DuplicateKeyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import sealed
from smart_auth.server import Auth, Document

ALGORITHM = "RS256"  # what every OpenID client knows, and SMART's conformance tests ask for
SIGNS = timedelta(days=30)
PUBLISHED = timedelta(days=60)
BITS = 2048
PRIVATE = "private"

log = logging.getLogger(__name__)


async def signing(auth: Auth) -> RSAKey:
    """The newest key that this server can use, made when there is none, or when it is old.

    Where servers have different secrets, each makes one of its own, and not one more with each signature.
    """
    async for document in auth["keys"].find({"created": {"$gt": auth.now() - SIGNS}}).sort("_id", -1):
        if (key := _private(auth, document)) is not None:
            return key
    return await rotate(auth, await _newest(auth))


def _signs(auth: Auth, newest: Document) -> bool:
    return bool(newest["created"] > auth.now() - SIGNS)


def _private(auth: Auth, document: Document) -> RSAKey | None:
    """None where it was sealed under another secret. An earlier build kept it as it is."""
    if PRIVATE not in document:
        return RSAKey.import_key(document["jwk"])
    found = sealed.unsealed(auth.sealing_key, document[PRIVATE], _name(document["_id"]))
    if found is None:
        log.warning("a key that signs ID tokens was sealed under another HEALTHMATE_SECRET: it is not used here")
        return None
    return RSAKey.import_key(json.loads(found))


def _name(number: int) -> str:
    return f"the signing key {number}"


async def rotate(auth: Auth, newest: Document | None) -> RSAKey:
    """The next key after the newest. Of servers that make it at the same time, one does."""
    number = 1 if newest is None else newest["_id"] + 1
    key = await asyncio.to_thread(RSAKey.generate_key, BITS)
    key = RSAKey.import_key(key.as_dict(private=True) | {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM})
    now = auth.now()
    kept = sealed.seal(auth.sealing_key, json.dumps(key.as_dict(private=True)), _name(number))
    document = {"_id": number, "jwk": key.as_dict(private=False), PRIVATE: kept}
    document |= {"created": now, "expires": now + PUBLISHED}
    try:
        await auth["keys"].insert_one(document)
    except DuplicateKeyError:
        return await signing(auth)
    return key


async def public(auth: Auth) -> list[Document]:
    """The keys that tokens may be signed with, newest first."""
    newest = await _newest(auth)
    if newest is None or not _signs(auth, newest):
        await rotate(auth, newest)
    found = auth["keys"].find({"expires": {"$gt": auth.now()}}).sort("_id", -1)
    return [RSAKey.import_key(each["jwk"]).as_dict(private=False) async for each in found]


async def jwks(auth: Auth, request: Request) -> Response:
    """GET /jwks: https://www.rfc-editor.org/rfc/rfc7517#section-5"""
    return JSONResponse({"keys": await public(auth)}, headers={"Cache-Control": "public, max-age=300"})


async def _newest(auth: Auth) -> Document | None:
    """Also one that is over, and that MongoDB has not forgotten yet: the next has another number."""
    return await auth["keys"].find_one({}, sort=[("_id", -1)])
