"""Logging in and out: pages and JSON, throttled, telling nobody who has an account."""

from __future__ import annotations

import asyncio
import runpy
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event
from types import SimpleNamespace
from typing import Any

import bcrypt
import httpx
import pytest
from brief import briefly
from people import PASSWORD, Browser, inside, person
from starlette.requests import Request

from fhirserver.settings import Settings
from smart_auth import passwords, sessions, throttle, users
from smart_auth.server import Auth

CROWD = passwords.AT_ONCE + passwords.WAITING


@pytest.fixture(scope="module")
def served(serve: Any) -> Any:
    """Many people share this address; what one address may do is another story."""
    found = serve(login_failures_per_address=10_000)
    person(found.settings, "Ada@Example.org", name="Ada <Byron>")
    return found


@pytest.fixture
def browser(served: Any) -> Browser:
    return Browser(served.settings)


def test_a_person_logs_in_by_the_page(browser: Browser) -> None:
    page = browser.get("/login")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in page.text
    answer = browser.submit("/login", {"login": "ada@example.org", "password": PASSWORD, "next": "/authorize?x=1"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{browser.base}/authorize?x=1"
    cookie = answer.headers["set-cookie"].lower()
    assert "session-auth=" in cookie
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize(
    "next_", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb"]
)
def test_logging_in_leads_nowhere_else(browser: Browser, next_: str) -> None:
    answer = browser.submit("/login", {"login": "ada@example.org", "password": PASSWORD, "next": next_})
    assert answer.headers["location"] == f"{browser.base}/account"


def test_a_form_of_another_site_is_refused(browser: Browser) -> None:
    fields = {"login": "ada@example.org", "password": PASSWORD}
    assert browser.http.post(f"{browser.base}/login", data=fields).status_code == 403
    page = browser.http.post(f"{browser.base}/login", data=fields, headers={"Accept": "text/html"})
    assert page.status_code == 403
    assert "another site sent it" in page.text
    assert browser.get("/login").headers["referrer-policy"] == "same-origin"  # else browsers say `Origin: null`
    elsewhere = {"Origin": "https://evil.example"}
    assert browser.submit("/login", fields, headers=elsewhere).status_code == 403
    assert browser.http.post(f"{browser.base}/login", data={**fields, "token": "0" * 64}).status_code == 403


def test_an_unknown_name_and_a_wrong_password_look_the_same(browser: Browser) -> None:
    known = browser.log_in("ada@example.org", "wrong")
    unknown = browser.log_in("nobody@example.org", "wrong")
    assert known.status_code == unknown.status_code == 401
    assert known.json() == unknown.json()
    page = browser.submit("/login", {"login": '"><script>alert(1)</script>', "password": "wrong"})
    assert page.status_code == 401
    assert "<script>alert" not in page.text
    assert "The log-in name or the password is wrong." in page.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "ada@example.org"},
        {"login": 1, "password": "x"},
        {"login": "a" * 501, "password": "x"},
        {"login": "ada@example.org", "password": ["x"]},
        {"login": "ada@example.org", "password": "x" * 501},
        {"login": None, "password": None},
        {"login": "\ud800", "password": "x"},
        {"login": "ada@example.org", "password": "\udfff secret"},
    ],
)
def test_what_is_no_log_in_is_refused(browser: Browser, body: dict[str, Any]) -> None:
    assert browser.json("/login", body).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"login": "a\x00b", "password": "\x00"},
        {"login": "$ne", "password": "{}"},
        {"login": "surrogate@example.org", "password": "x" * 129},
    ],
)
def test_odd_text_is_just_wrong(browser: Browser, body: dict[str, Any]) -> None:
    assert browser.json("/login", body).status_code == 401


def test_log_out_ends_the_session_for_good(served: Any, browser: Browser) -> None:
    assert browser.log_in("ada@example.org").status_code == 200
    secret = browser.http.cookies["session-auth"]
    assert browser.json("/logout", {}).status_code == 200
    assert "session-auth" not in browser.http.cookies

    async def kept(auth: Auth) -> tuple[int, int]:
        left = await auth["sessions"].count_documents({"_id": sessions.digest(secret)})
        return left, await auth["events"].count_documents({"kind": "log-out"})

    assert inside(served.settings, kept) == (0, 1)


def test_after_five_failures_an_account_waits(served: Any, browser: Browser) -> None:
    person(served.settings, "grace@example.org")
    for _ in range(5):
        assert browser.log_in("grace@example.org", "wrong").status_code == 401
    refused = browser.log_in("grace@example.org")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert browser.log_in("Ada@example.org").status_code == 200  # nobody else does


