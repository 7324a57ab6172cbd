"""Since when a log-in is waited for, as a request carries it: https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhirserver.settings import Settings
from smart_auth.reauthentication import AFTER, LIFE, after, waiting
from smart_auth.sealed import sealing_key
from smart_auth.server import Auth

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ASKED = {"client_id": "app", "state": "é &", "prompt": "login"}


def at(time: datetime, secret: bytes = b"one") -> Auth:
    """A server that is asked nothing, at a time."""
    nothing: Any = None
    return Auth(nothing, Settings(), lambda: time, sealing_key=sealing_key(secret))


def test_it_is_known_again_for_an_hour() -> None:
    carried = waiting(at(NOON), ASKED, NOON)
    assert carried | {AFTER: ""} == ASKED | {AFTER: ""}
    assert after(at(NOON + LIFE - timedelta(seconds=1)), carried) == NOON
    assert after(at(NOON + LIFE), carried) is None
    later = waiting(at(NOON), carried, NOON + timedelta(minutes=1))
    assert after(at(NOON), later) == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    "changed", [{"state": "other"}, {"prompt": "none"}, {"more": "x"}, {AFTER: ""}, {AFTER: "v1.é"}, {AFTER: "0"}]
)
def test_it_is_of_one_request(changed: dict[str, str]) -> None:
    assert after(at(NOON), waiting(at(NOON), ASKED, NOON) | changed) is None


def test_it_is_of_one_secret() -> None:
    assert after(at(NOON, b"two"), waiting(at(NOON), ASKED, NOON)) is None
