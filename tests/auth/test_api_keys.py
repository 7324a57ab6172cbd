"""Keys of services: made by administrators, seen once, reaching as far as their scopes, and ended at once."""

from __future__ import annotations

from typing import Any

import pytest
from apps import Smart
from people import PASSWORD, Browser, person

JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def admin(smart: Smart) -> Browser:
    person(smart.settings, "root@example.org", roles=["admin"])
    found = Browser(smart.settings)
    found.log_in("root@example.org")
    return found


def test_a_key_reaches_as_far_as_its_scopes_and_ends_at_once(smart: Smart, admin: Browser) -> None:
    made = admin.again("/api-keys", {"name": "garmin", "scope": "system/Observation.cruds system/Device.rs"}).json()
    assert smart.get("Observation", made["key"]).status_code == 200
    assert smart.get("Patient", made["key"]).status_code == 403
    listed = admin.get("/api-keys", headers=JSON)
    assert [each["name"] for each in listed.json()["keys"]] == ["garmin"]
    assert made["key"] not in listed.text
    following = admin.again("/api-keys", {"name": "garmin", "scope": made["scope"], "days": 1}).json()
    assert admin.json("/api-keys/end", {"id": made["id"]}).status_code == 200
    assert smart.get("Observation", made["key"]).status_code == 401
    assert smart.get("Observation", following["key"]).status_code == 200
    assert admin.json("/api-keys/end", {"id": made["id"]}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "system/*.rs"},
        {"name": "a b", "scope": "system/*.rs"},
        {"name": "a"},
        {"name": "a", "scope": "patient/*.rs"},
        {"name": "a", "scope": "system/*.rs user/*.rs"},
        {"name": "a", "scope": "openid"},
        {"name": "a", "scope": "system/*.rs", "days": 0},
        {"name": "a", "scope": "system/*.rs", "days": 401},
        {"name": "a", "scope": "system/*.rs", "days": "soon"},
        {"name": "a", "scope": "system/*.rs", "days": True},
        {"name": "a", "scope": "system/*.rs", "days": 1.5},
    ],
)
def test_what_is_no_key_is_refused(admin: Browser, body: dict[str, Any]) -> None:
    assert admin.again("/api-keys", body).status_code == 400


def test_a_key_is_made_and_ended_on_the_page(smart: Smart, admin: Browser) -> None:
    shown = admin.submit(
        "/api-keys", {"password": PASSWORD, "name": "fitbit", "scope": "system/Observation.c", "days": "30"}
    ).text
    key = shown.partition("<code>")[2].partition("</code>")[0]
    assert smart.get("Patient", key).status_code == 403
    assert key not in admin.get("/api-keys").text


def test_only_administrators_make_keys(smart: Smart, admin: Browser) -> None:
    person(smart.settings, "doc@example.org", roles=["practitioner"])
    doc = Browser(smart.settings)
    doc.log_in("doc@example.org")
    assert doc.json("/api-keys", {"name": "a", "scope": "system/*.rs"}).status_code == 403
    assert doc.get("/api-keys", headers=JSON).status_code == 403
    id_ = admin.get("/api-keys", headers=JSON).json()["keys"][0]["id"]
    assert doc.json("/api-keys/end", {"id": id_}).status_code == 403


@pytest.mark.parametrize("end", ["roles", "disabled", "removed"])
def test_a_key_works_while_who_made_it_is_an_administrator(smart: Smart, admin: Browser, end: str) -> None:
    login = f"{end}@example.org"
    id_, leaver = person(smart.settings, login, roles=["admin"]).id, Browser(smart.settings)
    leaver.log_in(login)
    key = leaver.again("/api-keys", {"name": end, "scope": "system/Observation.rs"}).json()["key"]
    assert smart.get("Observation", key).status_code == 200
    if end == "removed":
        assert admin.json(f"/users/{id_}", {}, "DELETE").status_code == 200
    else:
        change = {"roles": ["practitioner"]} if end == "roles" else {"disabled": True}
        assert admin.again(f"/users/{id_}", change, "PATCH").status_code == 200
    assert smart.get("Observation", key).status_code == 401
    listed = admin.get("/api-keys", headers=JSON).json()["keys"]
    (mine,) = (each for each in listed if each["name"] == end)
    assert (mine["by"], mine["works"]) == (None if end == "removed" else login, False)
    assert "it does not work" in admin.get("/api-keys").text
