"""Making an account, confirming its address, and getting in again without the password."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from people import PASSWORD, Browser, code, inside, letters, person

from smart_auth import invitations, links, mail, passwords, users
from smart_auth.passwords import listed
from smart_auth.refusal import Refused
from smart_auth.server import Auth
from smart_auth.users import User

OTHER = "seven lamps under the green bridge"


@pytest.fixture(scope="module")
def served(serve: Any, tmp_path_factory: Any) -> Any:
    found = serve(login_failures_per_address=10_000, data=tmp_path_factory.mktemp("data"))
    made = person(found.settings, "inviter", roles=["admin"])

    async def named(auth: Auth) -> None:
        """By the id that invitations here say."""
        document = await auth["users"].find_one_and_delete({"_id": made.id})
        await auth["users"].insert_one({**(document or {}), "_id": "admin"})

    inside(found.settings, named)
    return found


@pytest.fixture
def browser(served: Any) -> Browser:
    forget(served)
    return Browser(served.settings)


def forget(served: Any) -> None:
    """Time passes: whoever had to wait waits no more."""

    async def gone(auth: Auth) -> None:
        await auth["throttle"].delete_many({})

    inside(served.settings, gone)


def confirm(browser: Browser, link: str, password: str = PASSWORD) -> Any:
    return browser.json("/confirm", {"code": link, "password": password})


def account(served: Any, login: str) -> User | None:
    async def found(auth: Auth) -> User | None:
        return await users.by_login(auth, login)

    return inside(served.settings, found)


def test_an_account_is_made_by_the_pages(served: Any, browser: Browser) -> None:
    fields = {"name": "Ada", "email": "Ada@example.org", "password": PASSWORD}
    answer = browser.submit("/signup", fields)
    assert answer.headers["location"] == f"{browser.base}/signup/sent"
    (letter,) = letters(served.settings, "Ada@example.org")
    assert browser.log_in("ada@example.org").status_code == 403  # not confirmed; the link is sent again
    assert "Confirm" in browser.get(f"/confirm?code={code(letter)}").text
    assert browser.log_in("ada@example.org").status_code == 403  # a page that was looked at confirms nothing
    page = f"/confirm?code={code(letter)}"
    assert browser.submit("/confirm", {"code": code(letter), "password": PASSWORD}, page).status_code == 303
    assert browser.log_in("ada@example.org").status_code == 200
    assert confirm(browser, code(letter)).status_code == 400  # once
    over = browser.get(page)
    assert (over.status_code, "<form" in over.text, "/auth/login" in over.text) == (400, False, True)
    made = account(served, "ada@example.org")
    assert made is not None
    assert (made.roles, made.patient, made.name) == (frozenset({"patient"}), None, "Ada")


def test_whether_an_address_is_known_is_told_by_mail_only(served: Any, browser: Browser) -> None:
    person(served.settings, "known@example.org", email="known@example.org")
    known = browser.json("/signup", {"email": "known@example.org", "password": OTHER})
    unknown = browser.json("/signup", {"email": "unknown@example.org", "password": OTHER})
    assert (known.status_code, known.json()) == (unknown.status_code, unknown.json()) == (200, {"sent": True})
    assert "There is one already" in letters(served.settings, "known@example.org")[0]
    assert "confirm" in letters(served.settings, "unknown@example.org")[0]
    assert browser.log_in("known@example.org", OTHER).status_code == 401


def test_who_took_an_address_before_its_owner_does_not_keep_a_key(served: Any, browser: Browser) -> None:
    email, codes = "owner@example.org", list[str]()
    for password in (PASSWORD, OTHER, PASSWORD):
        assert browser.json("/signup", {"email": email, "password": password}).status_code == 200
        sent = {code(each) for each in letters(served.settings, email, len(codes) + 1)}
        codes += sent.difference(codes)
    first, mine, last = codes
    assert confirm(browser, mine, OTHER).status_code == 200
    for stale in (first, last):
        assert confirm(browser, stale).status_code == 400
    assert browser.log_in(email, PASSWORD).status_code == 401
    assert browser.log_in(email, OTHER).status_code == 200


def test_who_follows_a_strangers_link_does_not_open_the_account_to_them(served: Any, browser: Browser) -> None:
    """Who confirms types the password that the account is made with, which a stranger's link does not tell."""
    email = "hurried@example.org"
    link = signed_up(served, browser, email, PASSWORD)
    page = f"/confirm?code={link}"
    for password in (OTHER, PASSWORD.upper(), "x" * 500, " "):
        refused = browser.submit("/confirm", {"code": link, "password": password}, page)
        assert (refused.status_code, "somebody else may have asked" in refused.text) == (403, True)
    assert browser.submit("/confirm", {"code": link}, page).status_code == 400
    assert browser.log_in(email).status_code == 403  # not confirmed
    assert browser.submit("/confirm", {"code": link, "password": OTHER}, page).status_code == 403
    assert confirm(browser, link).status_code == 429  # nobody guesses on
    forget(served)
    assert confirm(browser, link).status_code == 200


