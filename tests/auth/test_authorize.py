"""An app is let in by a person: code, tokens, refresh, and the end of it.

https://hl7.org/fhir/smart-app-launch/app-launch.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from apps import EC, RSA, SCOPE, App, Smart, landed
from joserfc import jws, jwt
from joserfc.jwk import KeySet
from people import PASSWORD, Browser, person

from smart_auth import clients, keys, sealed, sessions, tokens, users
from smart_auth.credentials import ASSERTION
from smart_auth.forms import FORM
from smart_auth.server import Auth, Document, digest
from smart_auth.users import User

CB = "https://app.example/cb"
AGES = ("created", "expires")
ONLINE = "openid online_access launch/patient patient/*.rs"
NOTHING = "nothing of what is asked for can be granted to this app"


@pytest.fixture(scope="module")
def ada(smart: Smart) -> User:
    smart.patients("ada", "bob", "other")
    return person(smart.settings, "ada", patient="ada", fhir_user="Patient/ada", name="Ada Lovelace")


@pytest.fixture(scope="module")
def browser(smart: Smart, ada: User) -> Iterator[Browser]:
    browser = Browser(smart.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        yield browser


@pytest.fixture(scope="module")
def registered(smart: Smart) -> Smart:
    smart.add("public", redirect_uris=(CB, "com.example.app:/cb"))
    secret = digest("s3cret: +%")
    smart.add("confidential", method="client_secret_basic", secret=secret, redirect_uris=(CB,), client_uri=CB)
    smart.add("other", method="client_secret_post", secret=secret, redirect_uris=(CB,))
    jwks = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
    smart.add("asymmetric", method="private_key_jwt", jwks=jwks, redirect_uris=(CB,))
    smart.add("narrow", redirect_uris=(CB,), scope="launch/patient patient/Observation.rs openid")
    smart.add_backend("backend")
    return smart


@pytest.fixture
def app(registered: Smart, browser: Browser) -> App:
    return App(registered, "public", browser)


@pytest.fixture
def confidential(registered: Smart, browser: Browser) -> App:
    return App(registered, "confidential", browser, "s3cret: +%")


def test_a_person_lets_an_app_in(app: App, ada: User) -> None:
    told = landed(app.agree(app.authorize()))
    assert (told["state"], told["iss"]) == ("st 1&é", app.smart.issuer)
    answer = app.exchange(told["code"])
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {*body["scope"].split()} == {*SCOPE.split()}
    assert (body["token_type"], body["expires_in"], body["patient"]) == ("Bearer", 3600, "ada")
    assert body["refresh_token"] != body["access_token"]

    published = KeySet.import_key_set(app.smart.http.get("/jwks").json())
    signed = jwt.decode(body["id_token"], published, algorithms=["RS256"])
    assert signed.claims["iss"] == app.smart.issuer
    assert (signed.claims["aud"], signed.claims["sub"]) == ("public", ada.id)
    assert signed.claims["fhirUser"] == f"{app.smart.fhir.base_url}/Patient/ada"
    assert signed.claims["auth_time"] <= signed.claims["iat"] < signed.claims["exp"]

    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    known = app.smart.http.get("/userinfo", headers=bearer).json()
    assert known == {"sub": ada.id, "fhirUser": signed.claims["fhirUser"]}


def posted(app: App, **changed: Any) -> httpx.Response:
    """Another site's form: the browser sends no cookie with it, and does with the GET that it is answered with."""
    asked = app.smart.http.post("/authorize", data=app.asked(**changed))
    assert asked.status_code == 303, asked.text
    return app.browser.get(asked.headers["location"])


def test_the_way_of_a_form_and_a_nonce(app: App) -> None:
    answer = posted(app, nonce="n-1", scope="openid profile")
    if "/consent?" in answer.headers["location"]:
        answer = app.agree(answer)
    body = app.exchange(landed(answer)["code"]).json()
    published = KeySet.import_key_set(app.smart.http.get("/jwks").json())
    claims = jwt.decode(body["id_token"], published, algorithms=["RS256"]).claims
    assert (claims["nonce"], claims["name"]) == ("n-1", "Ada Lovelace")
    assert "refresh_token" not in body
    assert "patient" not in body


