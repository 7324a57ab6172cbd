"""One's own account: a second factor, passkeys, sessions, a new password, and apps that were let in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from authenticator import PRESENT, Passkey
from hypothesis import given
from hypothesis import strategies as st
from people import PASSWORD, Browser, code, inside, letters, person

from smart_auth import sealed, sessions, totp, users

OTHER = "seven lamps under the green bridge"


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    return serve(login_failures_per_address=10_000, data=tmp_path_factory.mktemp("data"))


@pytest.fixture
def browser(served: Any, request: Any) -> Browser:
    """The browser of a person of this test's own, who is logged in."""
    name = f"{abs(hash(request.node.name))}@example.org"
    person(served.settings, name, email=name)
    found = Browser(served.settings)
    assert found.log_in(name).status_code == 200
    return found


def login(browser: Browser) -> str:
    return str(browser.get("/account", headers={"Accept": "application/json"}).json()["login"])


def now(browser: Browser, key: str, ahead: int = 0) -> str:
    return totp.code(key, totp.period(datetime.now(UTC)) + ahead)


def with_authenticator(browser: Browser) -> tuple[str, list[str]]:
    """The key and the recovery codes. The code of the period before is used up by it."""
    key = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
    answer = browser.json("/account/authenticator", {"code": now(browser, key, -1)})
    assert answer.status_code == 200
    return key, answer.json()["recovery_codes"]


def test_the_vectors_of_the_rfc() -> None:
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    known = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {at: totp.code(key, at // 30) for at in known} == known


def test_a_second_factor_is_asked_for(served: Any, browser: Browser) -> None:
    key, codes = with_authenticator(browser)
    assert len(set(codes)) == 10
    name, other = login(browser), Browser(served.settings)
    answer = other.log_in(name)
    assert answer.json()["second_factor"] is True
    assert other.get("/account", headers={"Accept": "application/json"}).status_code == 401  # half is not in
    assert other.get("/account").headers["location"].startswith(f"{other.base}/login?next=")
    assert other.json("/login/second", {"code": "000000"}).status_code == 401
    assert "Six digits" in other.get("/login/second").text
    entered = other.submit("/login/second", {"code": now(other, key), "next": "/authorize?a=b"})
    assert entered.headers["location"] == f"{other.base}/authorize?a=b"
    assert login(other) == name


def test_a_code_is_good_once(served: Any, browser: Browser) -> None:
    key, _ = with_authenticator(browser)
    browsers = [Browser(served.settings) for _ in range(4)]
    for each in browsers:
        each.log_in(login(browser))
    typed = now(browser, key, 1)
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda b: b.json("/login/second", {"code": typed}).status_code, browsers))
    assert sorted(statuses) == [200, 401, 401, 401]
    late = Browser(served.settings)
    late.log_in(login(browser))
    assert late.json("/login/second", {"code": now(browser, key)}).status_code == 401  # older than what was used


def test_a_recovery_code_is_good_once(served: Any, browser: Browser) -> None:
    _, codes = with_authenticator(browser)
    typed = {"code": codes[3].upper().replace("-", " ")}
    browsers = [Browser(served.settings) for _ in range(4)]
    for each in browsers:
        each.log_in(login(browser))
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda b: b.json("/login/second", typed).status_code, browsers))
    assert sorted(statuses) == [200, 401, 401, 401]
    assert browser.get("/account", headers={"Accept": "application/json"}).json()["recoveryCodes"] == 9
    fresh = browser.json("/account/recovery-codes", {"password": PASSWORD}).json()["recovery_codes"]
    assert not {*fresh} & {*codes}


def test_a_person_is_told_what_changed_in_their_account(served: Any, browser: Browser) -> None:
    _, codes = with_authenticator(browser)
    other = Browser(served.settings)
    other.log_in(login(browser))
    assert other.json("/login/second", {"code": codes[0]}).status_code == 200
    assert browser.json("/account/authenticator/remove", {"password": PASSWORD}).status_code == 200
    told = letters(served.settings, login(browser), 3)
    assert sum("authenticator was added" in each for each in told) == 1
    assert sum("recovery code was used" in each for each in told) == 1
    assert sum("taken off" in each for each in told) == 1


