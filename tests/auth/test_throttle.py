"""How long who guesses has to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from people import inside

from smart_auth import throttle
from smart_auth.refusal import Refused
from smart_auth.server import Auth

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(auth: Auth, seconds: float) -> Auth:
    return replace(auth, now=lambda: START + timedelta(seconds=seconds))


async def waits(auth: Auth, key: str, seconds: float) -> int:
    """0 where the attempt is admitted."""
    try:
        await throttle.admit(at(auth, seconds), key)
    except Refused as refused:
        return int(refused.headers["Retry-After"])
    return 0


def test_each_wait_is_twice_the_one_before_up_to_a_quarter_of_an_hour(serve: Any) -> None:
    async def story(auth: Auth) -> list[int]:
        seconds, found = 0.0, []
        for _ in range(throttle.FREE):
            assert await waits(auth, "a", seconds) == 0
        for _ in range(8):
            found.append(await waits(auth, "a", seconds))
            assert await waits(auth, "a", seconds + found[-1] - 1) == 1
            seconds += found[-1]
            assert await waits(auth, "a", seconds) == 0
        return found

    assert inside(serve().settings, story) == [30, 60, 120, 240, 480, 900, 900, 900]


def test_what_was_right_is_forgiven_and_what_says_nothing_is_refunded(serve: Any) -> None:
    async def story(auth: Auth) -> None:
        for _ in range(throttle.FREE):
            await throttle.admit(at(auth, 0), "b")
        await throttle.proved(at(auth, 0), "b")
        assert await waits(auth, "b", 0) == 0
        for _ in range(3 * throttle.FREE):  # right each time, by an address that many share
            await throttle.admit(at(auth, 0), "c")
            await throttle.refund(at(auth, 0), "c")
        assert [await waits(auth, "c", 0) > 0 for _ in range(throttle.FREE + 1)] == [False] * throttle.FREE + [True]

    inside(serve().settings, story)