def test_who_is_not_logged_in_logs_in_first(registered: Smart, ada: User) -> None:
    browser = Browser(registered.settings)
    with browser.http:
        app = App(registered, "public", browser)
        answer = app.authorize()
        url = answer.headers["location"]
        assert url.startswith(f"{registered.issuer}/login?next=")
        assert landed(app.authorize(prompt="none"))["error"] == "login_required"
        page = browser.get(url)
        back = page.text.split('name="next" value="')[1].split('"')[0].replace("&amp;", "&")
        answer = browser.submit(
            "/login", {"login": "ada", "password": "violet otter 7 climbs the quiet hill", "next": back}, page=url
        )
        answer = browser.get(answer.headers["location"])
        assert "code" in landed(app.agree(answer))


def test_a_person_can_say_no_and_be_asked_again(app: App) -> None:
    told = landed(app.agree(app.authorize(prompt="consent"), decision="deny"))
    assert (told["error"], told["state"]) == ("access_denied", "st 1&é")
    assert "code" in landed(app.agree(app.authorize(prompt="consent")))
    assert "/consent?" in app.authorize(max_age="3600", prompt="consent").headers["location"]


def next_of(answer: httpx.Response) -> str:
    """Where a log-in leads back to."""
    url = httpx.URL(answer.headers["location"])
    assert url.path.endswith("/login"), url
    return url.params["next"]