def kept_of(served: Any, browser: Browser) -> dict[str, Any]:
    """The account as it is stored."""

    async def found(auth: Any) -> dict[str, Any]:
        document: dict[str, Any] = await auth["users"].find_one({"login": login(browser)})
        return document

    return inside(served.settings, found)


def set_key(served: Any, browser: Browser, key: str) -> None:
    async def work(auth: Any) -> None:
        await auth["users"].update_one({"login": name}, {"$set": {"totp.key": key, "totp.used": 0}})

    name = login(browser)
    inside(served.settings, work)


def second_step(served: Any, browser: Browser, typed: str) -> int:
    other = Browser(served.settings)
    assert other.log_in(login(browser)).json()["second_factor"] is True
    return other.json("/login/second", {"code": typed}).status_code


def test_the_key_of_an_authenticator_is_sealed(served: Any, browser: Browser) -> None:
    pending = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
    assert pending in browser.get("/account/authenticator").text
    assert pending not in str(kept_of(served, browser))
    key, _ = with_authenticator(browser)
    stored = kept_of(served, browser)
    assert key not in str(stored)
    assert stored["totp"]["key"].startswith("v1.")
    assert second_step(served, browser, now(browser, key)) == 200


def test_a_key_that_was_kept_as_it_is_gets_sealed_when_it_is_used(served: Any, browser: Browser) -> None:
    key, _ = with_authenticator(browser)
    set_key(served, browser, key)
    assert second_step(served, browser, "000000") == 401
    assert kept_of(served, browser)["totp"]["key"] == key
    assert second_step(served, browser, now(browser, key)) == 200
    assert kept_of(served, browser)["totp"]["key"].startswith("v1.")
    assert second_step(served, browser, now(browser, key, 1)) == 200


def test_a_key_opens_for_its_account_and_under_its_secret_alone(served: Any, browser: Browser) -> None:
    key, codes = with_authenticator(browser)
    own = kept_of(served, browser)
    other = person(served.settings, f"copy-{login(browser)}")
    thief = Browser(served.settings)
    thief.log_in(other.login)
    with_authenticator(thief)
    set_key(served, thief, own["totp"]["key"])
    assert second_step(served, thief, now(browser, key)) == 401
    raw = own["totp"]["key"]
    set_key(served, browser, raw[:-2] + ("A" if raw[-2] != "A" else "B") + raw[-1])
    assert second_step(served, browser, now(browser, key)) == 401
    assert second_step(served, browser, codes[0]) == 200  # what is on paper still opens


@given(st.text(), st.text(), st.binary(min_size=1))
def test_what_is_sealed_opens_again(text: str, whose: str, secret: bytes) -> None:
    key, other = sealed.sealing_key(secret), sealed.sealing_key(secret + b"x")
    kept = sealed.seal(key, text, whose)
    assert sealed.opened(key, kept, whose) == text
    assert sealed.opened(other, kept, whose) is None
    assert sealed.opened(key, kept, whose + "x") is None


def test_codes_are_not_guessed(served: Any, browser: Browser) -> None:
    with_authenticator(browser)
    other = Browser(served.settings)
    other.log_in(login(browser))
    statuses = [other.json("/login/second", {"code": f"{n:06}"}).status_code for n in range(6)]
    assert statuses[5] == 429


def test_a_reset_does_not_go_around_the_second_factor(served: Any, browser: Browser) -> None:
    with_authenticator(browser)
    name, other = login(browser), Browser(served.settings)
    other.json("/reset", {"login": name})
    body = {"code": code(letters(served.settings, name, about="code=")[0]), "password": OTHER}
    assert other.json("/reset/new", body).status_code == 200
    assert browser.get("/account").status_code == 303  # out everywhere
    assert other.log_in(name, OTHER).json()["second_factor"] is True


