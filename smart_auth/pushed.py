"""Authorization requests that an app pushed beforehand: good for a minute and for one use.

https://www.rfc-editor.org/rfc/rfc9126
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode

from smart_auth import forms
from smart_auth.clients import Client
from smart_auth.refusal import invalid_request
from smart_auth.server import Auth, digest, new_secret

LIFE = timedelta(seconds=60)
URN = "urn:ietf:params:oauth:request_uri:"
LONGEST = 8_000  # characters, as the pages carry it
TOO_LONG = f"an authorization request has up to {LONGEST:,} characters"


def is_long(asked: Mapping[str, str]) -> bool:
    return len(urlencode(asked)) > LONGEST


async def put(auth: Auth, client: Client, asked: Mapping[str, str]) -> str:
    """The request_uri by which a browser brings it."""
    secret = new_secret()
    pushed = {"_id": digest(secret), "client": client.id, "asked": urlencode(asked), "expires": auth.now() + LIFE}
    await auth["pushed"].insert_one(pushed)
    return URN + secret


async def claimed(auth: Auth, fields: Mapping[str, str]) -> Mapping[str, str]:
    """What was pushed; what comes beside it does not count. Where nothing was pushed, the request as it came."""
    uri = fields.get("request_uri", "")
    if not uri.startswith(URN):
        return fields
    query = {"_id": digest(uri.removeprefix(URN)), "client": fields.get("client_id")}
    found = await auth["pushed"].find_one_and_delete(query)
    if found is None or found["expires"] <= auth.now():
        raise invalid_request(f"request_uri is unknown, was used, is older than {LIFE.seconds} s, or another client's")
    return forms.fields(found["asked"].encode())