@pytest.mark.parametrize(
    "wants", [{"prompt": "login"}, {"prompt": "select_account"}, {"prompt": "login consent"}, {"max_age": "0"}]
)
def test_who_is_to_log_in_again_does(registered: Smart, ada: User, wants: dict[str, str]) -> None:
    browser = Browser(registered.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        app = App(registered, "confidential", browser, "s3cret: +%")
        back = next_of(app.authorize(**wants))
        forged = back.replace("log_in_after=v1.", "log_in_after=v1.A")
        for skipped in (back, forged, f"/authorize?{_query(app, wants)}"):
            back = next_of(browser.get(skipped))
        asked = browser.get("/consent", params={"request": _query(app, wants)})
        assert next_of(asked).startswith("/authorize?")

        assert browser.log_in("ada").status_code == 200
        answer = browser.get(back)
        assert "code" in landed(app.agree(answer) if "/consent?" in answer.headers["location"] else answer)
        later = app.asked(**wants, state="later") | {"log_in_after": httpx.URL(back).params["log_in_after"]}
        next_of(browser.get("/authorize", params=later))


def _query(app: App, changed: dict[str, str]) -> str:
    return str(httpx.QueryParams(app.asked(**changed)))


def test_whose_session_ends_before_the_answer_logs_in_and_is_asked_again(registered: Smart, ada: User) -> None:
    browser = Browser(registered.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        app = App(registered, "public", browser)
        long = {"prompt": "consent", "nonce": "/" * 1_500, "state": "/" * 900}
        page = app.authorize(**long)
        assert browser.json("/logout", {}).status_code == 200
        back = next_of(browser.get(page.headers["location"]))
        log_in = {"login": "ada", "password": PASSWORD, "next": back}
        assert browser.submit("/login", log_in).headers["location"] == registered.issuer + back
        assert landed(app.agree(browser.get(back)))["state"] == long["state"]


def test_who_logged_in_lately_may_think_about_it(app: App) -> None:
    asked = app.authorize(max_age="3600", prompt="consent")
    assert "log_in_after" in asked.headers["location"]
    assert "code" in landed(app.agree(asked))


def test_a_decision_is_remembered(app: App) -> None:
    landed(app.agree(app.authorize(prompt="consent")))
    assert "code" in landed(app.authorize())
    assert "code" in landed(app.authorize(prompt="none", scope="launch/patient patient/Patient.rs"))
    more = SCOPE + " patient/Condition.rs"
    assert landed(app.authorize(prompt="none", scope=more))["error"] == "interaction_required"


def test_a_form_of_another_site_finds_who_is_logged_in(app: App) -> None:
    landed(app.agree(app.authorize(prompt="consent")))
    assert "code" in landed(posted(app, prompt="none"))
    to = app.smart.http.post("/authorize", data=app.asked(client_secret="s3cret")).headers["location"]
    assert "s3cret" not in to
    long = app.smart.http.post("/authorize", data=app.asked(login_hint="x" * 8_000))
    assert (landed(long)["error"], len(long.headers["location"]) < 1_000) == ("invalid_request", True)


def test_who_is_asked_for_more_finds_what_they_decided_before(app: App) -> None:
    observations = SCOPE.split().index("patient/Observation.rs")
    kept = {f"scope.{observations}": ""}
    landed(app.agree(app.authorize(prompt="consent"), **kept))
    more = app.authorize(scope=f"{SCOPE} patient/Condition.rs")
    page = app.browser.get(more.headers["location"]).text
    ticked = {int(number) for number in re.findall(r'name="scope.([0-9]+)" value="on" checked', page)}
    assert ticked == {*range(len(SCOPE.split()) + 1)} - {observations}
    assert "What you decided before is filled in." in page
    landed(app.agree(app.authorize(prompt="consent")))


def test_who_asks_for_what_was_refused_asks_the_person_again(app: App) -> None:
    observations = SCOPE.split().index("patient/Observation.rs")
    landed(app.agree(app.authorize(prompt="consent"), **{f"scope.{observations}": ""}))
    assert "patient/Observation.rs" not in app.tokens(prompt="none")["scope"]
    alone = "launch/patient patient/Observation.rs"
    assert landed(app.authorize(prompt="none", scope=alone))["error"] == "interaction_required"
    assert app.tokens(scope=alone)["scope"] == alone
    assert app.tokens(scope=alone, prompt="none")["scope"] == alone
    landed(app.agree(app.authorize(prompt="consent")))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://inferno.healthit.gov/invalid_aud"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"state": "x" * 3000}, "invalid_request"),
        ({"login_hint": "x" * 8_000}, "invalid_request"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "urn:x"}, "request_uri_not_supported"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "nonsense system/*.rs patient/Nothing.rs"}, "invalid_scope"),
        ({"scope": " ".join(f"patient/*.r?_id={n}" for n in range(400))}, "invalid_scope"),
        ({"scope": "launch patient/*.rs"}, "invalid_request"),
        ({"scope": "launch patient/*.rs", "launch": "unknown"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "other"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "١"}, "invalid_request"),
    ],
)
def test_what_is_wrong_is_told_to_the_app(app: App, changed: dict[str, Any], error: str) -> None:
    told = landed(app.authorize(**changed))
    assert (told["error"], told["iss"]) == (error, app.smart.issuer)
    assert "code" not in told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scope": None}, "scope is missing"),
        ({"scope": " "}, "scope is missing"),
        ({"scope": "patient/Observation.sr"}, f"{NOTHING}: patient/Observation.sr is no scope that is known here"),
        ({"scope": 'patient/"Ä\\"'}, f"{NOTHING}: patient/'?/' is no scope that is known here"),
        ({"scope": "system/*.rs openid:x"}, f"{NOTHING}: system/*.rs is for services"),
        (
            {"client_id": "narrow", "scope": "user/*.rs"},
            f"{NOTHING}: user/*.rs is not within what it is registered for",
        ),
        ({"prompt": "none login"}, "prompt=none stands alone"),
        ({"prompt": "other"}, "prompt is of consent, login, none, select_account"),
    ],
)
def test_the_app_is_told_what_to_mend(app: App, changed: dict[str, Any], said: str) -> None:
    assert landed(app.authorize(**changed))["error_description"] == said


