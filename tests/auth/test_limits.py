"""So many requests a minute, of a client, of a user, from an address; several servers agree about it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import inside, person

from fhirserver.settings import Settings
from smart_auth import tokens
from smart_auth.counts import SECONDS, Counts
from smart_auth.limits import share
from smart_auth.server import Auth

MOST = 6
_told = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')
addresses = (f"198.51.{number // 250}.{number % 250}" for number in count())


def told(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """What is left, and for how many seconds, of each limit."""
    found = _told.findall(answer.headers.get("RateLimit", ""))
    return {kind: (int(left), int(seconds)) for kind, left, seconds in found}


@pytest.fixture(scope="module")
def served(serve: Any) -> Any:
    return serve(open=False, trusted_proxies="127.0.0.1", requests_per_address=MOST)


def newcomer(served: Any) -> dict[str, str]:
    """An address that asked once, and whose minute has still long to go."""
    for address in addresses:
        place = {"X-Forwarded-For": address}
        left, seconds = told(served.client.get("metadata", headers=place))["address"]
        assert left == served.settings.requests_per_address - 1
        if seconds > 35:
            return place
    raise AssertionError("addresses do not end")


def token(settings: Settings, client: str, login: str | None = None, scope: str | None = None) -> dict[str, str]:
    async def issued(auth: Auth) -> str:
        user = await auth["users"].find_one({"login": login}) if login else None
        hour, given = timedelta(hours=1), scope or ("user/*.rs" if login else "system/*.rs")
        grant = await tokens.begin(auth, client, given, hour, user=user["_id"] if user else None)
        return (await tokens.issue(auth, grant, given, hour, None)).access

    return {"Authorization": f"Bearer {inside(settings, issued)}"}


def test_an_address_that_asks_too_much_is_told_to_wait(served: Any) -> None:
    place = newcomer(served) | {"Authorization": "Bearer nothing"}  # a wrong token is counted, too
    for left in range(MOST - 2, -1, -1):
        answer = served.client.get("Patient", headers=place)
        assert (answer.status_code, told(answer)["address"][0]) == (401, left)
        assert answer.headers["RateLimit-Policy"] == f'"address";q={MOST};w=60'
    for _ in range(2):
        answer = served.client.get("Patient", headers=place)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (429, "throttled")
        assert told(answer)["address"] == (0, int(answer.headers["Retry-After"]))
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert served.client.get("metadata", headers=newcomer(served)).status_code == 200


def test_log_in_and_record_are_counted_together(served: Any) -> None:
    place, auth = newcomer(served), served.settings.auth_url
    for _ in range(MOST - 1):
        assert httpx.get(f"{auth}/jwks", headers=place).status_code == 200
    refused = httpx.get(f"{auth}/jwks", headers=place)
    assert (refused.status_code, refused.json()["error"]) == (429, "slow_down")
    assert told(refused)["address"] == (0, int(refused.headers["Retry-After"]))
    assert served.client.get("metadata", headers=place).status_code == 429


def test_clients_and_users_have_their_own_limits(serve: Any) -> None:
    served = serve(open=False, requests_per_client=500, requests_per_user=1_000)
    for login in ("ada@example.org", "bob@example.org"):
        person(served.settings, login, roles=["practitioner"])
    ada, bob = (token(served.settings, "app", f"{name}@example.org") for name in ("ada", "bob"))
    other, service = token(served.settings, "other-app", "ada@example.org"), token(served.settings, "service")
    assert told(served.client.get("metadata")) == {}
    answers = [served.client.get("metadata", headers=each) for each in (ada, bob, other, service)]
    assert [{*told(answer)} for answer in answers] == [{"client", "user"}] * 3 + [{"client"}]
    assert told(answers[0])["client"][0] == 499
    assert told(answers[3])["client"][0] == 499  # nobody else's


@pytest.mark.parametrize("kind", ["client", "user"])
def test_a_caller_that_asks_too_much_is_told_to_wait(serve: Any, kind: str) -> None:
    served = serve(open=False, **{f"requests_per_{kind}": 3})
    person(served.settings, "ada@example.org", roles=["practitioner"])
    ada = token(served.settings, "app", "ada@example.org")
    statuses = [served.client.get("metadata", headers=ada).status_code for _ in range(7)]
    assert statuses[:3] == [200] * 3
    assert 429 in statuses  # of two minutes that meet here, six are allowed
    assert served.client.get("metadata").status_code == 200


def bundle(kind: str, *names: str) -> dict[str, Any]:
    """Patients to be written."""
    entries = [
        {"request": {"method": "PUT", "url": f"Patient/{name}"}, "resource": {"resourceType": "Patient", "id": name}}
        for name in names
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_each_entry_of_a_bundle_counts_and_none_is_done_where_they_are_too_many(serve: Any, kind: str) -> None:
    served = serve(open=False, requests_per_client=20, trusted_proxies="127.0.0.1", requests_per_address=20)
    place = newcomer(served) | token(served.settings, "writer", scope="system/*.cruds")
    answer = served.client.post("", bundle(kind, *(f"p{number}" for number in range(12))), headers=place)
    assert answer.status_code == 200, answer.text
    assert (told(answer)["address"][0], told(answer)["client"][0]) == (7, 8)
    assert len(_told.findall(answer.headers["RateLimit"])) == 2  # each limit is told once
    refused = served.client.post("", bundle(kind, *(f"q{number}" for number in range(9))), headers=place)
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (429, "throttled")
    assert "each entry of this Bundle counts, 9 in all" in refused.json()["issue"][0]["diagnostics"]
    assert int(refused.headers["Retry-After"]) >= 1
    assert served.client.get("Patient/q0", headers=place).status_code == 404
    assert served.client.get("Patient/p11", headers=place).status_code == 200


def test_no_limit_is_no_header(serve: Any) -> None:
    answer = serve(open=False).client.get("metadata")
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers


def test_another_server_knows_what_came_to_this_one(serve: Any) -> None:
    here = serve(open=False, trusted_proxies="127.0.0.1", requests_per_address=60)
    there = serve(open=False, trusted_proxies="127.0.0.1", requests_per_address=60, database=here.settings.database)
    place = newcomer(here)
    for _ in range(49):
        assert here.client.get("metadata", headers=place).status_code == 200
    asked = 0
    while there.client.get("metadata", headers=place).status_code == 200:
        asked += 1
        assert asked < 30, "60 were allowed, and 50 came to the other server"
        time.sleep(0.3)


def test_servers_agree_once_they_have_shared(served: Any) -> None:
    async def story(one: Auth) -> None:
        two, now = Auth(one.database, one.settings, one.now), datetime.now(UTC).timestamp()
        for auth, times in ((one, 3), (two, 2)):
            found = auth.counts.count("user", "ada", 6, now)
            assert [found.take() for _ in range(times)] == [True] * times
        await share(one, now)
        await share(two, now)
        assert (one.counts.count("user", "ada", 6, now).used, two.counts.count("user", "ada", 6, now).used) == (3, 5)
        assert one.counts.count("user", "ada", 6, now).take()
        await share(one, now)  # 3 + 2 + 1
        assert not one.counts.count("user", "ada", 6, now).take()
        assert two.counts.count("user", "ada", 6, now).take()  # what it was not told of yet
        await share(two, now)
        assert not two.counts.count("user", "ada", 6, now).take()
        later = now + SECONDS
        assert one.counts.count("user", "ada", 6, later).take()
        await share(one, later)
        assert [*one.counts.of] == ["user:ada"]
        await share(one, later + SECONDS)
        assert one.counts.of == {}

    inside(served.settings, story)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=200), st.integers(1, 8))
def test_no_minute_has_more_than_is_allowed(asked: list[tuple[str, float]], most: int) -> None:
    counts, now, allowed = Counts(), 1_700_000_000.0, dict[str, int]()
    for who, pause in asked:
        now += pause
        found = counts.count("client", who, most, now)
        assert now < found.ends <= now + SECONDS
        if found.take():
            allowed[found.id] = allowed.get(found.id, 0) + 1
        else:
            assert allowed[found.id] == most
    assert all(number <= most for number in allowed.values())