def test_what_matters_asks_for_the_password_again(browser: Browser) -> None:
    for path in ("/account/authenticator/new", "/account/recovery-codes", "/account/passkeys/options"):
        assert browser.json(path, {"password": "wrong"}).status_code == 401, path
    assert browser.json("/account/authenticator", {"code": "123456"}).status_code == 400
    with_authenticator(browser)
    assert browser.json("/account/authenticator/remove", {"password": PASSWORD}).status_code == 200
    assert browser.json("/account/recovery-codes", {"password": PASSWORD}).status_code == 400


def test_the_pages_of_the_second_factor(browser: Browser) -> None:
    page = browser.submit("/account/authenticator/new", {"password": PASSWORD}, "/account/authenticator")
    assert page.status_code == 303
    shown = browser.get("/account/authenticator").text
    assert "data:image/svg+xml" in shown
    key = shown.partition("<code>")[2].partition("</code>")[0]
    wrong = browser.submit("/account/authenticator", {"code": "1"})
    assert "The clock" not in wrong.text
    assert wrong.status_code == 400
    codes = browser.submit("/account/authenticator", {"code": now(browser, key)})
    assert codes.text.count("<li>") == 10
    account = browser.get("/account").text
    assert "10 recovery codes are left" in account
    assert browser.submit("/account/recovery-codes", {"password": PASSWORD}).text.count("<li>") == 10


def test_an_authenticator_is_turned_on_once_however_often_its_code_is_sent(served: Any, browser: Browser) -> None:
    key = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
    typed = {"code": now(browser, key, -1)}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: browser.json("/account/authenticator", typed), range(4)))
    assert sorted(each.status_code for each in answers) == [200, 400, 400, 400]
    (codes,) = (each.json()["recovery_codes"] for each in answers if each.status_code == 200)
    other = Browser(served.settings)
    other.log_in(login(browser))
    assert other.json("/login/second", {"code": codes[0]}).status_code == 200


def test_who_must_have_a_second_factor_sets_it_up_first(serve: Any) -> None:
    strict = serve(second_factor_roles="admin,practitioner", login_failures_per_address=10_000)
    person(strict.settings, "root@example.org", roles=["admin"])
    person(strict.settings, "ada@example.org")
    other, browser = Browser(strict.settings), Browser(strict.settings)
    assert "second_factor" not in other.log_in("ada@example.org").json()
    assert browser.log_in("root@example.org").json()["set_up"] is True
    for path in ("/account", "/users", "/api-keys"):
        assert browser.get(path, headers={"Accept": "application/json"}).status_code == 401
    entered = browser.submit("/login", {"login": "root@example.org", "password": PASSWORD, "next": "/users"})
    page = entered.headers["location"]
    assert "Your account must have one" in browser.get(page).text
    begun = browser.submit("/account/authenticator/new", {"password": PASSWORD, "next": "/users"}, page)
    key = browser.get(begun.headers["location"]).text.partition("<code>")[2].partition("</code>")[0]
    codes = browser.submit("/account/authenticator", {"code": now(browser, key, -1), "next": "/users"}, page)
    assert f'href="{browser.base}/users"' in codes.text
    assert browser.get("/users").status_code == 200
    assert browser.json("/account/authenticator/remove", {"password": PASSWORD}).status_code == 403
    assert browser.get("/users").status_code == 200
    settings = browser.get("/account/authenticator").text
    assert "not turned off" in settings
    assert "/account/authenticator/remove" not in settings
    late = Browser(strict.settings)
    with_authenticator(browser)  # another one, which replaces it
    assert late.log_in("root@example.org").json()["set_up"] is False
    assert late.json("/account/authenticator/new", {"password": PASSWORD}).status_code == 401


