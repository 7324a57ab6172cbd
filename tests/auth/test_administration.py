"""Administrators and accounts: who may change what, what ends with it, and what is recorded."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

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
        assert browser.json("/account", {"name": "x", "roles": ["admin"], "patient": "1"}).status_code == 400
        kept = browser.get("/account", headers=JSON).json()
        assert (kept["roles"], kept["patient"]) == ([role], None)
    assert Browser(served.settings).get("/users", headers=JSON).status_code == 401


def test_who_has_a_patient_of_their_own_is_that_patient_to_apps(admin: Browser) -> None:
    """Unless it is said who else they are: an app that may know `fhirUser` is told."""
    id_ = admin.again("/users", {"login": "own@example.org", "patient": "1"}).json()["id"]
    story: list[tuple[dict[str, Any], str | None]] = [
        ({}, "Patient/1"),
        ({"patient": "2"}, "Patient/2"),
        ({"fhirUser": "Practitioner/1"}, "Practitioner/1"),
        ({"patient": "3"}, "Practitioner/1"),
        ({"fhirUser": None}, "Patient/3"),
        ({"fhirUser": None}, "Patient/3"),
        ({"patient": None}, None),
        ({"patient": "4"}, "Patient/4"),
        ({"patient": "5", "fhirUser": "Patient/4"}, "Patient/5"),  # as the page sends what it showed
        ({"patient": None, "fhirUser": None}, None),
    ]
    for changes, who in story:
        answer = admin.again(f"/users/{id_}", changes, "PATCH").json()
        assert answer["fhirUser"] == who, changes


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/users/{id}", {"disabled": "yes"}, "disabled is true or false"),
        ("/users/{id}", {"disabled": 1}, "disabled is true or false"),
        ("/users/{id}", {"Disabled": True}, "Disabled is no field of this; there are password, email, name"),
        ("/users/{id}", {"patient": "Patient/7"}, "patient is the id of a Patient, without Patient/ before it"),
        ("/users", {"login": "y@example.org", "role": "admin"}, "role is no field of this"),
        ("/invitations", {"role": "patient", "patientId": "7"}, "patientId is no field of this"),
        ("/users/{id}", {"disabled": True, "\ud800": True}, "the body has characters that are no text"),
    ],
    ids=["a word", "a number", "another case", "a reference", "one role", "an id", "half a character"],
)
def test_what_is_not_understood_changes_nothing(
    served: Any, admin: Browser, path: str, body: dict[str, Any], said: str
) -> None:
    """An account that was not disabled as it was meant to be is open."""
    id_ = person(served.settings, f"{uuid4()}@example.org").id
    refused = admin.again(path.format(id=id_), body)
    assert refused.status_code == 400
    assert refused.json()["error_description"].startswith(said)
    assert admin.get(f"/users/{id_}", headers=JSON).json()["events"] == []


def test_what_is_said_twice_is_not_understood_either(served: Any, admin: Browser) -> None:
    """Which of the two counts is another with every reader of JSON."""
    id_ = person(served.settings, f"{uuid4()}@example.org").id
    headers = {"Content-Type": "application/json"}
    twice = '{"disabled": true, "disabled": false}'
    refused = admin.http.patch(f"{admin.base}/users/{id_}", content=twice, headers=headers)
    assert (refused.status_code, refused.json()["error_description"]) == (400, "disabled is there more than once")
    assert admin.get(f"/users/{id_}", headers=JSON).json()["events"] == []


def test_who_is_added_chooses_a_password_by_mail(served: Any, admin: Browser) -> None:
    body = {"email": "doc@example.org", "name": "Dr. Who", "roles": ["practitioner"], "fhirUser": "Practitioner/7"}
    made = admin.again("/users", body)
    assert made.status_code == 200
    assert made.json()["fhirUser"] == "Practitioner/7"
    assert "password" not in made.text
    assert admin.again("/users", body).status_code == 409
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
    assert admin.again(f"/users/{root['id']}", body, "PATCH").status_code == 400


def test_a_change_of_roles_counts_at_once_and_is_recorded(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "climber@example.org")

    async def grant(auth: Auth) -> str:
        begun = await tokens.begin(auth, "app", "user/*.rs", tokens.timedelta(hours=1), user=id_)
        return (await tokens.issue(auth, begun, "user/*.rs", tokens.timedelta(hours=1), None)).access

    async def holds(auth: Auth, token: str) -> bool:
        return await tokens.find(auth, token) is not None

    token = inside(served.settings, grant)
    assert inside(served.settings, lambda auth: holds(auth, token))
    changed = admin.again(f"/users/{id_}", {"roles": ["practitioner"], "fhirUser": "Practitioner/1"}, "PATCH")
    assert changed.json()["roles"] == ["practitioner"]
    assert browser.get("/account").status_code == 303
    assert not inside(served.settings, lambda auth: holds(auth, token))
    recorded = admin.get(f"/users/{id_}", headers=JSON).json()["events"]
    assert recorded[0]["kind"] == "user-changed"
    assert (recorded[0]["rolesBefore"], recorded[0]["roles"]) == (["patient"], ["practitioner"])
    root = admin.get("/account", headers=JSON).json()["id"]
    assert recorded[0]["actor"] == root


def test_what_gives_access_asks_for_the_password_once_more(served: Any, admin: Browser) -> None:
    """Who finds the browser of an administrator open does not have it."""
    id_ = person(served.settings, f"{uuid4()}@example.org").id
    deeds: list[tuple[str, dict[str, Any], str]] = [
        ("/users", {"login": f"{uuid4()}@example.org", "roles": ["admin"]}, "POST"),
        (f"/users/{id_}", {"roles": ["admin"]}, "PATCH"),
        (f"/users/{id_}/second-factor/remove", {}, "POST"),
        ("/invitations", {"role": "admin"}, "POST"),
        ("/api-keys", {"name": "mine", "scope": "system/*.cruds"}, "POST"),
        ("/clients", {"client_name": "Mine", "redirect_uris": ["https://app.example/cb"]}, "POST"),
    ]
    for path, body, method in deeds:
        assert admin.json(path, body, method).json()["error_description"] == "password is missing", path
        refused = admin.json(path, body | {"password": "wrong"}, method)
        assert (refused.status_code, "not the password of your account" in refused.text) == (401, True), path
        assert admin.again(path, body, method).status_code in (200, 201), path
    page = admin.submit(f"/users/{id_}", {"whole": "on", "role.patient": "on", "password": "wrong"})
    assert (page.status_code, "not the password of your account" in page.text) == (401, True)
    assert admin.get(f"/users/{id_}", headers=JSON).json()["roles"] == ["admin"]


def test_an_account_is_disabled_and_let_in_again(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "bad@example.org")
    assert admin.submit(f"/users/{id_}", {"password": PASSWORD, "disabled": "true"}).status_code == 303
    assert browser.get("/account").status_code == 303
    assert browser.log_in("bad@example.org").status_code == 401
    assert admin.again(f"/users/{id_}", {"disabled": False}, "PATCH").status_code == 200
    assert browser.log_in("bad@example.org").status_code == 200
    assert admin.json(f"/users/{id_}/logout", {}).status_code == 200
    assert browser.get("/account").status_code == 303


def test_the_page_of_an_account_links_and_unlinks_it(served: Any, admin: Browser) -> None:
    id_, _ = added(served, "linked@example.org")
    fields = {"whole": "on", "role.patient": "on", "role.proxy": "on", "patient": "5", "proxyFor": "6, 7"}
    assert admin.submit(f"/users/{id_}", fields | {"password": PASSWORD}).status_code == 303
    found = admin.get(f"/users/{id_}", headers=JSON).json()
    assert (found["patient"], found["proxyFor"], found["roles"]) == ("5", ["6", "7"], ["patient", "proxy"])
    assert admin.submit(f"/users/{id_}", {"password": PASSWORD, "whole": "on", "role.patient": "on"}).status_code == 303
    found = admin.get(f"/users/{id_}", headers=JSON).json()
    assert (found["patient"], found["proxyFor"], found["roles"]) == (None, [], ["patient"])
    shown = admin.get(f"/users/{id_}").text
    assert "<td>user changed</td><td>root@example.org</td>" in shown
    assert "<td>log in</td><td>self</td>" in shown
    none = admin.submit(f"/users/{id_}", {"password": PASSWORD, "whole": "on", "patient": "5"})
    assert (none.status_code, "at least one role" in none.text) == (400, True)
    assert admin.get(f"/users/{id_}", headers=JSON).json()["patient"] is None
    wrong = admin.submit(f"/users/{id_}", {"password": PASSWORD, "whole": "on", "role.proxy": "on", "patient": "a/b"})
    assert wrong.status_code == 400
    assert "id of a Patient" in wrong.text


def test_nobody_takes_their_own_administration_away(admin: Browser) -> None:
    id_ = admin.get("/account", headers=JSON).json()["id"]
    assert admin.again(f"/users/{id_}", {"roles": ["patient"]}, "PATCH").status_code == 400
    assert admin.again(f"/users/{id_}", {"disabled": True}, "PATCH").status_code == 400
    assert admin.json(f"/users/{id_}", {}, "DELETE").status_code == 400
    assert admin.again(f"/users/{id_}/second-factor/remove", {}).status_code == 400


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_of_two_administrators_who_end_each_other_one_is_left(served: Any, method: str) -> None:
    body = {} if method == "DELETE" else {"roles": ["practitioner"], "password": PASSWORD}
    for _ in range(4):
        both = [added(served, f"{uuid4()}@example.org", roles=["admin"]) for _ in range(2)]
        deeds = [(browser, other) for (_, browser), (other, _) in zip(both, both[::-1], strict=True)]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda deed: deed[0].json(f"/users/{deed[1]}", body, method).status_code, deeds))
        assert sorted(found)[0] == 200
        assert sorted(found)[1] in (401, 403)
        assert sorted(browser.get("/users", headers=JSON).status_code for _, browser in both) == [200, 401]


def test_an_account_is_removed_whole(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "leaver@example.org")
    assert admin.http.delete(f"{admin.base}/users/{id_}", headers={"Origin": "https://evil.example"}).status_code == 403
    assert admin.http.delete(f"{admin.base}/users/{id_}").status_code == 200  # no body says more than the path
    assert browser.get("/account").status_code == 303
    assert admin.get(f"/users/{id_}", headers=JSON).status_code == 404
    assert admin.again("/users/none", {"name": "x"}, "PATCH").status_code == 404


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
    assert "many00@example.org" in admin.get("/users?text=many0").text
    to = re.findall(r'href="([^"]*)">More', admin.get("/users?text=many").text)[0]
    following = admin.get(html.unescape(to)).text
    assert ("many59@example.org" in following, 'value="many"' in following) == (True, True)


def test_an_invitation_is_made_on_the_page(served: Any, admin: Browser) -> None:
    shown = admin.submit("/invitations", {"password": PASSWORD, "role": "patient", "patient": "77"}, "/users")
    invited = shown.text.partition("<code>")[2].partition("</code>")[0]
    body = {"email": "guest@example.org", "password": PASSWORD, "invitation": invited}
    assert Browser(served.settings).json("/signup", body).status_code == 200
    assert letters(served.settings, "guest@example.org")
    assert admin.get("/users?text=guest", headers=JSON).json()["users"][0]["patient"] == "77"


def test_what_is_not_in_the_record_is_said_where_it_is_linked(served: Any, admin: Browser) -> None:
    """Whoever is stored under a wrong id later would be who the person gets to see."""
    served.client.put("Patient/there", {"resourceType": "Patient", "id": "there"})
    linked = {"patient": "there", "proxyFor": ["elsewhere", "there"], "fhirUser": "RelatedPerson/nobody"}
    made = admin.again("/users", {"login": "mistyped@example.org", "roles": ["patient", "proxy"], **linked}).json()
    assert made["missing"] == ["Patient/elsewhere", "RelatedPerson/nobody"]
    page = f"/users/{made['id']}"
    assert "Not in the record (yet): Patient/elsewhere, RelatedPerson/nobody." in admin.get(page).text
    changed = admin.again(page, {"proxyFor": [], "fhirUser": None}, "PATCH").json()
    assert (changed["missing"], changed["fhirUser"]) == ([], "Patient/there")
    assert "Not in the record" not in admin.get(page).text
    served.client.delete("Patient/there")
    assert admin.get(page, headers=JSON).json()["missing"] == ["Patient/there"]
    invited = admin.again("/invitations", {"role": "proxy", "patient": "there", "fhirUser": "RelatedPerson/x"}).json()
    assert invited["missing"] == ["Patient/there", "RelatedPerson/x"]
    assert (
        "Not in the record (yet): Patient/there."
        in admin.submit("/invitations", {"password": PASSWORD, "patient": "there"}, "/users").text
    )


def test_a_second_factor_that_was_lost_is_taken_away(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "lost@example.org")
    key = browser.json("/account/authenticator/new", {"password": PASSWORD}).json()["key"]
    typed = totp.code(key, totp.period(datetime.now(UTC)))
    assert browser.json("/account/authenticator", {"code": typed}).status_code == 200
    other = Browser(served.settings)
    assert other.log_in("lost@example.org").json()["second_factor"] is True
    assert "asks for a second step" in admin.get(f"/users/{id_}").text
    assert (
        admin.submit(f"/users/{id_}/second-factor/remove", {"password": PASSWORD}, f"/users/{id_}").status_code == 303
    )
    assert browser.get("/account").status_code == 303
    assert "second_factor" not in other.log_in("lost@example.org").json()
    recorded = admin.get(f"/users/{id_}", headers=JSON).json()["events"]
    assert "second-factor-removed" in [each["kind"] for each in recorded]


def test_a_hash_of_no_known_kind_opens_nothing(served: Any) -> None:
    person(served.settings, "odd@example.org", hash="plain:secret")
    assert Browser(served.settings).log_in("odd@example.org", "secret").status_code == 401


def holding(served: Any, user: str | None, client: str, scope: str = "patient/*.rs", patient: str | None = None) -> str:
    """What an app holds, by its access token."""

    async def begun(auth: Auth) -> str:
        hour, context = tokens.timedelta(hours=1), {"patient": patient} if patient else {}
        grant = await tokens.begin(auth, client, scope, hour, user=user, context=context)
        return (await tokens.issue(auth, grant, scope, hour, None)).access

    return inside(served.settings, begun)


def test_access_is_listed_by_account_and_by_app_and_ended(served: Any, admin: Browser) -> None:
    id_, browser = added(served, "granter@example.org", fhir_user="Patient/g", patient="g")
    secret = holding(served, id_, "chart", patient="g")
    holding(served, id_, "other")
    holding(served, None, "chart", "system/*.rs")

    async def approve(auth: Auth) -> None:
        await auth["approvals"].insert_one({"_id": f"{id_} chart", "user": id_, "client": "chart", "at": auth.now()})

    async def holds(auth: Auth) -> tuple[bool, int]:
        left = await auth["approvals"].count_documents({"user": id_})
        return await tokens.find(auth, secret) is not None, left

    inside(served.settings, approve)
    of_account = admin.get("/grants?user=granter@example.org", headers=JSON).json()["grants"]
    assert [(each["client"], each["login"], each["patient"]) for each in of_account] == [
        ("other", "granter@example.org", None),
        ("chart", "granter@example.org", "g"),
    ]
    assert [each["user"] for each in admin.get("/grants?client=chart", headers=JSON).json()["grants"]] == [None, id_]
    both = admin.get(f"/grants?client=chart&user={id_}", headers=JSON).json()["grants"]
    assert [each["id"] for each in both] == [of_account[1]["id"]]
    assert "Patient/g" in admin.get("/grants?client=chart").text
    assert inside(served.settings, holds) == (True, 1)
    assert admin.submit("/grants/end", {"grant": both[0]["id"]}, "/grants").status_code == 303
    assert inside(served.settings, holds) == (False, 0)
    assert admin.json("/grants/end", {"grant": both[0]["id"]}).status_code == 404
    assert admin.get(f"/grants?client=chart&user={id_}", headers=JSON).json()["grants"] == []
    told = browser.get("/account", headers=JSON).json()["events"][0]
    assert (told["kind"], told["client"]) == ("grant-ended", "chart")
    assert "ended, by an administrator" in browser.get("/account").text


def test_access_is_listed_page_by_page(served: Any, admin: Browser) -> None:
    async def many(auth: Auth) -> list[str]:
        return [await tokens.begin(auth, "many", f"{number}", tokens.timedelta(hours=1)) for number in range(60)]

    ids = inside(served.settings, many)
    first = admin.get("/grants?client=many", headers=JSON).json()
    assert len(first["grants"]) == 50
    rest = admin.get("/grants", params={"client": "many", "before": first["next"]}, headers=JSON).json()
    assert rest["next"] is None
    assert sorted(each["id"] for each in first["grants"] + rest["grants"]) == sorted(ids)
    assert "More" in admin.get("/grants?client=many").text
    for wrong in ("x", "2026-01-01", "2026-01-01T00:00:00 x"):
        assert admin.get("/grants", params={"before": wrong}, headers=JSON).status_code == 400


def test_access_and_statistics_are_for_administrators(served: Any) -> None:
    _, browser = added(served, "nosy@example.org", roles=["practitioner"])
    for path in ("/grants", "/statistics"):
        assert browser.get(path, headers=JSON).status_code == 403
    assert browser.json("/grants/end", {"grant": "g"}).status_code == 403


def test_statistics_count_what_there_is_and_what_failed(served: Any, admin: Browser) -> None:
    before = admin.get("/statistics", headers=JSON).json()["statistics"]
    id_, browser = added(served, "counted@example.org", roles=["practitioner", "admin"], fhir_user="Practitioner/1")
    assert Browser(served.settings).log_in("counted@example.org", "wrong").status_code == 401
    holding(served, id_, "app", "openid offline_access user/*.rs")
    holding(served, id_, "app", "user/*.rs")
    statuses = [Browser(served.settings).log_in("nobody at all", "wrong").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    after = admin.get("/statistics", headers=JSON).json()["statistics"]
    more = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    expected = {"users": 1, "practitioner": 1, "admin": 1, "sessions": 1, "grants": 2, "offline": 1, "logIns": 1}
    assert more == expected | {"failedLogIns": 6, "turnedAway": 2}
    assert browser.get("/account").status_code == 200
    page = admin.get("/statistics").text
    assert "Attempts that failed in the last 24 hours" in page