def test_the_password_of_who_was_invited_confirms_whatever_link_came_last(served: Any, browser: Browser) -> None:
    email = "guest-waits@example.org"
    mine = inside(served.settings, lambda auth: invitations.make(auth, "patient", "8", None, "admin"))
    signed_up(served, browser, email, OTHER, mine)
    strangers = signed_up(served, browser, email, PASSWORD)
    assert confirm(browser, strangers).status_code == 403
    assert confirm(browser, strangers, OTHER).status_code == 200
    assert browser.log_in(email, OTHER).status_code == 200


def test_nobody_has_one_address_flooded(served: Any, browser: Browser) -> None:
    email = "flooded@example.org"
    answers = [browser.json("/signup", {"email": email, "password": PASSWORD}).status_code for _ in range(8)]
    assert answers == [200] * 5 + [429] * 3
    forget(served)
    browser.json("/signup", {"email": email, "password": PASSWORD})
    letters(served.settings, email)
    answers = [browser.log_in(email).status_code for _ in range(8)]
    assert answers == [403] * 5 + [429] * 3


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "8 to 128"),
        ("x" * 129, "8 to 128"),
        ("password1", "easy to guess"),
        ("mary.poppins", "easy to guess"),
        ("qwertyuiop", "easy to guess"),
    ],
)
def test_a_password_that_others_would_guess_is_refused(browser: Browser, password: str, why: str) -> None:
    body = {"name": "Mary Poppins", "email": "mary@example.org", "password": password}
    answer = browser.json("/signup", body)
    assert answer.status_code == 400
    assert why in answer.json()["error_description"]


@pytest.mark.parametrize("password", [" " + OTHER + " ", "ß-Ǆ-🦉 owls in the attic", "x" * 20 + OTHER + "9" * 70])
def test_a_password_is_taken_as_it_is(served: Any, browser: Browser, password: str) -> None:
    name = f"{hashlib.sha256(password.encode()).hexdigest()[:12]}@example.org"
    assert browser.json("/signup", {"email": name, "password": password}).status_code == 200
    letter = letters(served.settings, name)[0]
    assert confirm(browser, code(letter), password).status_code == 200
    assert browser.log_in(name, password.strip() + "x").status_code == 401
    assert browser.log_in(name, password).status_code == 200


@pytest.mark.parametrize(
    "email", ["a", "a@b", "a@b.c\r\nBcc: x@y.z", "a b@c.d", "@c.d", "a@c.d, e@f.g", "a@" + "b" * 300]
)
def test_what_is_no_address_is_refused(browser: Browser, email: str) -> None:
    assert browser.json("/signup", {"email": email, "password": PASSWORD}).status_code == 400


@pytest.mark.parametrize(
    "name", ["a\nb", "Win https://evil.example", "see WWW.evil.example", "x" * 121, "\u202e\u0000"]
)
def test_a_name_carries_no_link_into_mail(browser: Browser, name: str) -> None:
    body = {"email": "target@example.org", "password": PASSWORD, "name": name}
    assert browser.json("/signup", body).status_code == 400


@pytest.mark.parametrize("email", ["www.ada@example.org", "ada@www.example.org", f"{'a' * 64}@{'b' * 60}.example.org"])
def test_an_address_that_is_no_name_is_an_address(served: Any, browser: Browser, email: str) -> None:
    assert browser.json("/signup", {"email": email, "password": PASSWORD}).status_code == 200
    (letter,) = letters(served.settings, email)
    assert confirm(browser, code(letter)).status_code == 200
    assert browser.log_in(email).status_code == 200


def test_what_a_stranger_typed_is_not_in_the_mail(served: Any, browser: Browser) -> None:
    body = {"email": "stranger@example.org", "password": PASSWORD, "name": "You won, see win.example"}
    assert browser.json("/signup", body).status_code == 200
    (letter,) = letters(served.settings, "stranger@example.org")
    assert "win.example" not in letter


