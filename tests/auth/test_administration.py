"""Administrators and accounts: who may change what, what ends with it, and what is recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from people import PASSWORD, Browser, code, inside, letters, person

from smart_auth import tokens, totp, users
from smart_auth.server import Auth

JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    found = serve(login_failures_per_address=10_000, data=tmp_path_factory.mktemp("data"))
    person(found.settings, "root@example.org", roles=["admin"])
    return found


@pytest.fixture(scope="module")
def admin(served: Any) -> Browser:
    found = Browser(served.settings)
    found.log_in("root@example.org")
    return found


def added(served: Any, login: str, **values: Any) -> tuple[str, Browser]:
    """A person, and the browser in which they are logged in."""
    found = Browser(served.settings)
    id_ = person(served.settings, login, **values).id
    found.log_in(login)
    return id_, found


def test_only_administrators_see_and_change_accounts(served: Any) -> None:
    for role in ("patient", "practitioner", "proxy"):
        id_, browser = added(served, f"{role}@example.org", roles=[role])
        for path in ("/users", f"/users/{id_}"):
            assert browser.get(path, headers=JSON).status_code == 403
        assert browser.json(f"/users/{id_}", {"roles": ["admin"]}, "PATCH").status_code == 403
        assert browser.json("/users", {"login": "x", "roles": ["admin"]}).status_code == 403
        assert browser.json(f"/users/{id_}", {}, "DELETE").status_code == 403
        assert browser.json("/invitations", {"role": "admin"}).status_code == 403
        assert browser.json("/account", {"name": "x", "roles": ["admin"], "patient": "1"}).status_code == 200
        kept = browser.get("/account", headers=JSON).json()
        assert (kept["roles"], kept["patient"]) == ([role], None)
    assert Browser(served.settings).get("/users", headers=JSON).status_code == 401


def test_who_is_added_chooses_a_password_by_mail(served: Any, admin: Browser) -> None:
    body = {"email": "doc@example.org", "name": "Dr. Who", "roles": ["practitioner"], "fhirUser": "Practitioner/7"}
    made = admin.json("/users", body)
    assert made.status_code == 200
    assert made.json()["fhirUser"] == "Practitioner/7"
    assert "password" not in made.text
    assert admin.json("/users", body).status_code == 409
    letter = letters(served.settings, "doc@example.org")[0]
    browser = Browser(served.settings)
    assert browser.json("/reset/new", {"code": code(letter), "password": PASSWORD}).status_code == 200
    assert browser.log_in("doc@example.org").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"roles": ["king"]},
        {"roles": []},
        {"roles": "admin"},
        {"roles": [1]},
        {"patient": "Patient/1"},
        {"patient": 1},
        {"fhirUser": "Observation/1"},
        {"fhirUser": "Practitioner"},
        {"proxyFor": [1]},
        {"proxyFor": {"$ne": 1}},
        {"name": 1},
    ],
)
def test_what_an_account_cannot_be_is_refused(served: Any, admin: Browser, body: dict[str, Any]) -> None:
    root = admin.get("/users?text=root", headers=JSON).json()["users"][0]
    assert admin.json(f"/users/{root['id']}", body, "PATCH").status_code == 400


def test_a_change_of_roles_counts_at_once_and_is_recorded(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "climber@example.org")

    async def grant(auth: Auth) -> str:
        begun = await tokens.begin(auth, "app", "user/*.rs", tokens.timedelta(hours=1), user=id_)
        return (await tokens.issue(auth, begun, "user/*.rs", tokens.timedelta(hours=1), None)).access

    async def holds(auth: Auth, token: str) -> bool:
        return await tokens.find(auth, token) is not None

    token = inside(served.settings, grant)
    assert inside(served.settings, lambda auth: holds(auth, token))
    changed = admin.json(f"/users/{id_}", {"roles": ["practitioner"], "fhirUser": "Practitioner/1"}, "PATCH")
    assert changed.json()["roles"] == ["practitioner"]
    assert browser.get("/account").status_code == 303
    assert not inside(served.settings, lambda auth: holds(auth, token))
    recorded = admin.get(f"/users/{id_}", headers=JSON).json()["events"]
    assert recorded[0]["kind"] == "user-changed"
    assert recorded[0]["roles"] == ["practitioner"]
    root = admin.get("/account", headers=JSON).json()["id"]
    assert recorded[0]["actor"] == root


def test_an_account_is_disabled_and_let_in_again(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "bad@example.org")
    assert admin.submit(f"/users/{id_}", {"disabled": "true"}).status_code == 303
    assert browser.get("/account").status_code == 303
    assert browser.log_in("bad@example.org").status_code == 401
    assert admin.json(f"/users/{id_}", {"disabled": False}, "PATCH").status_code == 200
    assert browser.log_in("bad@example.org").status_code == 200
    assert admin.json(f"/users/{id_}/logout", {}).status_code == 200
    assert browser.get("/account").status_code == 303


def test_the_page_of_an_account_links_and_unlinks_it(served: Any, admin: Browser) -> None:
    id_, _ = added(served, "linked@example.org")
    fields = {"whole": "on", "role.patient": "on", "role.proxy": "on", "patient": "5", "proxyFor": "6, 7"}
    assert admin.submit(f"/users/{id_}", fields).status_code == 303
    found = admin.get(f"/users/{id_}", headers=JSON).json()
    assert (found["patient"], found["proxyFor"], found["roles"]) == ("5", ["6", "7"], ["patient", "proxy"])
    assert admin.submit(f"/users/{id_}", {"whole": "on", "role.patient": "on"}).status_code == 303
    found = admin.get(f"/users/{id_}", headers=JSON).json()
    assert (found["patient"], found["proxyFor"], found["roles"]) == (None, [], ["patient"])
    wrong = admin.submit(f"/users/{id_}", {"whole": "on", "patient": "a/b"})
    assert wrong.status_code == 400
    assert "id of a Patient" in wrong.text


def test_nobody_takes_their_own_administration_away(admin: Browser) -> None:
    id_ = admin.get("/account", headers=JSON).json()["id"]
    assert admin.json(f"/users/{id_}", {"roles": ["patient"]}, "PATCH").status_code == 400
    assert admin.json(f"/users/{id_}", {"disabled": True}, "PATCH").status_code == 400
    assert admin.json(f"/users/{id_}", {}, "DELETE").status_code == 400


def test_an_account_is_removed_whole(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "leaver@example.org")
    assert admin.json(f"/users/{id_}", {}, "DELETE").status_code == 200
    assert browser.get("/account").status_code == 303
    assert admin.get(f"/users/{id_}", headers=JSON).status_code == 404
    assert admin.json("/users/none", {"name": "x"}, "PATCH").status_code == 404


def test_accounts_are_listed_page_by_page(served: Any, admin: Browser) -> None:
    async def many(auth: Auth) -> None:
        for number in range(60):
            await users.create(auth, f"many{number:02}@example.org")

    inside(served.settings, many)
    first = admin.get("/users?text=many", headers=JSON).json()
    assert len(first["users"]) == 50
    rest = admin.get("/users", params={"text": "many", "after": first["next"]}, headers=JSON).json()
    logins = [each["login"] for each in first["users"] + rest["users"]]
    assert logins == [f"many{number:02}@example.org" for number in range(60)]
    assert first["statistics"]["users"] >= 61
    assert "many00@example.org" in admin.get("/users?text=many0").text


def test_an_invitation_is_made_on_the_page(served: Any, admin: Browser) -> None:
    shown = admin.submit("/invitations", {"role": "patient", "patient": "77"}, "/users")
    invited = shown.text.partition("<code>")[2].partition("</code>")[0]
    body = {"email": "guest@example.org", "password": PASSWORD, "invitation": invited}
    assert Browser(served.settings).json("/signup", body).status_code == 200
    assert letters(served.settings, "guest@example.org")
    assert admin.get("/users?text=guest", headers=JSON).json()["users"][0]["patient"] == "77"


def test_a_second_factor_that_was_lost_is_taken_away(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "lost@example.org")
    key = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
    typed = totp.code(key, totp.period(datetime.now(UTC)))
    assert browser.json("/account/authenticator", {"code": typed}).status_code == 200
    other = Browser(served.settings)
    assert other.log_in("lost@example.org").json()["second_factor"] is True
    assert "asks for a second step" in admin.get(f"/users/{id_}").text
    assert admin.submit(f"/users/{id_}/second-factor/remove", {}, f"/users/{id_}").status_code == 303
    assert browser.get("/account").status_code == 303
    assert "second_factor" not in other.log_in("lost@example.org").json()
    recorded = admin.get(f"/users/{id_}", headers=JSON).json()["events"]
    assert "second-factor-removed" in [each["kind"] for each in recorded]


def test_a_hash_of_no_known_kind_opens_nothing(served: Any) -> None:
    person(served.settings, "odd@example.org", hash="plain:secret")
    assert Browser(served.settings).log_in("odd@example.org", "secret").status_code == 401
