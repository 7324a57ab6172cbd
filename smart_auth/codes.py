"""Authorization codes: good for a minute and for one use; whoever brings one again ends what came of it.

https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from datetime import timedelta

from smart_auth.clients import Client
from smart_auth.refusal import invalid_grant
from smart_auth.server import Auth, Document, digest, new_secret
from smart_auth.tokens import revoke

LIFE = timedelta(seconds=60)
REMEMBERED = timedelta(days=1)  # for who brings it again
CHALLENGE = re.compile(r"[A-Za-z0-9_\-]{43}")
_verifier = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


async def put(auth: Auth, grant: str, client: str, redirect_uri: str, challenge: str, more: Document) -> str:
    """A code for a grant that was begun; `more` comes back with it."""
    code, now = new_secret(), auth.now()
    bound = {"grant": grant, "client": client, "redirect_uri": redirect_uri, "challenge": challenge}
    times = {"issued": now, "expires": now + REMEMBERED, "used": None}
    await auth["codes"].insert_one({"_id": digest(code), **bound, **times, "more": more})
    return code


async def claim(auth: Auth, client: Client, code: str, redirect_uri: str, verifier: str) -> Document:
    """Use a code. It is used up whoever brings it, also when something else does not fit."""
    asked = {"_id": digest(code)}
    found = await auth["codes"].find_one_and_update(asked | {"used": None}, {"$set": {"used": auth.now()}})
    if found is None:
        used = await auth["codes"].find_one(asked)
        if used is not None:
            await revoke(auth, used["grant"], "a code was used again")
        raise invalid_grant("the code is unknown, or was used before")
    if found["client"] != client.id:
        raise invalid_grant("the code was given to another client")
    if auth.now() >= found["issued"] + LIFE:
        raise invalid_grant(f"the code is older than {LIFE.seconds} s")
    if found["redirect_uri"] != redirect_uri:
        raise invalid_grant("redirect_uri is not the one that the code was sent to")
    if not _verifier.fullmatch(verifier) or not hmac.compare_digest(challenge(verifier), found["challenge"]):
        raise invalid_grant("code_verifier does not fit the code_challenge")
    return found


def challenge(verifier: str) -> str:
    """S256 of https://www.rfc-editor.org/rfc/rfc7636#section-4.2"""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