@pytest.mark.parametrize("role", ["patient", "proxy", "practitioner", "admin"])
def test_who_was_invited_keeps_the_password_of_then(served: Any, browser: Browser, role: str) -> None:
    patient = None if role in ("practitioner", "admin") else "8"
    code_ = inside(served.settings, lambda auth: invitations.make(auth, role, patient, None, "admin"))
    email = f"invited-{role}@example.org"
    browser.json("/signup", {"email": email, "password": PASSWORD, "invitation": code_})
    letters(served.settings, email)
    browser.json("/signup", {"email": email, "password": OTHER})
    *_, latest = letters(served.settings, email, 2)
    assert confirm(browser, code(latest)).status_code == 200
    assert browser.log_in(email, OTHER).status_code == 401
    assert browser.log_in(email, PASSWORD).status_code == 200
    made = account(served, email)
    assert made is not None
    assert (made.roles, made.records) == (frozenset({role}), (patient,) if patient else ())


def signed_up(served: Any, browser: Browser, email: str, password: str, invitation: str = "") -> str:
    """The code of the link that is mailed."""
    before = {code(each) for each in letters(served.settings, email, 0)}
    body = {"email": email, "name": f"By {password}", "password": password, "invitation": invitation}
    assert browser.json("/signup", body).status_code == 200
    after = {code(each) for each in letters(served.settings, email, len(before) + 1)}
    (new,) = after - before
    return new


@pytest.mark.parametrize("theirs", [None, "9"], ids=["uninvited", "invited"])
def test_who_took_an_address_before_its_invited_owner_keeps_nothing(
    served: Any, browser: Browser, theirs: str | None
) -> None:
    """The link brings the record with the password, so that neither is had without the other."""

    def invite(patient: str) -> str:
        return inside(served.settings, lambda auth: invitations.make(auth, "patient", patient, None, "admin"))

    email, mine = f"guest-{theirs}@example.org", invite("8")
    stranger = signed_up(served, browser, email, PASSWORD, invite(theirs) if theirs else "")
    owner = signed_up(served, browser, email, OTHER, mine)
    made = account(served, email)
    assert made is not None
    assert made.patient == theirs
    assert confirm(browser, owner, OTHER).status_code == 200
    assert confirm(browser, stranger).status_code == 400
    made = account(served, email)
    assert made is not None
    assert (made.patient, made.fhir_user, made.roles) == ("8", "Patient/8", frozenset({"patient"}))
    assert made.name == f"By {OTHER}"
    assert browser.log_in(email, PASSWORD).status_code == 401
    assert browser.log_in(email, OTHER).status_code == 200
    again = browser.json("/signup", {"email": "else@example.org", "password": PASSWORD, "invitation": mine})
    assert again.status_code == 400


def test_a_password_that_came_with_an_invitation_is_nothing_without_it(served: Any, browser: Browser) -> None:
    """Else who has an invitation of their own could use it elsewhere, and take an account that is linked already."""
    owners, own = (
        inside(served.settings, lambda auth, p=patient: invitations.make(auth, "patient", p, None, "admin"))
        for patient in ("8", "9")
    )
    email = "guest-first@example.org"
    mine = signed_up(served, browser, email, OTHER, owners)
    stranger = signed_up(served, browser, email, PASSWORD, own)
    signed_up(served, browser, "stranger-9@example.org", PASSWORD, own)
    refused = confirm(browser, stranger)
    assert (refused.status_code, "the invitation was used before" in refused.text) == (400, True)
    assert confirm(browser, mine, OTHER).status_code == 200
    assert browser.log_in(email, PASSWORD).status_code == 401
    assert browser.log_in(email, OTHER).status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_an_administrator_links_is_not_for_who_took_the_address(served: Any, browser: Browser, when: str) -> None:
    """Until an address is confirmed, nobody knows who made the account; its owner chooses a password by a link."""
    email = f"linked-{when}@example.org"
    stranger = signed_up(served, browser, email, PASSWORD)
    made = account(served, email)
    assert made is not None
    admin = Browser(served.settings)
    person(served.settings, f"root-{when}", roles=["admin"])
    admin.log_in(f"root-{when}")
    if when == "after":
        links_ = [stranger, signed_up(served, browser, email, OTHER)]
        assert admin.again(f"/users/{made.id}", {"patient": "8"}, "PATCH").status_code == 200
    else:
        assert admin.again(f"/users/{made.id}", {"patient": "8"}, "PATCH").status_code == 200
        invited = inside(served.settings, lambda auth: invitations.make(auth, "patient", "9", None, "admin"))
        for body in ({"password": OTHER}, {"password": PASSWORD, "invitation": invited}):
            assert browser.json("/signup", {"email": email, **body}).status_code == 200
        letters(served.settings, email, 2, "There is one already")
        links_ = [stranger]
    for each in links_:
        assert confirm(browser, each).status_code == 400
    (letter,) = letters(served.settings, email, 1, "Choose your password")
    assert "By " not in letter  # what a stranger typed
    assert browser.log_in(email, PASSWORD).status_code == 401
    assert browser.json("/reset/new", {"code": code(letter), "password": OTHER}).status_code == 200
    assert browser.log_in(email, OTHER).status_code == 200
    made = account(served, email)
    assert made is not None
    assert made.patient == "8"