def test_where_a_browser_would_be_sent_can_be_asked_without_a_body(app: App) -> None:
    for changed, status in (({"redirect_uri": "https://evil.example/"}, 400), ({"prompt": "consent"}, 303)):
        asked, got = app.asked(**changed), app.authorize(**changed)
        answer = app.browser.http.head(f"{app.smart.issuer}/authorize", params=asked)
        assert (answer.status_code, answer.content) == (got.status_code, b"") == (status, b"")
        assert answer.headers.get("location") == got.headers.get("location")


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": uri}
        for uri in (
            "https://evil.example/cb",
            CB + "/",
            CB + "?x=1",
            CB + "#f",
            "https://app.example/cb/../x",
            "https://app.example@evil.example/cb",
            "https://APP.example/cb",
            "https://app.example:443/cb",
            "javascript:alert(1)",
            None,
        )
    ]
    + [{"client_id": "nobody"}, {"client_id": None}, {"client_id": "backend"}],
)
def test_nothing_is_told_to_whom_nobody_registered(app: App, changed: dict[str, Any]) -> None:
    answer = app.authorize(**changed)
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(("name", "state"), [("scope", "st 1&é"), ("code_challenge", "st 1&é"), ("state", None)])
def test_what_is_there_twice_is_told_to_the_app(app: App, name: str, state: str | None) -> None:
    asked = [*app.asked().items(), (name, "x")]
    by_form = app.smart.http.post("/authorize", content=urlencode(asked), headers={"Content-Type": FORM})
    for answer in (app.browser.get(f"/authorize?{urlencode(asked)}"), by_form):
        told = landed(answer)
        assert (told["error"], told["error_description"]) == ("invalid_request", f"{name} is there more than once")
        assert (told.get("state"), told["iss"]) == (state, app.smart.issuer)


@pytest.mark.parametrize(
    ("name", "changed"), [("client_id", {}), ("redirect_uri", {}), ("scope", {"redirect_uri": "https://evil.example/"})]
)
def test_where_it_is_not_certain_whom_to_tell_it_is_shown(app: App, name: str, changed: dict[str, str]) -> None:
    asked = [*app.asked(**changed).items(), (name, app.asked()[name])]
    answer = app.browser.get(f"/authorize?{urlencode(asked)}")
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_what_scopes_come_to_together_has_an_end(registered: Smart, browser: Browser) -> None:
    types = ("Observation", "Condition", "Encounter", "Procedure", "Goal")
    registered.add("varied", redirect_uris=(CB,), scope=" ".join(f"patient/{each}.rs" for each in types))
    app = App(registered, "varied", browser)
    asked = " ".join(f"patient/*.r?_id={n}" for n in range(120))
    assert landed(app.authorize(scope=asked))["error"] == "invalid_scope"


def test_a_scheme_of_an_app_is_not_shown_as_a_host(registered: Smart, browser: Browser) -> None:
    uri = "com.example.evil://hospital.example/cb"
    registered.add("evil", redirect_uris=(uri,))
    answer = App(registered, "evil", browser).authorize(redirect_uri=uri)
    page = browser.get(answer.headers["location"]).text
    assert "You go on to com.example.evil." in page


def test_the_next_client_of_a_name_is_not_the_one_that_was_let_in(registered: Smart, browser: Browser) -> None:
    registered.add("again", method="client_secret_basic", secret=digest("one"), redirect_uris=(CB,))
    app = App(registered, "again", browser, "one")
    assert "code" in landed(app.agree(app.authorize()))
    assert "code" in landed(app.authorize(prompt="none"))
    assert registered.inside(lambda auth: clients.remove(auth, "again"))
    registered.add("again", method="client_secret_basic", secret=digest("two"), redirect_uris=(CB,))
    assert landed(app.authorize(prompt="none"))["error"] == "interaction_required"


def test_a_client_gets_no_more_than_it_is_registered_for(registered: Smart, browser: Browser) -> None:
    app = App(registered, "narrow", browser)
    scope = (
        "openid fhirUser offline_access launch/patient patient/*.rs patient/Observation.rs patient/Observation.cruds"
    )
    body = app.tokens(scope=scope)
    assert {*body["scope"].split()} == {"openid", "launch/patient", "patient/Observation.rs"}
    assert "refresh_token" not in body