def test_an_account_that_is_not_there_waits_as_well(browser: Browser) -> None:
    statuses = [browser.log_in("missing@example.org", "wrong").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


def test_a_hundred_guesses_at_once_are_five(served: Any) -> None:
    person(served.settings, "joan@example.org")
    browsers = [Browser(served.settings) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda b: b.log_in("joan@example.org", "wrong").status_code, browsers))
    assert sorted(statuses) == [401] * 5 + [429] * 7


def test_an_address_waits_too(serve: Any) -> None:
    served = serve()
    person(served.settings, "ada@example.org")
    browser = Browser(served.settings)
    for number in range(4):
        browser.log_in(f"guess{number}@example.org", "wrong")
    assert browser.log_in("ada@example.org").status_code == 200  # right, so it does not count
    browser.log_in("guess5@example.org", "wrong")
    assert browser.log_in("ada@example.org").status_code == 429


@pytest.mark.parametrize(
    ("host", "forwarded", "found"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # no proxy of ours: whatever it says
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # what came before is hearsay
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "nonsense"),
        ("10.0.0.1", ["198.51.100.7:51004"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7:1, 10.0.0.2:80"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::2]:443"], "2001:db8::/64"),
        ("10.0.0.1", ["2001:db8::2"], "2001:db8::/64"),
        ("2001:db8::1", [], "2001:db8::/64"),
        ("2001:db8::ffff:2", [], "2001:db8::/64"),
    ],
)
def test_who_asks_is_the_last_that_is_no_proxy_of_ours(host: str, forwarded: list[str], found: str) -> None:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    request = Request({"type": "http", "client": (host, 1), "headers": headers})
    auth = SimpleNamespace(settings=Settings(trusted_proxies="10.0.0.0/8"))
    assert throttle.address(auth, request) == found


def test_over_https_cookies_are_bound_to_the_host(serve: Any) -> None:
    served = serve(auth_url="https://id.example/auth")
    person(served.settings, "ada@example.org")
    url = served.client.base_url.replace("/fhir", "/auth/login")
    body = {"login": "ada@example.org", "password": PASSWORD}
    cookie = httpx.post(url, json=body).headers["set-cookie"]
    assert cookie.startswith("__Host-session-auth=")
    assert "; Secure" in cookie
    assert "Path=/;" in cookie
    assert "Domain" not in cookie


def test_an_old_hash_is_accepted_and_renewed(served: Any, browser: Browser) -> None:
    long = "x" * 60 + PASSWORD
    old = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    account = person(served.settings, "old@example.org", hash=old)
    assert browser.log_in("old@example.org", long).status_code == 200

    async def now(auth: Auth) -> str | None:
        kept = await users.find(auth, account.id)
        return kept.password if kept else None

    assert (inside(served.settings, now) or "").startswith("$argon2id$")
    assert browser.log_in("old@example.org", long).status_code == 200
    assert browser.log_in("old@example.org", long + "x").status_code == 401


def test_a_hash_takes_what_argon2_recommends() -> None:
    """Of the product; in these tests it takes next to nothing. https://www.rfc-editor.org/rfc/rfc9106#section-4"""
    made = runpy.run_path(passwords.__file__)["_hashes"].hash(PASSWORD)
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_disabled_account_is_out_at_once(served: Any, browser: Browser) -> None:
    account = person(served.settings, "gone@example.org")
    assert browser.log_in("gone@example.org").status_code == 200

    async def disable(auth: Auth) -> None:
        await users.change(auth, account.id, {"disabled": True})

    inside(served.settings, disable)
    assert browser.log_in("gone@example.org").status_code == 401


def test_who_was_told_to_come_back_has_not_failed(
    served: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(served.settings, "late@example.org")
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "_room", BoundedSemaphore(1))
        assert passwords._room.acquire()
        for _ in range(throttle.FREE + 2):
            assert browser.log_in("late@example.org").status_code == 503
    assert [browser.log_in("late@example.org", "wrong").status_code for _ in range(throttle.FREE)] == [401] * 5
    assert browser.log_in("late@example.org").status_code == 429


def test_a_crowd_is_told_to_come_back() -> None:
    held = Event()

    async def crowd() -> list[Any]:
        waiting = [asyncio.ensure_future(passwords.worked(held.wait)) for _ in range(CROWD)]
        await asyncio.sleep(0)
        late = await asyncio.gather(passwords.verified("wrong", None), return_exceptions=True)
        held.set()
        assert all(await asyncio.gather(*waiting))
        return late

    (refused,) = briefly(crowd())
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