def test_a_passkey_logs_in(served: Any, browser: Browser) -> None:
    key = Passkey(browser.base.removesuffix("/auth"))
    options = browser.json("/account/passkeys/options", {"password": PASSWORD}).json()
    made = {"name": "My phone", "credential": key.made(options)}
    assert browser.json("/account/passkeys", made).status_code == 200
    assert browser.json("/account/passkeys", made).status_code == 400  # the challenge is used up
    assert "My phone" in browser.get("/account").text
    with_authenticator(browser)
    other = Browser(served.settings)
    options = other.json("/login/passkey/options", {}).json()
    assert options["userVerification"] == "required"
    proof = {"credential": key.shown(options), "next": "/authorize?x"}
    answer = other.json("/login/passkey", proof)
    assert answer.json()["next"] == f"{other.base}/authorize?x"
    assert login(other) == login(browser)
    assert Browser(served.settings).json("/login/passkey", proof).status_code == 400  # again
    assert browser.json("/account/passkeys/remove", {"passkey": "no", "password": PASSWORD}).status_code == 404
    gone = {"passkey": made["credential"]["id"], "password": PASSWORD}
    assert browser.json("/account/passkeys/remove", gone).status_code == 200
    options = other.json("/login/passkey/options", {}).json()
    assert other.json("/login/passkey", {"credential": key.shown(options)}).status_code == 401


@pytest.mark.parametrize("broken", ["signature", "origin", "host", "unverified", "rolled back", "other challenge"])
def test_a_passkey_that_is_not_right_opens_nothing(served: Any, browser: Browser, broken: str) -> None:
    key = Passkey(browser.base.removesuffix("/auth"))
    options = browser.json("/account/passkeys/options", {"password": PASSWORD}).json()
    assert browser.json("/account/passkeys", {"credential": key.made(options)}).status_code == 200
    other = Browser(served.settings)
    key.count = 5
    options = other.json("/login/passkey/options", {}).json()
    assert other.json("/login/passkey", {"credential": key.shown(options)}).status_code == 200
    options = other.json("/login/passkey/options", {}).json()
    if broken == "origin":
        key.origin = "https://evil.example"
    if broken == "host":
        key.host = "evil.example"
    if broken == "unverified":
        key.flags = PRESENT
    if broken == "rolled back":
        key.count = 2
    if broken == "other challenge":
        options["challenge"] = "AAAA"
    shown = key.shown(options)
    if broken == "signature":
        shown["response"]["signature"] = key.shown({"challenge": "AAAA"})["response"]["signature"]
    assert other.json("/login/passkey", {"credential": shown}).status_code in (400, 401)


def test_what_is_no_passkey_is_refused(browser: Browser) -> None:
    for credential in (
        None,
        {},
        [],
        "x",
        {"response": None},
        *({"response": {"clientDataJSON": v}} for v in (1, "e30")),
        {"id": "AAAA", "response": {"clientDataJSON": "W1tb" * 20_000}},
        {"id": "AAAA", "response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiBudWxsfQ"}},
        {"id": "\ud800", "response": {"clientDataJSON": "e30"}},
    ):
        for path in ("/login/passkey", "/account/passkeys"):
            assert browser.json(path, {"credential": credential}).status_code == 400, (path, credential)


@pytest.mark.parametrize("field", ["clientDataJSON", "attestationObject", "id", "rawId", "type"])
def test_a_broken_new_passkey_is_refused(browser: Browser, field: str) -> None:
    key = Passkey(browser.base.removesuffix("/auth"))
    for value in (None, 7, "", "AAAA", "\u00e9", {}):
        made = key.made(browser.json("/account/passkeys/options", {"password": PASSWORD}).json())
        (made["response"] if field in made["response"] else made)[field] = value
        assert browser.json("/account/passkeys", {"credential": made}).status_code == 400, value