def test_what_an_administrator_leaves_as_it_is_leaves_the_password(served: Any, browser: Browser) -> None:
    link = signed_up(served, browser, "renamed@example.org", PASSWORD)
    made = account(served, "renamed@example.org")
    assert made is not None
    person(served.settings, "root-renames", roles=["admin"])
    admin = Browser(served.settings)
    admin.log_in("root-renames")
    page = f"/users/{made.id}"
    fields = {"password": PASSWORD, "name": "Renamed", "whole": "on", "role.patient": "on"}
    assert admin.submit(page, fields, page).status_code == 303
    assert confirm(browser, link).status_code == 200
    assert browser.log_in("renamed@example.org", PASSWORD).status_code == 200


def test_a_link_that_was_late_changes_no_account_in_use(served: Any, browser: Browser) -> None:
    """It was made while the owner chose a password by another."""
    id_ = person(served.settings, "raced@example.org", OTHER, email="raced@example.org").id

    async def late(auth: Auth) -> str:
        return await links.make(auth, "confirm", id_, {"password": await passwords.hashed(PASSWORD), "name": "x"})

    refused = confirm(browser, code(inside(served.settings, late)))
    assert (refused.status_code, "needs no confirming" in refused.text) == (400, True)
    assert browser.log_in("raced@example.org", PASSWORD).status_code == 401


def test_an_account_in_use_is_linked_by_administrators_alone(served: Any, browser: Browser) -> None:
    person(served.settings, "in-use@example.org", email="in-use@example.org")
    mine = inside(served.settings, lambda auth: invitations.make(auth, "patient", "8", None, "admin"))
    body = {"email": "in-use@example.org", "password": OTHER, "invitation": mine}
    assert browser.json("/signup", body).status_code == 200
    assert "The invitation was not used" in letters(served.settings, "in-use@example.org")[0]
    made = account(served, "in-use@example.org")
    assert made is not None
    assert made.patient is None
    assert browser.log_in("in-use@example.org", OTHER).status_code == 401


def test_an_invitation_links_the_account_once(served: Any, browser: Browser) -> None:
    async def invite(auth: Auth, role: str) -> str:
        return await invitations.make(auth, role, "7", None, "admin")

    code_ = inside(served.settings, lambda auth: invite(auth, "patient"))
    assert (
        browser.json("/signup", {"email": "a1@example.org", "password": PASSWORD, "invitation": code_}).status_code
        == 200
    )
    assert letters(served.settings, "a1@example.org")
    made = account(served, "a1@example.org")
    assert made is not None
    assert (made.patient, made.fhir_user) == ("7", "Patient/7")
    again = browser.json("/signup", {"email": "a2@example.org", "password": PASSWORD, "invitation": code_})
    assert again.status_code == 400
    keeper = inside(served.settings, lambda auth: invite(auth, "proxy"))
    browser.json("/signup", {"email": "a3@example.org", "password": PASSWORD, "invitation": keeper})
    assert letters(served.settings, "a3@example.org")
    made = account(served, "a3@example.org")
    assert made is not None
    assert (made.patient, made.proxy_for, made.roles) == (None, ("7",), frozenset({"proxy"}))
    nurse = inside(served.settings, lambda auth: invite(auth, "practitioner"))
    browser.json("/signup", {"email": "a4@example.org", "password": PASSWORD, "invitation": nurse})
    assert letters(served.settings, "a4@example.org")
    made = account(served, "a4@example.org")
    assert made is not None
    assert (made.patient, made.fhir_user) == ("7", "Patient/7")  # as where an administrator links them


