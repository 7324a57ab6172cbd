"""An account is found by its log-in name and by its e-mail address, which can become another."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from people import PASSWORD, Browser, code, inside, letters, person

from smart_auth import schema, users
from smart_auth.server import Auth

OTHER = "seven lamps under the green bridge"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    found = serve(login_failures_per_address=10_000, data=tmp_path_factory.mktemp("data"))
    person(found.settings, "root", roles=["admin"])
    return found


@pytest.fixture(autouse=True)
def patient(served: Any) -> None:
    """Time passes: whoever had to wait waits no more."""

    async def gone(auth: Auth) -> None:
        await auth["throttle"].delete_many({})

    inside(served.settings, gone)


@pytest.fixture(scope="module")
def admin(served: Any) -> Browser:
    found = Browser(served.settings)
    found.log_in("root")
    return found


def new() -> str:
    return f"{uuid4()}@Example.org"


def named(served: Any, email: str | None, login: str | None = None) -> tuple[str, str, Browser]:
    """An account by its id, its log-in name, and a browser in which it is logged in."""
    login, browser = login or uuid4().hex, Browser(served.settings)
    id_ = person(served.settings, login, email=email).id
    assert browser.log_in(login).status_code == 200
    return id_, login, browser


def test_who_has_a_log_in_name_gets_in_by_their_address_too(served: Any) -> None:
    email = new()
    _, login, _ = named(served, email)
    browser = Browser(served.settings)
    assert browser.log_in(email.upper()).status_code == 200
    statuses = [browser.log_in((login, email)[n % 2], "wrong").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]  # one account, by whatever name


def test_a_reset_and_a_sign_up_know_the_address(served: Any) -> None:
    email, browser = new(), Browser(served.settings)
    _, login, _ = named(served, email)
    assert browser.json("/signup", {"email": email, "password": OTHER}).status_code == 200
    assert letters(served.settings, email, about="There is one already")
    assert browser.json("/reset", {"login": email}).status_code == 200
    link = code(letters(served.settings, email, about="code=")[0])
    assert browser.json("/reset/new", {"code": link, "password": OTHER}).status_code == 200
    assert browser.log_in(login, OTHER).status_code == 200


def test_no_two_accounts_share_a_name_or_an_address(served: Any, admin: Browser) -> None:
    email, free = new(), new()
    id_, login, _ = named(served, email)
    for body in ({"email": email}, {"login": "another", "email": email.upper()}, {"login": email}, {"login": login}):
        assert admin.again("/users", body).status_code == 409, body
    made = admin.again("/users", {"email": free}).json()["id"]
    assert admin.again(f"/users/{made}", {"email": email}, "PATCH").status_code == 409
    assert admin.again(f"/users/{id_}", {"email": free}, "PATCH").status_code == 409


def test_an_administrator_changes_an_address(served: Any, admin: Browser) -> None:
    before, after = new(), new()
    id_, _, browser = named(served, before, login=before)
    for wrong in ("", "nobody", 7):
        assert admin.again(f"/users/{id_}", {"email": wrong}, "PATCH").status_code == 400
    browser.json("/reset", {"login": before})
    stale = code(letters(served.settings, before, about="code=")[0])
    changed = admin.again(f"/users/{id_}", {"email": after}, "PATCH").json()
    assert (changed["email"], changed["login"]) == (after, after.lower())
    assert letters(served.settings, before, about="goes to another address")
    assert browser.json("/reset/new", {"code": stale, "password": OTHER}).status_code == 400
    assert [browser.log_in(each).status_code for each in (before, after)] == [401, 200]
    found = admin.get("/users", params={"text": after[:12]}, headers=JSON).json()["users"]
    assert [each["id"] for each in found] == [id_]
    page = admin.submit(f"/users/{id_}", {"password": PASSWORD, "whole": "on", "role.patient": "on", "email": before})
    assert page.status_code == 303
    assert f'value="{before}"' in admin.get(f"/users/{id_}").text
    assert admin.again(f"/users/{id_}", {"email": None}, "PATCH").json()["email"] is None


def test_an_account_that_nobody_confirmed_is_for_who_gets_the_mail(served: Any, admin: Browser) -> None:
    before, after = new(), new()
    id_, browser = person(served.settings, before, email=before, verified=False).id, Browser(served.settings)
    assert admin.again(f"/users/{id_}", {"email": after}, "PATCH").status_code == 200
    assert browser.log_in(after).status_code == 401
    link = code(letters(served.settings, after, about="Choose your password")[0])
    assert browser.json("/reset/new", {"code": link, "password": OTHER}).status_code == 200
    assert browser.log_in(after, OTHER).status_code == 200


def test_a_person_changes_their_address_by_a_link_that_is_mailed_there(served: Any) -> None:
    before, after = new(), new()
    _, login, browser = named(served, before)
    _, _, stranger = named(served, None)
    body = {"email": after, "password": PASSWORD}
    assert browser.json("/account/email", body | {"password": "wrong"}).status_code == 401
    assert browser.submit("/account/email", body).headers["location"] == f"{browser.base}/signup/sent"
    link = code(letters(served.settings, after)[0])
    page = f"/account/email/confirm?code={link}"
    assert Browser(served.settings).get(page).headers["location"].startswith(f"{browser.base}/login?next=")
    assert login in browser.get(page).text
    assert browser.log_in(after).status_code == 401  # not yet
    browser.log_in(login)
    assert stranger.json("/account/email/confirm", {"code": link}).status_code == 403
    assert browser.submit("/account/email/confirm", {"code": link}, page).status_code == 303
    assert browser.json("/account/email/confirm", {"code": link}).status_code == 400  # once
    assert letters(served.settings, before, about="goes to another address")
    assert browser.log_in(after).status_code == 200
    account = browser.get("/account", headers=JSON).json()
    assert (account["email"], account["login"]) == (after, login)
    assert "address-changed" in [each["kind"] for each in account["events"]]


def test_an_address_that_somebody_has_is_told_to_who_gets_its_mail(served: Any) -> None:
    email = new()
    named(served, email)
    _, _, browser = named(served, None)
    assert browser.json("/account/email", {"email": email, "password": PASSWORD}).json() == {"sent": True}
    link = code(letters(served.settings, email)[0])
    assert browser.json("/account/email/confirm", {"code": link}).status_code == 409


def test_accounts_of_an_earlier_build_are_found_by_their_address(served: Any) -> None:
    """Where it is no other account's."""
    email, shared = new(), new()
    _, login, _ = named(served, email)
    _, owner, _ = named(served, None, login=shared)
    _, other, _ = named(served, None)

    async def as_before(auth: Auth) -> list[str | None]:
        await auth["users"].update_many({}, {"$unset": {"names": ""}})
        await auth["users"].update_one({"login": other}, {"$set": {"email": shared}})
        await schema.ensure(auth.database)
        return [found.login if (found := await users.by_login(auth, each)) else None for each in (email, shared, other)]

    assert inside(served.settings, as_before) == [login, owner.lower(), other]