def test_a_client_that_renews_nothing_is_not_asked_about_as_if_it_did(registered: Smart, browser: Browser) -> None:
    registered.add("brief", redirect_uris=(CB,), grant_types=("authorization_code",))
    app = App(registered, "brief", browser)
    asked = app.authorize()
    assert "Stay connected" not in browser.get(asked.headers["location"]).text
    body = app.exchange(landed(app.agree(asked))["code"]).json()
    assert "offline_access" not in body["scope"].split()
    assert "refresh_token" not in body
    told = landed(app.authorize(scope="offline_access"))
    assert told["error_description"] == f"{NOTHING}: offline_access is not within what it is registered for"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "com.example.app:/cb"}, "invalid_grant"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
    ],
)
def test_a_code_alone_is_worth_nothing(app: App, changed: dict[str, Any], error: str) -> None:
    answer = app.exchange(app.code(), **changed)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_code_is_for_the_client_that_asked(app: App, confidential: App, registered: Smart, browser: Browser) -> None:
    confidential.verifier = app.verifier
    answer = confidential.exchange(app.code())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert confidential.exchange(confidential.code()).status_code == 200
    thief = App(registered, "confidential", browser)
    thief.verifier = confidential.verifier
    for secret in (None, "wrong", ""):
        thief.secret = secret
        answer = thief.exchange(confidential.code())
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    code = confidential.code()
    form = {"client_id": "confidential", "client_secret": "s3cret: +%"}
    assert thief.exchange(code, **form).status_code == 400  # in two ways at once
    thief.secret = None
    assert thief.exchange(code, **form).status_code == 200


def test_an_app_may_sign_who_it_is(registered: Smart, browser: Browser) -> None:
    app = App(registered, "asymmetric", browser)
    proof = {"client_assertion_type": ASSERTION, "client_assertion": registered.assertion("asymmetric", EC, "ES384")}
    answer = app.exchange(app.code(), **proof)
    assert answer.status_code == 200, answer.text
    assert app.refresh(answer.json()["refresh_token"]).status_code == 401


def test_a_code_lasts_a_minute(app: App) -> None:
    code = app.code()

    async def age(auth: Auth) -> None:
        ago = {"$set": {"issued": auth.now() - timedelta(seconds=60)}}
        assert (await auth["codes"].update_one({"_id": digest(code)}, ago)).modified_count == 1

    app.smart.inside(age)
    assert app.exchange(code).json()["error"] == "invalid_grant"


def alive(app: App, token: str) -> bool:
    return app.smart.http.get("/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize("ended", ["disabled", "taken back"])
def test_a_code_is_worth_nothing_where_access_ended_meanwhile(registered: Smart, ended: str) -> None:
    who = person(registered.settings, f"{ended[:3]}-meanwhile", patient="ada", fhir_user="Patient/ada")
    browser = Browser(registered.settings)
    with browser.http:
        browser.log_in(who.login)
        app = App(registered, "public", browser)
        code = app.code()
        if ended == "disabled":
            registered.inside(lambda auth: users.change(auth, who.id, {"disabled": True}))
        else:
            assert browser.json("/account/apps/end", {"client": "public"}).status_code == 200
        answer = app.exchange(code)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert "taken back" in answer.json()["error_description"]


def test_a_code_that_comes_again_ends_what_came_of_it(app: App) -> None:
    code = app.code()
    body = app.exchange(code).json()
    assert alive(app, body["access_token"])
    assert app.exchange(code).json()["error"] == "invalid_grant"
    assert not alive(app, body["access_token"])
    assert app.refresh(body["refresh_token"]).status_code == 400


def test_a_code_is_redeemed_once_whoever_is_first(app: App) -> None:
    for _ in range(3):
        code = app.code()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, code=code: app.exchange(code).status_code, range(8)))
        assert sorted(answers)[1:] == [400] * 7  # and the first, where another was quick to end it


