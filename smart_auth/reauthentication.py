"""A new log-in, where an app wants one (`prompt=login`, `max_age`): since when it is waited for goes with the request.

It is sealed for this request, so that nobody who is logged in already goes on as if that had come of it.
https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from smart_auth import sealed
from smart_auth.server import Auth

AFTER = "log_in_after"
LIFE = timedelta(hours=1)
ROOM = 80  # characters that it takes in a request
NEW = frozenset(("login", "select_account"))  # of `prompt`
TICK = timedelta(milliseconds=1)  # as sessions are kept
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def waiting(auth: Auth, fields: Mapping[str, str], since: datetime) -> dict[str, str]:
    """The request, for who logged in after this."""
    asked = without(fields)
    said = str((since - _EPOCH) // TICK)
    return asked | {AFTER: sealed.seal(auth.sealing_key, said, urlencode(asked))}


def without(fields: Mapping[str, str]) -> dict[str, str]:
    """The request as the app made it."""
    return {name: value for name, value in fields.items() if name != AFTER}


def after(auth: Auth, fields: Mapping[str, str]) -> datetime | None:
    """Since when a log-in is waited for; None where nobody of us said so of this request, or it is too long ago."""
    found = sealed.unsealed(auth.sealing_key, fields.get(AFTER, ""), urlencode(without(fields)))
    since = None if found is None else _EPOCH + int(found) * TICK
    return None if since is None or auth.now() >= since + LIFE else since