def test_whose_address_is_corrected_before_their_first_password_gets_a_link_there(served: Any, admin: Browser) -> None:
    typo, right = new(), new()
    id_ = admin.again("/users", {"email": typo}).json()["id"]
    welcome = code(letters(served.settings, typo)[0])
    assert admin.again(f"/users/{id_}", {"email": right}, "PATCH").status_code == 200
    browser = Browser(served.settings)
    assert browser.json("/reset/new", {"code": welcome, "password": OTHER}).status_code == 400
    welcome = code(letters(served.settings, right)[0])
    assert browser.json("/reset/new", {"code": welcome, "password": OTHER}).status_code == 200
    assert browser.log_in(right, OTHER).status_code == 200


@pytest.mark.parametrize("ending", ["removed", "demoted", "disabled"])
def test_an_invitation_is_good_while_who_made_it_administers(served: Any, admin: Browser, ending: str) -> None:
    maker, login = Browser(served.settings), uuid4().hex
    id_ = person(served.settings, login, roles=["admin"]).id
    maker.log_in(login)
    invitation = maker.again("/invitations", {"role": "admin"}).json()["code"]
    if ending == "removed":
        assert admin.http.delete(f"{admin.base}/users/{id_}").status_code == 200
    else:
        change = {"roles": ["patient"]} if ending == "demoted" else {"disabled": True}
        assert admin.again(f"/users/{id_}", change, "PATCH").status_code == 200
    asked = {"email": new(), "password": OTHER, "invitation": invitation}
    refused = Browser(served.settings).json("/signup", asked)
    assert (refused.status_code, "invitation" in refused.text) == (400, True)


def test_no_link_fills_in_the_form_that_adds_an_account(admin: Browser) -> None:
    page = admin.get("/users?email=evil@x.example&role.admin=on").text
    assert "evil@x.example" not in page


@pytest.mark.parametrize("before", ["0001-01-01T00:00:00%2B14:00 x", "9999-12-31T23:59:59-14:00 x"])
def test_no_day_is_too_early_or_too_late_to_be_refused(admin: Browser, before: str) -> None:
    assert admin.get(f"/grants?before={before}", headers=JSON).status_code == 400
