"""The OpenAPI document of the accounts says what is there, and what is there does what it says."""

from __future__ import annotations

from typing import Any

import pytest
from apps import Smart
from people import Browser, person

from smart_auth import (
    account,
    administration,
    api_keys,
    granted,
    launches,
    login,
    passkeys,
    registered,
    reset,
    second_factor,
    signup,
    statistics,
)
from smart_auth.openapi import ENDPOINTS, Described

PAGES_ONLY = {  # what a page needs besides
    ("get", path)
    for path in (
        "/login",
        "/login/second",
        "/signup",
        "/signup/sent",
        "/confirm",
        "/reset",
        "/reset/new",
        "/account/authenticator",
        "/account/recovery-codes",
        "/smart-style.json",
    )
} | {("post", "/users/{id}"), ("post", "/users/{id}/remove")}
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def people(smart: Smart) -> dict[str, Browser]:
    found = {"anyone": Browser(smart.settings)}
    for role in ("patient", "admin"):
        person(smart.settings, f"{role}@example.org", roles=[role])
        found[role] = Browser(smart.settings)
        found[role].log_in(f"{role}@example.org")
    return found


def ask(browser: Browser, each: Described, body: Any) -> int:
    path = each.path.replace("{id}", "nobody")
    if each.method == "get":
        return browser.get(path, headers=JSON).status_code
    return browser.json(path, body, each.method.upper()).status_code


def test_all_that_is_there_is_described(smart: Smart) -> None:
    rooms = (
        *(account, administration, api_keys, granted, launches, login, passkeys, registered, reset, second_factor),
        *(signup, statistics),
    )
    there = {(m.lower(), path) for room in rooms for path, methods in room.ROUTES.items() for m in methods}
    assert there - PAGES_ONLY == {(each.method, each.path) for each in ENDPOINTS}
    document = smart.http.get("/openapi.json").json()
    assert document["servers"] == [{"url": smart.issuer}]
    assert document["paths"]["/users/{id}"]["patch"]["parameters"][0]["name"] == "id"


@pytest.mark.parametrize("each", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_it_asks_for_who_it_says_and_what_it_says(people: dict[str, Browser], each: Described) -> None:
    if each.who != "anyone":
        assert ask(people["anyone"], each, {}) == 401
    if each.who == "administrator":
        assert ask(people["patient"], each, {}) == 403
    allowed = people["admin" if each.who == "administrator" else "patient" if each.who == "person" else "anyone"]
    if each.needed:
        assert ask(allowed, each, {}) in (400, 401, 404)
        assert ask(allowed, each, dict.fromkeys(each.needed, 7)) in (400, 401)
    elif each.path != "/logout" and "{id}" not in each.path:
        assert ask(allowed, each, {}) in (200, 201)
