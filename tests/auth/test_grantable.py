"""An app is granted no more than it asks for and is registered for, and a refresh gives no more than was granted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_auth.asked import grantable
from smart_auth.clients import Client
from smart_auth.grants import narrowed
from smart_auth.refusal import Refused
from smart_auth.scopes import SPOKEN, Scope, parse

CRITERIA = ("category=laboratory", "code=http://loinc.org|8867-4")
data = st.builds(
    Scope,
    st.sampled_from(("patient", "user", "system")),
    st.sampled_from(("*", "Observation", "Patient", "Condition")),
    st.sets(st.sampled_from("cruds"), min_size=1).map(frozenset),
    st.frozensets(st.sampled_from(CRITERIA), max_size=2),
).map(str)
others = st.sampled_from((*SPOKEN, "patient/Observation.read", "user/*.*", "nonsense", "patient/Nothing.rs"))
scopes = st.lists(data | others, max_size=6).map(" ".join)


def client(scope: str) -> Client:
    return Client("app", "App", datetime.now(UTC), scope=scope)


def within(text: str, whole: str) -> bool:
    scope = parse(text)
    if scope is None:
        return text in whole.split()
    return any(each.contains(scope) for known in whole.split() if (each := parse(known)))


@given(scopes, scopes)
def test_what_can_be_granted_lies_within_both(asked: str, registered: str) -> None:
    for text in grantable(client(registered), asked):
        assert within(text, asked)
        assert not registered or within(text, registered)
        assert not text.startswith("system/")


@given(scopes)
def test_an_app_without_a_limit_may_ask_for_what_people_can_allow(asked: str) -> None:
    wanted = dict.fromkeys(asked.split())
    people = [text for text in wanted if text in SPOKEN or ((found := parse(text)) and found.level != "system")]
    assert {*grantable(client(""), asked)} == {*people}


@given(scopes, scopes)
def test_a_refresh_gives_no_more_than_was_granted(asked: str, granted: str) -> None:
    try:
        narrow = narrowed(asked, granted)
    except Refused:
        assert any(not within(text, granted) for text in asked.split())
    else:
        assert all(within(text, granted) for text in narrow.split())


@pytest.mark.parametrize(
    ("registered", "asked", "granted"),
    [
        ("", "patient/*.rs", "patient/*.rs"),
        ("patient/Observation.rs", "patient/*.rs", "patient/Observation.rs"),
        ("patient/Observation.rs", "patient/*.cruds openid", "patient/Observation.rs"),
        ("patient/*.rs openid", "patient/Observation.rs?category=laboratory openid launch", "openid {}"),
        ("patient/*.read", "patient/Patient.rs", "patient/Patient.rs"),
        ("system/*.rs", "system/*.rs", ""),
    ],
)
def test_a_client_is_granted_the_part_that_it_may_have(registered: str, asked: str, granted: str) -> None:
    expected = granted.format("patient/Observation.rs?category=laboratory")
    assert {*grantable(client(registered), asked)} == {*expected.split()}