def test_only_the_invited_where_it_is_said(serve: Any, tmp_path: Any) -> None:
    browser = Browser(serve(sign_up="invited", data=tmp_path).settings)
    assert browser.json("/signup", {"email": "a@example.org", "password": PASSWORD}).status_code == 403
    bad = {"email": "a@example.org", "password": PASSWORD, "invitation": "made-up"}
    assert browser.json("/signup", bad).status_code == 400


def test_where_nobody_signs_up_there_is_no_form(serve: Any) -> None:
    browser = Browser(serve(sign_up="off").settings)
    page = browser.get("/signup")
    assert ("made by who keeps this server" in page.text, "<form" in page.text) == (True, False)
    assert browser.json("/signup", {"email": "a@example.org", "password": PASSWORD}).status_code == 403


def test_an_invitation_that_another_used_meanwhile_makes_no_account(
    served: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of two who use it at once."""
    claim, email = invitations.claim, "second@example.org"

    async def second(auth: Auth, invitation: str) -> Any:
        await claim(auth, invitation)
        return await claim(auth, invitation)

    monkeypatch.setattr(invitations, "claim", second)
    mine = inside(served.settings, lambda auth: invitations.make(auth, "patient", "8", None, "admin"))
    body = {"email": email, "password": PASSWORD, "invitation": mine}
    assert browser.json("/signup", body).status_code == 200
    assert "the invitation was used before" in letters(served.settings, email)[0]
    assert account(served, email) is None


def test_who_was_not_invited_may_begin_a_record(serve: Any, tmp_path: Any) -> None:
    served = serve(sign_up_record=True, data=tmp_path)
    browser = Browser(served.settings)
    browser.json("/signup", {"email": "eve@example.org", "name": "Eve New", "password": PASSWORD})
    link = code(letters(served.settings, "eve@example.org")[0])
    assert confirm(browser, link).status_code == 200
    made = account(served, "eve@example.org")
    assert made is not None
    assert made.fhir_user == f"Patient/{made.patient}"
    patient = served.client.get(f"Patient/{made.patient}").json()
    assert patient["name"] == [{"text": "Eve New"}]
    assert confirm(browser, link).status_code == 400
    assert served.client.bundle("Patient?_summary=count")["total"] == 1


def test_who_is_linked_to_somebody_elses_record_begins_none(serve: Any, tmp_path: Any) -> None:
    """A parent is the RelatedPerson that they are invited as, and stays it."""
    served = serve(sign_up_record=True, data=tmp_path)
    browser, email = Browser(served.settings), "parent@example.org"
    admin = person(served.settings, "root", roles=["admin"]).id
    theirs = inside(served.settings, lambda auth: invitations.make(auth, "patient", None, "RelatedPerson/1", admin))
    link = signed_up(served, browser, email, PASSWORD, theirs)
    assert confirm(browser, link).status_code == 200
    made = account(served, email)
    assert made is not None
    assert (made.fhir_user, made.patient) == ("RelatedPerson/1", None)
    assert served.client.bundle("Patient?_summary=count")["total"] == 0


def test_who_confirms_by_a_new_password_begins_a_record_too(serve: Any, tmp_path: Any) -> None:
    served = serve(sign_up_record=True, data=tmp_path)
    browser, email = Browser(served.settings), "forgot@example.org"
    signed_up(served, browser, email, PASSWORD)
    browser.json("/reset", {"login": email})
    (letter,) = letters(served.settings, email, about="choose a new password")
    assert letter.startswith("Hello,")  # who typed the name is not known yet
    assert browser.json("/reset/new", {"code": code(letter), "password": OTHER}).status_code == 200
    made = account(served, email)
    assert made is not None
    assert served.client.get(f"{made.fhir_user}").json()["id"] == made.patient
    assert browser.log_in(email, OTHER).status_code == 200
    happened = browser.get("/account", headers={"Accept": "application/json"}).json()["events"]
    assert "address-confirmed" in {each["kind"] for each in happened}
    browser.json("/reset", {"login": email})
    (again,) = letters(served.settings, email, about=f"Hello {made.name},\n\nchoose a new password")
    assert browser.json("/reset/new", {"code": code(again), "password": PASSWORD}).status_code == 200
    assert served.client.bundle("Patient?_summary=count")["total"] == 1


def test_a_new_password_by_mail(served: Any, browser: Browser) -> None:
    person(served.settings, "lost@example.org", email="lost@example.org")
    elsewhere = Browser(served.settings)
    elsewhere.log_in("lost@example.org")
    for _ in range(5):
        browser.log_in("lost@example.org", "wrong")
    assert browser.log_in("lost@example.org").status_code == 429
    assert browser.submit("/reset", {"login": "LOST@example.org"}).status_code == 303
    (letter,) = letters(served.settings, "lost@example.org")
    page = f"/reset/new?code={code(letter)}"
    weak = browser.submit("/reset/new", {"code": code(letter), "password": "lost@example.org"}, page)
    assert weak.status_code == 400  # and the link is still good
    assert browser.submit("/reset/new", {"code": code(letter), "password": OTHER}, page).status_code == 303
    assert "session-auth" not in browser.http.cookies
    assert browser.json("/reset/new", {"code": code(letter), "password": PASSWORD}).status_code == 400
    over = browser.get(page)  # nobody thinks of a password for nothing
    assert (over.status_code, "<form" in over.text, "/auth/reset" in over.text) == (400, False, True)
    assert browser.log_in("lost@example.org").status_code == 401
    assert browser.log_in("lost@example.org", OTHER).status_code == 200


def test_nobody_gets_no_mail_and_the_same_answer(served: Any, browser: Browser) -> None:
    known = browser.json("/reset", {"login": "ada@example.org"})
    nobody = browser.json("/reset", {"login": "nobody@example.org"})
    assert (known.status_code, known.json()) == (nobody.status_code, nobody.json()) == (200, {"sent": True})


def test_a_link_is_good_for_a_quarter_of_an_hour_and_once(served: Any, browser: Browser) -> None:
    person(served.settings, "late@example.org", email="late@example.org")
    browser.json("/reset", {"login": "late@example.org"})
    letter = letters(served.settings, "late@example.org")[0]

    async def shift(auth: Auth, by: timedelta) -> float:
        kept = await auth["links"].find_one({"_id": hashlib.sha256(code(letter).encode()).hexdigest()})
        assert kept is not None
        left = (kept["expires"] - auth.now()).total_seconds()
        await auth["links"].update_one({"_id": kept["_id"]}, {"$set": {"expires": kept["expires"] + by}})
        return left

    assert 800 < inside(served.settings, lambda auth: shift(auth, timedelta(hours=-1))) <= 900
    body = {"code": code(letter), "password": OTHER}
    assert browser.json("/reset/new", body).status_code == 400
    inside(served.settings, lambda auth: shift(auth, timedelta(hours=1)))
    browsers = [Browser(served.settings) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda b: b.json("/reset/new", body).status_code, browsers))
    assert sorted(statuses) == [200] + [400] * 5


def test_mail_is_not_sent_without_end(browser: Browser) -> None:
    statuses = [browser.json("/reset", {"login": "many@example.org"}).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]


def test_a_stolen_password_is_found_in_the_list(tmp_path: Any) -> None:
    words = [f"word{n}" for n in range(500)]
    hashes = sorted(hashlib.sha1(word.encode()).hexdigest().upper() for word in words)
    file = tmp_path / "pwned.txt"
    file.write_bytes(b"".join(f"{h}:{n}\r\n".encode() for n, h in enumerate(hashes)))
    assert all(listed(word, file) for word in words)
    assert not any(listed(f"other{n}", file) for n in range(500))
    (tmp_path / "empty").write_bytes(b"")
    assert not listed("word1", tmp_path / "empty")


def test_a_stolen_password_is_refused(serve: Any, tmp_path: Any) -> None:
    stolen = tmp_path / "pwned.txt"
    stolen.write_text(hashlib.sha1(OTHER.encode()).hexdigest().upper() + ":3\n")
    browser = Browser(serve(breached_passwords=stolen, data=tmp_path).settings)
    answer = browser.json("/signup", {"email": "a@example.org", "password": OTHER})
    assert "stolen" in answer.json()["error_description"]
    assert browser.json("/signup", {"email": "a@example.org", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("text", ["", "x", "a@b.c\n", "a@b..c"])
def test_addresses(text: str) -> None:
    if text.strip() == "a@b.c":
        assert mail.checked_address(text) == "a@b.c"
        return
    with pytest.raises(Refused):
        mail.checked_address(text)