def test_sessions_are_listed_and_ended(served: Any, browser: Browser) -> None:
    other, third = Browser(served.settings), Browser(served.settings)
    for each in (other, third):
        each.log_in(login(browser))
    listed = browser.get("/account", headers={"Accept": "application/json"}).json()
    assert len(listed["sessions"]) == 3
    assert "session-auth" not in str(listed)
    mine = next(s for s in listed["sessions"] if s["id"] != listed["session"])
    assert browser.submit("/account/sessions/end", {"session": mine["id"]}, "/account").status_code == 303
    assert browser.json("/account/sessions/end", {"session": mine["id"]}).status_code == 404
    assert browser.json("/account/sessions/end", {}).json() == {"ended": 1}
    assert [each.get("/account").status_code for each in (browser, other, third)] == [200, 303, 303]


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("HealthApp/3", "HealthApp"),
        ("", "An app"),
    ],
)
def test_devices_are_called_as_people_call_them(agent: str, said: str) -> None:
    assert sessions.device(agent) == said


def test_nobody_ends_the_session_of_another(served: Any, browser: Browser) -> None:
    person(served.settings, "victim@example.org")
    victim = Browser(served.settings)
    victim.log_in("victim@example.org")
    id_ = victim.get("/account", headers={"Accept": "application/json"}).json()["session"]
    assert browser.json("/account/sessions/end", {"session": id_}).status_code == 404
    assert victim.get("/account").status_code == 200


def test_a_session_ends_by_itself(served: Any, browser: Browser) -> None:
    async def age(auth: Any) -> None:
        account = await users.by_login(auth, login(browser))
        past = auth.now() - timedelta(seconds=1)
        await auth["sessions"].update_many({"user": account.id}, {"$set": {"expires": past}})

    inside(served.settings, age)
    assert browser.get("/account").status_code == 303


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(served: Any, browser: Browser) -> None:
    name, other = login(browser), Browser(served.settings)
    other.log_in(name)
    wrong = {"password": "wrong", "new_password": OTHER}
    assert browser.json("/account/password", wrong).status_code == 401
    weak = browser.submit("/account/password", {"password": PASSWORD, "new_password": "12345678"}, "/account")
    assert weak.status_code == 400
    assert "too easy to guess" in weak.text
    assert browser.json("/account/password", {"password": PASSWORD, "new_password": OTHER}).status_code == 200
    assert (browser.get("/account").status_code, other.get("/account").status_code) == (200, 303)
    assert other.log_in(name, OTHER).status_code == 200


def with_grant(served: Any, browser: Browser, id_: str, scope: str, session: str | None) -> None:
    """An app that the person let in, from a session or from none that is left."""

    async def let_in(auth: Any) -> None:
        account = await users.by_login(auth, login(browser))
        grant = {"_id": id_, "user": account.id, "client": "app", "revoked": None, "issued": auth.now()}
        later = auth.now() + timedelta(hours=1)
        await auth["grants"].insert_one(grant | {"expires": later, "session": session, "scope": scope, "context": {}})

    inside(served.settings, let_in)


def alive(served: Any, *ids: str) -> list[str]:
    async def found(auth: Any) -> list[str]:
        query = {"_id": {"$in": [*ids]}, "revoked": None}
        return [each["_id"] async for each in auth["grants"].find(query).sort("_id")]

    return inside(served.settings, found)


@pytest.mark.parametrize(
    ("said", "left"),
    [({}, ["-online"]), ({"end_others": False}, ["-offline", "-old", "-online"])],
    ids=["nothing said", "unticked"],
)
def test_a_new_password_ends_apps_too_unless_the_person_unticks_it(
    served: Any, browser: Browser, said: dict[str, bool], left: list[str]
) -> None:
    own, other = login(browser), Browser(served.settings)
    other.log_in(own)
    here = browser.get("/account", headers={"Accept": "application/json"}).json()["session"]
    with_grant(served, browser, f"{own}-online", "online_access patient/*.rs", here)
    with_grant(served, browser, f"{own}-offline", "openid offline_access patient/*.rs", here)
    with_grant(served, browser, f"{own}-old", "openid offline_access patient/*.rs", "of-last-year")
    answer = browser.json("/account/password", {"password": PASSWORD, "new_password": OTHER, **said})
    assert answer.json() == {"changed": True, "others_ended": not said}
    assert alive(served, *(f"{own}-{kind}" for kind in ("offline", "old", "online"))) == [own + each for each in left]
    assert other.get("/account").status_code == (200 if said else 303)