def test_a_refresh_token_is_used_once_whoever_is_first(app: App) -> None:
    for _ in range(3):
        token = app.tokens()["refresh_token"]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, token=token: app.refresh(token).status_code, range(8)))
        assert sorted(answers) == [200] + [400] * 7


def test_refresh_rotates_and_narrows(app: App) -> None:
    first = app.tokens()
    second = app.refresh(first["refresh_token"]).json()
    assert {first["access_token"], first["refresh_token"]}.isdisjoint(second.values())
    assert (second["scope"], second["patient"]) == (first["scope"], "ada")
    narrow = app.refresh(second["refresh_token"], scope="patient/Observation.r launch/patient").json()
    assert narrow["scope"] == "patient/Observation.r launch/patient"
    assert not alive(app, narrow["access_token"])  # openid is left out
    wide = app.refresh(narrow["refresh_token"], scope=SCOPE + " patient/*.cruds")
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope")
    assert app.refresh(narrow["refresh_token"]).json()["scope"] == first["scope"]


def test_a_refresh_token_that_comes_again_ends_all(app: App) -> None:
    first = app.tokens()
    second = app.refresh(first["refresh_token"]).json()
    assert alive(app, second["access_token"])
    assert app.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert not alive(app, second["access_token"])
    assert app.refresh(second["refresh_token"]).status_code == 400


def test_a_refresh_token_is_for_its_client(app: App, confidential: App) -> None:
    token = app.tokens()["refresh_token"]
    assert confidential.refresh(token).json()["error"] == "invalid_grant"
    assert confidential.refresh("unknown").json()["error"] == "invalid_grant"
    assert app.refresh(token).status_code == 200


