"""How long the keys that a client publishes are good for, as time goes by."""

from __future__ import annotations

import asyncio
import json

import pytest
from brief import briefly

from fhirserver.egress import Answer, Unreachable
from smart_auth import key_sets
from smart_auth.key_sets import KeySets

URL = "https://service.example/jwks"


class Published:
    """A URL that answers with these keys, or not at all, and how often it was asked; and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time, self.asked, self.kids = 1_000.0, 0, ["old"]
        self.seconds: int | None = None
        monkeypatch.setattr(key_sets, "get", self._get)
        monkeypatch.setattr(key_sets, "monotonic", lambda: self.time)

    async def _get(self, url: str, **_: object) -> Answer:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.kids:
            raise Unreachable("nobody answers")
        return Answer(json.dumps({"keys": [{"kid": kid} for kid in self.kids]}).encode(), self.seconds)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    return Published(monkeypatch)


def found(sets: KeySets, kid: str) -> list[str]:
    return [str(key["kid"]) for key in briefly(sets.keys(URL, kid, ()))]


def test_a_new_key_is_found_and_one_that_was_taken_back_ends(published: Published) -> None:
    sets = KeySets()
    assert found(sets, "old") == ["old"]
    published.kids = ["new"]
    assert found(sets, "new") == ["old"], "a stranger must not have us ask all the time"
    published.time += key_sets.AGAIN_SECONDS
    assert found(sets, "new") == ["new"]
    published.time += key_sets.KEPT_SECONDS - 1
    assert (found(sets, "new"), published.asked) == (["new"], 2)
    published.kids, published.time = ["newer"], published.time + 1
    assert (found(sets, "new"), published.asked) == (["newer"], 3)


def test_old_keys_go_on_for_a_while_where_nobody_answers(published: Published) -> None:
    sets = KeySets()
    assert found(sets, "old") == ["old"]
    published.kids = []
    while published.time + key_sets.KEPT_SECONDS < 1_000 + key_sets.STALE_SECONDS:
        published.time += key_sets.KEPT_SECONDS
        assert found(sets, "old") == ["old"]
    published.time += key_sets.KEPT_SECONDS
    with pytest.raises(Unreachable):
        found(sets, "old")
    assert found(sets, "old") == []
    published.kids, published.time = ["old"], published.time + key_sets.AGAIN_SECONDS
    assert found(sets, "old") == ["old"]


@pytest.mark.parametrize(
    ("seconds", "kept"), [(0, 1), (60, 60), (400, key_sets.KEPT_SECONDS), (100_000, key_sets.KEPT_SECONDS)]
)
def test_keys_are_kept_no_longer_than_is_said(published: Published, seconds: int, kept: float) -> None:
    sets, published.seconds = KeySets(), seconds
    assert found(sets, "old") == ["old"]
    published.kids, published.time = ["new"], published.time + kept - 0.1
    assert (found(sets, "old"), published.asked) == (["old"], 1)
    published.time += 0.1
    assert (found(sets, "old"), published.asked) == (["new"], 2)


def test_nor_where_nobody_answers(published: Published) -> None:
    sets, published.seconds = KeySets(), 400
    assert found(sets, "old") == ["old"]
    published.kids, published.time = [], published.time + key_sets.KEPT_SECONDS
    assert (found(sets, "old"), published.asked) == (["old"], 2)
    published.time = 1_399
    assert (found(sets, "old"), published.asked) == (["old"], 2)
    published.time = 1_400
    with pytest.raises(Unreachable):
        found(sets, "old")


def test_a_crowd_asks_once(published: Published) -> None:
    sets = KeySets()

    async def crowd(kid: str) -> list[list[str]]:
        answers = await asyncio.gather(*(sets.keys(URL, kid, ()) for _ in range(8)))
        return [[str(key["kid"]) for key in each] for each in answers]

    assert (briefly(crowd("old")), published.asked) == ([["old"]] * 8, 1)
    published.time += key_sets.AGAIN_SECONDS
    assert (briefly(crowd("unknown")), published.asked) == ([["old"]] * 8, 2)
    published.kids, published.time = [], published.time + key_sets.STALE_SECONDS
    with pytest.raises(Unreachable):
        briefly(crowd("old"))
    assert published.asked == 3
