"""A second step that a role has to have, where it is a passkey: neither a password nor mail goes around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from authenticator import Passkey
from people import PASSWORD, Browser, code, inside, letters, person

from smart_auth import totp
from smart_auth.server import Auth

OTHER = "seven lamps under the green bridge"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    data = tmp_path_factory.mktemp("data")
    return serve(second_factor_roles="admin,practitioner", login_failures_per_address=10_000, data=data)


@pytest.fixture
def doctor(served: Any) -> Browser:
    """A practitioner of this test's own, who set an authenticator up and is in."""
    return entered(served, "practitioner")


def entered(served: Any, role: str) -> Browser:
    login = f"{uuid4()}@example.org"
    person(served.settings, login, email=login, roles=[role])
    browser = Browser(served.settings)
    assert browser.log_in(login).json()["set_up"] is True
    assert enrolled(browser) == 200
    return browser


def enrolled(browser: Browser, password: str = PASSWORD) -> int:
    """How it ends where an authenticator is set up."""
    begun = browser.json("/account/authenticator/new", {"password": password})
    if begun.status_code != 200:
        return begun.status_code
    typed = totp.code(begun.json()["key"], totp.period(datetime.now(UTC)) - 1)
    return browser.json("/account/authenticator", {"code": typed}).status_code


def account(browser: Browser) -> dict[str, Any]:
    body: dict[str, Any] = browser.get("/account", headers=JSON).json()
    return body


def passkey(browser: Browser) -> Passkey:
    key = Passkey(browser.base.removesuffix("/auth"))
    options = browser.json("/account/passkeys/options", {"password": PASSWORD}).json()
    assert browser.json("/account/passkeys", {"credential": key.made(options)}).status_code == 200
    return key


def shown(browser: Browser, key: Passkey) -> int:
    options = browser.json("/login/passkey/options", {}).json()
    return browser.json("/login/passkey", {"credential": key.shown(options)}).status_code


@pytest.fixture
def by_passkey(served: Any, doctor: Browser) -> tuple[Browser, Passkey]:
    """Who has a passkey only: they had it before they got the role."""
    admin, name = entered(served, "admin"), account(doctor)
    admin.again(f"/users/{name['id']}", {"roles": ["patient"]}, "PATCH")
    assert admin.again(f"/users/{name['id']}/second-factor/remove", {}).status_code == 200
    doctor.log_in(name["login"])
    key = passkey(doctor)
    admin.again(f"/users/{name['id']}", {"roles": ["practitioner"]}, "PATCH")
    assert shown(doctor, key) == 200
    return doctor, key


def test_who_has_a_passkey_shows_it_before_setting_anything_up(
    served: Any, by_passkey: tuple[Browser, Passkey]
) -> None:
    mine, key = by_passkey
    login, other = account(mine)["login"], Browser(served.settings)
    answer = other.log_in(login).json()
    assert (answer["second_factor"], answer["set_up"]) == (True, False)
    assert enrolled(other) == 401
    assert other.get("/account/authenticator").headers["location"].startswith(f"{other.base}/login?")
    page = other.get("/login/second").text
    assert ("asks for your passkey" in page, 'name="code"' in page) == (True, False)
    assert other.json("/login/second", {"code": "123456"}).status_code == 401
    assert other.get("/account").status_code == 303
    assert shown(other, key) == 200
    assert enrolled(other) == 200


def test_a_reset_by_mail_keeps_the_passkeys_that_are_the_second_step(
    served: Any, by_passkey: tuple[Browser, Passkey]
) -> None:
    mine, key = by_passkey
    login, other = account(mine)["login"], Browser(served.settings)
    assert other.json("/reset", {"login": login}).status_code == 200
    link = code(letters(served.settings, login, about="code=")[-1])
    page = other.get(f"/reset/new?code={link}").text
    assert ("Your passkeys stay" in page, 'name="keep.' in page) == (True, False)
    body = {"code": link, "password": OTHER, "keep_passkeys": []}
    assert other.json("/reset/new", body).json() == {"changed": True, "passkeys_removed": []}
    assert other.log_in(login, OTHER).json()["set_up"] is False
    assert enrolled(other, OTHER) == 401
    assert shown(other, key) == 200


def test_the_last_passkey_is_replaced_and_not_removed(by_passkey: tuple[Browser, Passkey]) -> None:
    mine, _ = by_passkey
    first = {"passkey": account(mine)["passkeys"][0]["id"], "password": PASSWORD}
    assert mine.json("/account/passkeys/remove", first).status_code == 403
    passkey(mine)
    assert mine.json("/account/passkeys/remove", first).status_code == 200
    last = {"passkey": account(mine)["passkeys"][0]["id"], "password": PASSWORD}
    assert mine.json("/account/passkeys/remove", last).status_code == 403
    assert enrolled(mine) == 200
    assert mine.json("/account/passkeys/remove", last).status_code == 200


def test_an_administrator_lets_who_lost_it_begin_anew(served: Any, by_passkey: tuple[Browser, Passkey]) -> None:
    mine, key = by_passkey
    admin, id_, login = entered(served, "admin"), account(mine)["id"], account(mine)["login"]
    assert "Take the second step away" in admin.get(f"/users/{id_}").text
    assert admin.again(f"/users/{id_}/second-factor/remove", {}).status_code == 200
    assert shown(mine, key) == 401
    assert mine.log_in(login).json()["set_up"] is True
    assert enrolled(mine) == 200
    assert mine.get("/account").status_code == 200


def test_of_the_last_two_passkeys_one_stays_however_both_are_removed(served: Any) -> None:
    async def promoted(auth: Auth) -> None:
        await auth["users"].update_one({"_id": id_}, {"$set": {"roles": ["practitioner"]}})

    for _ in range(4):
        login = f"{uuid4()}@example.org"
        id_, browser = person(served.settings, login, email=login).id, Browser(served.settings)
        browser.log_in(login)
        passkey(browser)
        passkey(browser)
        inside(served.settings, promoted)
        remove = partial(_remove, browser)
        with ThreadPoolExecutor(2) as pool:
            statuses = [*pool.map(remove, [each["id"] for each in account(browser)["passkeys"]])]
        assert sorted(statuses) == [200, 403]
        assert len(account(browser)["passkeys"]) == 1


def _remove(browser: Browser, id_: str) -> int:
    return browser.again("/account/passkeys/remove", {"passkey": id_}).status_code