@pytest.mark.parametrize(("ticked", "status"), [({"end_others": "on"}, 303), ({}, 200)], ids=["ticked", "unticked"])
def test_the_box_of_the_page(served: Any, browser: Browser, ticked: dict[str, str], status: int) -> None:
    other = Browser(served.settings)
    other.log_in(login(browser))
    assert 'name="end_others" value="on" checked' in browser.get("/account/password").text
    fields = {"password": PASSWORD, "new_password": OTHER, **ticked}
    assert browser.submit("/account/password", fields).status_code == 303
    assert other.get("/account").status_code == status
    assert browser.get("/account").status_code == 200


def test_end_others_is_true_or_false(browser: Browser) -> None:
    asked = {"password": PASSWORD, "new_password": OTHER, "end_others": "no"}
    assert browser.json("/account/password", asked).status_code == 400
    assert browser.json("/account/password", asked | {"end_others": True}).status_code == 200


def test_another_second_step_ends_other_sessions(served: Any, browser: Browser) -> None:
    name, other = login(browser), Browser(served.settings)

    def ended(change: Callable[[], Any]) -> bool:
        """Whether a change ends the session elsewhere, and not the one here."""
        entered = other.log_in(name).json()
        if entered.get("second_factor"):
            assert other.json("/login/second", {"code": codes.pop()}).status_code == 200
        assert other.get("/account").status_code == 200
        change()
        return (browser.get("/account").status_code, other.get("/account").status_code) == (200, 303)

    codes: list[str] = []
    passkey: list[str] = []
    assert ended(lambda: passkey.append(with_passkey(browser, "A phone")))
    gone = {"password": PASSWORD}
    assert ended(lambda: browser.json("/account/passkeys/remove", gone | {"passkey": passkey[0]}))
    assert ended(lambda: codes.extend(with_authenticator(browser)[1]))
    assert ended(lambda: browser.json("/account/authenticator/remove", gone))


def with_passkey(browser: Browser, name: str) -> str:
    """A new passkey, by its id."""
    key = Passkey(browser.base.removesuffix("/auth"))
    options = browser.json("/account/passkeys/options", {"password": PASSWORD}).json()
    answer = browser.json("/account/passkeys", {"name": name, "credential": key.made(options)})
    assert answer.status_code == 200
    return str(answer.json()["id"])


def reset_link(served: Any, browser: Browser) -> str:
    name = login(browser)
    assert Browser(served.settings).json("/reset", {"login": name}).status_code == 200
    return code(letters(served.settings, name, about="code=")[-1])


def with_two_passkeys(served: Any, browser: Browser) -> tuple[str, str]:
    """One of last year, and one of today."""
    old, new = with_passkey(browser, "Old phone"), with_passkey(browser, "Not mine")

    async def age(auth: Any) -> None:
        ago = {"$set": {"created": auth.now() - timedelta(days=365)}}
        assert (await auth["passkeys"].update_one({"_id": old}, ago)).modified_count == 1

    inside(served.settings, age)
    return old, new


@pytest.mark.parametrize(
    ("keep", "gone"),
    [(None, ["Not mine"]), ([], ["Old phone", "Not mine"]), (["old"], ["Not mine"]), (["old", "new"], [])],
    ids=["nothing said", "none", "the old one", "both"],
)
def test_a_reset_leaves_no_passkey_that_the_person_does_not_keep(
    served: Any, browser: Browser, keep: list[str] | None, gone: list[str]
) -> None:
    ids = dict(zip(("old", "new"), with_two_passkeys(served, browser), strict=True))
    said = {} if keep is None else {"keep_passkeys": [ids[each] for each in keep]}
    link = {"code": reset_link(served, browser), "password": OTHER}
    assert browser.json("/reset/new", link | {"keep_passkeys": "all"}).status_code == 400
    answer = browser.json("/reset/new", link | said)
    assert answer.json() == {"changed": True, "passkeys_removed": gone}