def test_online_access_ends_with_the_log_out(registered: Smart, ada: User) -> None:
    browser = Browser(registered.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        app = App(registered, "public", browser)
        body, away = app.tokens(scope=ONLINE), app.tokens(scope=f"{ONLINE} offline_access", prompt="consent")
        body = app.refresh(body["refresh_token"]).json()
        said = app.post("/introspect", {"token": body["refresh_token"]}).json()
        assert (said["active"], said["exp"] - said["iat"]) == (True, sessions.LIFE.total_seconds())
        codes = [app.code(scope=each) for each in (ONLINE, f"{ONLINE} offline_access")]
        assert browser.json("/logout", {}).status_code == 200
        assert [app.exchange(each).status_code for each in codes] == [400, 200]
        assert app.post("/introspect", {"token": body["refresh_token"]}).json() == {"active": False}
        assert app.refresh(body["refresh_token"]).json()["error"] == "invalid_grant"
        assert "access_token" in app.refresh(away["refresh_token"]).json()


def test_online_access_lasts_while_the_person_works_in_the_app(registered: Smart) -> None:
    """They send the authorization server nothing meanwhile, and what it forgets by `expires` is gone."""
    worker = person(registered.settings, "works-in-an-app", patient="bob", fhir_user="Patient/bob")
    browser = Browser(registered.settings)
    with browser.http:
        assert browser.log_in(worker.login).status_code == 200
        app = App(registered, "public", browser)
        body = app.tokens(scope=ONLINE)

        async def age(auth: Auth) -> None:
            shift = {name: {"$subtract": [f"${name}", 3_600_000]} for name in ("at", "seen", "expires")}
            await auth["sessions"].update_one({"user": worker.id}, [{"$set": shift}])

        for _ in range(11):
            registered.inside(age)
            body = app.refresh(body["refresh_token"]).json()
            assert "access_token" in body
        assert browser.get("/account").status_code == 303
        registered.inside(age)
        assert app.refresh(body["refresh_token"]).json()["error"] == "invalid_grant"


def test_online_access_goes_on_where_the_same_person_logs_in_again(registered: Smart, ada: User) -> None:
    person(registered.settings, "shares-the-computer", patient="bob", fhir_user="Patient/bob")
    browser = Browser(registered.settings)
    with browser.http:
        assert browser.log_in("ada").status_code == 200
        app = App(registered, "public", browser)
        body = app.tokens(scope=ONLINE)
        assert browser.log_in("ada").status_code == 200
        body = app.refresh(body["refresh_token"]).json()
        assert browser.log_in("shares-the-computer").status_code == 200
        assert app.refresh(body["refresh_token"]).json()["error"] == "invalid_grant"


def test_online_access_that_was_ended_elsewhere_stays_so(registered: Smart) -> None:
    person(registered.settings, "lost-a-phone", patient="other", fhir_user="Patient/other")
    lost, other = Browser(registered.settings), Browser(registered.settings)
    with lost.http, other.http:
        assert [each.log_in("lost-a-phone").status_code for each in (lost, other)] == [200, 200]
        app = App(registered, "public", lost)
        body = app.tokens(scope=ONLINE)
        assert other.json("/account/sessions/end", {}).status_code == 200
        assert lost.log_in("lost-a-phone").status_code == 200
        assert app.refresh(body["refresh_token"]).json()["error"] == "invalid_grant"


def test_revoking_ends_it_with_the_next_request(app: App, confidential: App) -> None:
    for kind in ("access_token", "refresh_token"):
        body = app.tokens()
        assert alive(app, body["access_token"])
        assert confidential.post("/revoke", {"token": body[kind]}).status_code == 200  # not theirs
        assert alive(app, body["access_token"])
        assert app.post("/revoke", {"token": body[kind], "token_type_hint": "x"}).status_code == 200
        assert not alive(app, body["access_token"])
        assert app.refresh(body["refresh_token"]).status_code == 400
    assert app.post("/revoke", {"token": "unknown"}).status_code == 200
    assert app.post("/revoke", {}).status_code == 400


def test_introspection(app: App, confidential: App, ada: User) -> None:
    body = app.tokens()
    said = confidential.post("/introspect", {"token": body["access_token"]}).json()
    assert said["active"] is True
    assert (said["scope"], said["client_id"], said["patient"]) == (body["scope"], "public", "ada")
    assert (said["sub"], said["iss"]) == (ada.id, app.smart.issuer)
    assert said["fhirUser"] == f"{app.smart.fhir.base_url}/Patient/ada"
    assert said["exp"] - said["iat"] == 3600
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    mine = app.smart.http.post("/introspect", data={"token": body["access_token"]}, headers=bearer).json()
    assert mine == said
    assert app.post("/introspect", {"token": body["refresh_token"]}).json()["token_type"] == "refresh_token"
    none = {"active": False}
    assert confidential.post("/introspect", {"token": body["refresh_token"]}).json() == none
    assert confidential.post("/introspect", {"token": "invalid_token_value"}).json() == none
    theirs = confidential.tokens()["access_token"]
    assert app.post("/introspect", {"token": theirs}).json() == none
    app.post("/revoke", {"token": body["access_token"]})
    assert confidential.post("/introspect", {"token": body["access_token"]}).json() == none
    assert app.smart.http.post("/introspect", data={"token": theirs}, headers=bearer).status_code == 401
    assert app.smart.http.post("/introspect", data={"token": theirs}).status_code == 401
    assert confidential.post("/introspect", {"x": "1"}).status_code == 400


def test_userinfo_is_for_who_was_granted_openid(app: App) -> None:
    ask = app.smart.http.get
    asked = {sent: ask("/userinfo", headers={"Authorization": sent} if sent else {}) for sent in ("", "Bearer x")}
    assert {answer.status_code for answer in asked.values()} == {401}
    challenges = [answer.headers["WWW-Authenticate"] for answer in asked.values()]
    assert challenges == ["Bearer", 'Bearer error="invalid_token"']
    token = app.tokens(scope="launch/patient patient/Patient.rs")["access_token"]
    assert ask("/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_access_ends_with_the_account_and_follows_it(registered: Smart) -> None:
    bob = person(registered.settings, "bob", patient="bob", fhir_user="Patient/bob")
    browser = Browser(registered.settings)
    with browser.http:
        browser.log_in("bob")
        app = App(registered, "public", browser)
        body = app.tokens()

        def found(values: dict[str, Any]) -> Any:
            async def story(auth: Auth) -> Any:
                await users.change(auth, bob.id, values)
                return await tokens.find(auth, body["access_token"])

            return registered.inside(story)

        assert found({"roles": ["proxy"]}).roles == {"proxy"}
        assert found({"patient": "other"}) is None  # the record that the app was let into is not bob's any more
        assert found({"patient": "bob"}).patient == "bob"
        assert found({"disabled": True}) is None


def test_keys_rotate_and_stay_published(registered: Smart) -> None:
    async def story(auth: Auth) -> list[str]:
        auth = replace(auth, sealing_key=bytes(32))
        before = (await keys.signing(auth)).kid
        await auth["keys"].update_many({}, {"$set": {"created": auth.now() - keys.SIGNS}})
        after = (await keys.signing(auth)).kid
        public = await keys.public(auth)
        assert all("d" not in key and key["alg"] == "RS256" for key in public)
        return [before or "", after or "", *(key["kid"] for key in public)]

    before, after, *published = registered.inside(story)
    assert before != after
    assert published[:2] == [after, before]
    assert [key["kid"] for key in registered.http.get("/jwks").json()["keys"]] == published


def test_who_copies_the_database_signs_nothing(registered: Smart, app: App) -> None:
    def kid() -> str:
        return str(jws.extract_compact(app.tokens(prompt="none")["id_token"].encode()).headers()["kid"])

    async def kept(auth: Auth) -> list[Document]:
        return await auth["keys"].find().to_list()

    async def another_secret(auth: Auth) -> None:
        await auth["keys"].update_many({}, {"$set": {"private": sealed.seal(b"x" * 32, "{}", "the signing key 1")}})

    before = kid()
    assert all(set(each["jwk"]) == {"kty", "n", "e", "kid", "use", "alg"} for each in registered.inside(kept))
    assert kid() == before
    registered.inside(another_secret)
    assert kid() not in (before, None)  # what was signed before is verified as before
    assert before in {key["kid"] for key in registered.http.get("/jwks").json()["keys"]}


def test_a_server_that_was_off_for_months_makes_a_new_key(registered: Smart, app: App) -> None:
    def kids() -> list[str]:
        return [key["kid"] for key in registered.http.get("/jwks").json()["keys"]]

    async def off(auth: Auth) -> None:
        shift = {name: {"$subtract": [f"${name}", int(keys.PUBLISHED.total_seconds() * 1000)]} for name in AGES}
        await auth["keys"].update_many({}, [{"$set": shift}])

    before = kids()
    registered.inside(off)
    signed = app.tokens(prompt="none")["id_token"]
    (kid,) = kids()
    assert kid not in before
    assert jws.extract_compact(signed.encode()).headers()["kid"] == kid


def test_discovery_says_what_is_there(registered: Smart) -> None:
    answer = registered.fhir.get(".well-known/smart-configuration", headers={"Accept": "application/fhir+xml"})
    said = answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert (said["issuer"], said["code_challenge_methods_supported"]) == (registered.issuer, ["S256"])
    assert {*said["capabilities"]} == {
        *("launch-ehr", "launch-standalone", "authorize-post", "sso-openid-connect", "context-banner", "context-style"),
        *("client-public", "client-confidential-symmetric", "client-confidential-asymmetric"),
        *("context-ehr-patient", "context-ehr-encounter", "context-standalone-patient", "context-standalone-encounter"),
        *("permission-offline", "permission-online", "permission-patient", "permission-user"),
        *("permission-v1", "permission-v2"),
    }
    openid = httpx.get(f"{said['issuer']}/.well-known/openid-configuration").json()
    assert openid["issuer"] == said["issuer"]
    for endpoint in (name for name in openid if name.endswith(("_endpoint", "_uri"))):
        assert openid[endpoint] == said[endpoint]
        assert httpx.get(said[endpoint]).status_code in (200, 303, 400, 401, 405)
    token = httpx.options(said["token_endpoint"])
    assert (token.status_code, token.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "Access-Control-Allow-Origin" not in httpx.get(said["authorization_endpoint"]).headers