def test_the_page_of_a_reset_asks_about_passkeys(served: Any, browser: Browser) -> None:
    name, (old, new) = login(browser), with_two_passkeys(served, browser)
    link, other = reset_link(served, browser), Browser(served.settings)
    shown = other.get(f"/reset/new?code={link}").text
    assert f'name="keep.{old}" value="on" checked' in shown
    assert f'name="keep.{new}" value="on" >' in shown
    assert "Not mine" not in other.get("/reset/new?code=wrong").text
    fields = {"code": link, "password": OTHER, "asked": "on", f"keep.{old}": "on"}
    assert other.submit("/reset/new", fields, f"/reset/new?code={link}").status_code == 303
    other.log_in(name, OTHER)
    body = other.get("/account", headers={"Accept": "application/json"}).json()
    assert [each["name"] for each in body["passkeys"]] == ["Old phone"]


def test_a_reset_ends_what_apps_hold_and_what_is_remembered(served: Any, browser: Browser) -> None:
    name = login(browser)
    with_grant(served, browser, f"reset-{name}", "offline_access", None)

    async def remember(auth: Any) -> str:
        account = await users.by_login(auth, name)
        approval = {"_id": f"{account.id} app", "user": account.id, "client": "app", "at": auth.now()}
        await auth["approvals"].insert_one(approval)
        return str(account.id)

    async def remembered(auth: Any) -> int:
        return int(await auth["approvals"].count_documents({"user": account}))

    account = inside(served.settings, remember)
    assert browser.json("/reset/new", {"code": reset_link(served, browser), "password": OTHER}).status_code == 200
    assert alive(served, f"reset-{name}") == []
    assert inside(served.settings, remembered) == 0


def test_an_app_is_taken_back(served: Any, browser: Browser) -> None:
    async def let_in(auth: Any) -> None:
        account = await users.by_login(auth, login(browser))
        later = auth.now() + timedelta(hours=1)
        grant = {"_id": "g1", "user": account.id, "client": "app", "revoked": None, "issued": auth.now()}
        await auth["grants"].insert_one(grant | {"expires": later, "session": None, "scope": "", "context": {}})

    async def revoked(auth: Any) -> bool:
        return (await auth["grants"].find_one({"_id": "g1"}))["revoked"] is not None

    inside(served.settings, let_in)
    assert "app" in browser.get("/account").text
    assert browser.submit("/account/apps/end", {"client": "app"}, "/account").status_code == 303
    assert inside(served.settings, revoked)
    for client in ("app", "another"):
        assert browser.json("/account/apps/end", {"client": client}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/account", {"fullname": "Ada"}),
        ("/account/password", {"password": PASSWORD, "new_password": OTHER, "end_other": False}),
        ("/account/sessions/end", {"sesion": "s"}),
        ("/account/apps/end", {"client": "app", "access": "g1"}),
        ("/signup", {"email": "typed@example.org", "password": OTHER, "invite": "made-up"}),
        ("/reset/new", {"code": "made-up", "password": OTHER, "keepPasskeys": ["p"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_misspelt_field_does_not_do_more_than_was_meant(browser: Browser, path: str, body: dict[str, Any]) -> None:
    """Without `session` all others end, without `grant` the app altogether."""
    refused = browser.json(path, body)
    assert (refused.status_code, "is no field of this; there are" in refused.text) == (400, True)


def test_a_name_is_shown_and_never_run(browser: Browser) -> None:
    assert browser.json("/account", {"name": "<b>Ada</b>"}).status_code == 200
    shown = browser.get("/account").text
    assert "&lt;b&gt;Ada&lt;/b&gt;" in shown
    assert "Your name was changed" in shown
    happened = browser.get("/account", headers={"Accept": "application/json"}).json()["events"][0]
    assert (happened["kind"], happened["name"]) == ("name-changed", "<b>Ada</b>")
    assert browser.json("/account", {"name": "a\u0000b"}).status_code == 400
