"""The authorization server: every path of /auth with forms, JSON, queries and headers that are nearly right."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, urlencode, urlsplit

import pytest
from garbage import scalars, texts
from hypothesis import strategies as st
from pymongo import MongoClient
from wire import Wire

from smart_auth import passwords
from smart_auth.app import CROSS_ORIGIN, ROUTES
from smart_auth.codes import challenge
from smart_auth.credentials import ASSERTION
from smart_auth.openapi import ENDPOINTS
from smart_auth.server import digest

# the server lives in this process, and its driver draws from `random` while an example is drawn
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
CB, VERIFIER, SECRET, BROWSER = "https://app.example/cb", "v" * 43, "s" * 43, "b" * 43
AGAIN = 25  # inputs, after which what they may have ended or changed is put back
LATER = datetime.now(UTC) + timedelta(days=30)
PATHS = [path.replace("{id}", id_) for path in ROUTES for id_ in ("ada", "$ne")]
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
MISSPELT = ("", "/", "/nothing", "//authorize", "/authorize/", "/..", "/%2e%2e/fhir", "/users/%00", "/users/%ff")


class Door(NamedTuple):
    """A record with an administrator who is logged in, an app, a code, tokens, a launch; `base` is the FHIR base."""

    wire: Wire
    database: Any
    hash: str
    base: str
    cookie: bytes

    def restore(self) -> None:
        now = datetime.now(UTC)
        times, many = {"issued": now, "expires": LATER, "used": None}, {"upsert": True}
        grant = {"client": "app", "user": "ada", "session": digest(SECRET), "scope": "openid patient/*.rs"}
        service = {"client": "service", "user": None, "session": None, "scope": "system/*.cruds"}
        app = {"name": "App", "created": now, "method": "none", "grant_types": ["authorization_code", "refresh_token"]}
        app |= {"redirect_uris": [CB], "scope": "", "launch_uri": CB}
        ada = {
            "login": "ada",
            "names": ["ada"],
            "name": "Ada",
            "roles": ["admin", "patient"],
            "patient": "ada",
            "password": self.hash,
        }
        ada |= {"verified": True, "disabled": False, "created": now, "fhir_user": "Patient/ada"}
        session = {"user": "ada", "methods": ["pwd"], "half": False, "at": now, "seen": now}
        bound = {"grant": "g", "client": "app", "redirect_uri": CB, "challenge": challenge(VERIFIER)}
        more = {"user": "ada", "scope": "openid patient/*.rs", "context": {}, "nonce": None, "at": now}
        approved = {"asked": ["openid", "patient/*.rs"], "scopes": ["openid", "patient/*.rs"]}
        for name, id_, document in (
            ("users", "ada", ada),
            ("clients", "app", app),
            ("clients", "signer", app | {"method": "private_key_jwt", "jwks": {"keys": []}}),
            ("sessions", digest(SECRET), session | {"expires": LATER, "agent": "", "address": ""}),
            ("grants", "g", grant | {"context": {"patient": "ada"}, "revoked": None} | times),
            ("grants", "service", service | {"context": {}, "revoked": None} | times),
            ("tokens", digest("t" * 43), {"kind": "access", "grant": "service", "scope": "system/*.cruds"} | times),
            ("codes", digest(SECRET), bound | {"more": more} | times),
            ("tokens", digest(SECRET), {"kind": "access", "grant": "g", "scope": "openid patient/*.rs"} | times),
            ("tokens", digest("r" * 43), {"kind": "refresh", "grant": "g"} | times),
            ("approvals", "ada app", approved | {"user": "ada", "client": "app", "patient": "ada", "at": now}),
            ("launches", digest(SECRET), {"user": "ada", "context": {"patient": "ada"}} | times),
        ):
            self.database[f"auth.{name}"].replace_one({"_id": id_}, document, **many)

    def knock(self, method: str, target: str | bytes, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
        """One exchange: never a 5xx, and an error is said as OAuth says it, or on a page."""
        if Wire.asked % AGAIN == 0:
            self.restore()
        reply = self.wire.ask(method, target, body, *headers)
        assert reply.status < 500, reply
        kind = reply.headers.get(b"content-type", b"")
        if reply.status >= 400 and reply.body and kind.startswith(JSON):
            said = json.loads(reply.body)
            assert said["error"].isascii(), reply
            assert said["error_description"], reply
        if kind.startswith(b"text/html"):
            assert b"frame-ancestors 'none'" in reply.headers[b"content-security-policy"], reply
            assert b"<script>" not in reply.body, reply
        to = urlsplit(reply.headers.get(b"location", b"").decode())
        assert to.hostname in (None, "localhost", "app.example"), reply
        assert b"evil" not in reply.headers.get(b"access-control-allow-origin", b""), reply


@pytest.fixture(scope="module")
def door(serve: Any) -> Iterator[Door]:
    served = serve(open=False, registration="open", login_failures_per_address=1000)
    settings = served.settings
    wire = Wire(settings.port, b"/auth")
    assert settings.mongodb_url
    with MongoClient(settings.mongodb_url.get_secret_value()) as client:
        hash_ = asyncio.run(passwords.hashed("violet otter 7 climbs the quiet hill"))
        cookie = f"session-auth={SECRET}; forms-auth={BROWSER}".encode()
        door = Door(wire, client[settings.database], hash_, settings.base_url, cookie)
        door.restore()
        fhir, bearer = Wire(settings.port), (b"Authorization", b"Bearer " + b"t" * 43)
        ada = b'{"resourceType":"Patient","id":"ada"}'
        assert fhir.ask("PUT", "/Patient/ada", ada, bearer, (b"Content-Type", b"application/fhir+json")).status == 201
        fhir.close()
        page = wire.ask("GET", "/account", b"", (b"Cookie", cookie))
        assert (page.status, b"Ada" in page.body) == (200, True)
        yield door
        door.restore()
        assert wire.ask("GET", "/account", b"", (b"Cookie", cookie)).status == 200
    wire.close()


def right(base: str) -> dict[str, tuple[str, ...]]:
    """Parameters by their names, with values that are right for something; the first is for most."""
    asked = {"response_type": "code", "client_id": "app", "redirect_uri": CB, "scope": "openid patient/*.rs"}
    asked |= {"state": "s", "aud": base, "code_challenge": challenge(VERIFIER), "code_challenge_method": "S256"}
    return {name: (value,) for name, value in asked.items()} | {
        "grant_type": ("authorization_code", "refresh_token", "client_credentials"),
        "code": (SECRET,),
        "code_verifier": (VERIFIER,),
        "refresh_token": ("r" * 43,),
        "client_secret": (SECRET,),
        "client_assertion_type": (ASSERTION,),
        "client_assertion": ("eyJhbGciOiJSUzM4NCIsImtpZCI6ImEifQ.eyJpc3MiOiJzaWduZXIifQ.AAAA", "a.b.c", "e30.e30.e30"),
        "nonce": ("n",),
        "request_uri": ("urn:ietf:params:oauth:request_uri:" + SECRET, "urn:x"),
        "launch": (SECRET,),
        "prompt": ("consent", "none", "login"),
        "max_age": ("10", "0"),
        "log_in_after": ("v1." + SECRET, "v1.\u00e9", "0"),
        "token": (hashlib.sha256(f"form:{BROWSER}".encode()).hexdigest(), SECRET, "r" * 43),
        "login": ("ada", "eve"),
        "password": ("violet otter 7 climbs the quiet hill",),
        "email": ("ada@example.org",),
        "name": ("Ada",),
        "next": ("/account", "//evil.example/", "https://evil.example/"),
        "request": (urlencode(asked), urlencode(asked | {"scope": "launch", "launch": SECRET}), "client_id=app"),
        "decision": ("allow", "deny"),
        "scope.1": ("on",),
        "patient": ("ada",),
        "role": ("admin", "patient"),
        "user": ("ada",),
        "session": (SECRET,),
        "client": ("app",),
        "secret": (SECRET,),
        "new_password": ("another violet otter 8 climbs",),
    }


ASKING = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "aud",
    "code_challenge",
    "code_challenge_method",
)
WHOLE = {  # what is sent where
    "/authorize": (ASKING, (*ASKING, "prompt"), (*ASKING, "launch", "nonce", "max_age", "log_in_after")),
    "/par": (ASKING, (*ASKING, "client_secret"), (*ASKING, "client_assertion_type", "client_assertion")),
    "/token": (
        ("grant_type=authorization_code", "client_id", "redirect_uri", "code", "code_verifier"),
        ("grant_type=refresh_token", "client_id", "refresh_token", "scope"),
        ("grant_type=client_credentials", "client_assertion_type", "client_assertion", "scope"),
    ),
    "/introspect": (("client_id", "token"),),
    "/revoke": (("client_id", "token"),),
    "/consent": (("token", "request", "patient", "decision", "scope.1"), ("request",), ("request", "patient")),
}


def fields(base: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    known = right(base)
    names = st.sampled_from([*known])
    good = names.flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(known[name])))
    odd = st.tuples(names | texts, texts)
    return st.lists(st.one_of(good, good, good, odd), max_size=10)


@st.composite
def whole(draw: st.DrawFn, base: str) -> tuple[str, list[tuple[str, str]]]:
    """A request that is right but for one thing, which is changed, left out, or added."""
    known, path = right(base), draw(st.sampled_from([*WHOLE]))
    names = draw(st.sampled_from(WHOLE[path]))
    said = (name.partition("=") for name in names)
    pairs = [(name, value or draw(st.sampled_from(known[name]))) for name, _, value in said]
    at = draw(st.integers(0, len(pairs)))
    match draw(st.integers(0, 3)):
        case 0:
            return path, [*pairs[:at], *pairs[at + 1 :]]
        case 1:
            return path, [*pairs[:at], (draw(st.sampled_from([*known])), draw(texts)), *pairs[at + 1 :]]
        case 2:
            return path, [*pairs, *draw(fields(base))]
    return path, pairs


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    def one(text: str) -> str:
        return quote_from_bytes(text.encode("utf-8", "surrogatepass"))

    return "&".join(f"{one(name)}={one(value)}" for name, value in pairs).encode()


LISTS: tuple[Any, ...] = ([CB], [], {"keys": []}, {"keys": [{"kty": "RSA", "kid": "a"}]}, [{"reference": "List/1"}])
paths = st.sampled_from([*PATHS, *MISSPELT])
entrances = st.sampled_from(("/launch", "/register"))


@st.composite
def papers(draw: st.DrawFn, cookie: bytes) -> list[tuple[bytes, bytes]]:
    """What a request shows of who sends it."""
    shown: list[tuple[bytes, bytes]] = []
    if draw(st.booleans()):
        shown.append((b"Cookie", cookie))
    bearer = f"Bearer {SECRET}".encode()
    basic = (b"Basic YXBwOnNlY3JldA==", b"Basic !", b"Basic /////w==", b"Basic", b"Digest x", b"Bearer", b"Bearer \xff")
    if draw(st.integers(0, 3)) == 0:
        shown.append((b"Authorization", draw(st.sampled_from((bearer, *basic)))))
    if draw(st.integers(0, 5)) == 0:
        shown.append((b"Origin", draw(st.sampled_from((b"https://evil.example", b"null", b"\xff")))))
    if draw(st.integers(0, 3)) == 0:
        shown.append((b"Accept", draw(st.sampled_from((JSON, b"text/html", b"\xff", b"*/*;q=x")))))
    return shown


def test_any_form(fuzz: Any, door: Door) -> None:
    def law(drawn: tuple[tuple[str, list[tuple[str, str]]], list[tuple[bytes, bytes]]]) -> None:
        (path, pairs), shown = drawn
        door.knock("POST", path, encoded(pairs), (b"Content-Type", FORM), *shown)

    sent = whole(door.base) | whole(door.base) | st.tuples(paths, fields(door.base))
    fuzz(st.tuples(sent, papers(door.cookie)), law, short=150, times=7)


def test_any_query(fuzz: Any, door: Door) -> None:
    def law(drawn: tuple[str, tuple[str, list[tuple[str, str]]], list[tuple[bytes, bytes]]]) -> None:
        method, (path, pairs), shown = drawn
        door.knock(method, path.encode() + b"?" + encoded(pairs), b"", *shown)

    asked = whole(door.base) | whole(door.base) | st.tuples(paths, fields(door.base))
    fuzz(st.tuples(st.sampled_from(METHODS), asked, papers(door.cookie)), law, short=150, times=6)


def test_any_json(fuzz: Any, door: Door) -> None:
    names = st.sampled_from(
        (
            *right(door.base),
            "client_name",
            "redirect_uris",
            "grant_types",
            "jwks",
            "token_endpoint_auth_method",
            "contacts",
            "encounter",
            "intent",
            "fhirContext",
            "need_patient_banner",
            "credential",
            "roles",
            "disabled",
        )
    )
    lists = st.sampled_from(LISTS)
    known = right(door.base)
    good = names.flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(known.get(name, LISTS))))
    odd = st.tuples(
        names, scalars | lists | st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars, max_size=3)
    )
    objects = st.lists(good | odd, max_size=8).map(lambda pairs: json.dumps(dict(pairs)).encode())
    raw = st.sampled_from((b"", b"[]", b"null", b"{", b"\xff", b"[" * 50_000, b'{"a":' * 9_000, b"\xef\xbb\xbf{}"))

    def law(drawn: tuple[str, str, bytes, list[tuple[bytes, bytes]]]) -> None:
        method, path, body, shown = drawn
        door.knock(method, path, body, (b"Content-Type", JSON), *shown)

    methods = st.sampled_from(("POST", "POST", "POST", "PUT", "PATCH", "DELETE"))
    there = entrances | paths
    fuzz(st.tuples(methods, there, objects | raw, papers(door.cookie)), law, short=150, times=5)


def test_any_token_of_a_read(fuzz: Any, door: Door) -> None:
    """On the FHIR side: whatever stands in Authorization."""
    wire = Wire(door.wire.port)
    visible = st.binary(max_size=60).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127))
    near = st.sampled_from((b"Bearer " + SECRET.encode(), b"bearer  " + SECRET.encode(), b"Bearer " + b"r" * 43))
    header = visible | near | visible.map(lambda raw: b"Bearer " + raw) | st.just(b"Bearer " + b"x" * 20_000)

    def law(drawn: tuple[bytes, str]) -> None:
        value, target = drawn
        reply = wire.checked("GET", target, b"", (b"Authorization", value))
        assert reply.status in (400, 401, 403, 404, 200), reply

    targets = st.sampled_from(("/Patient/ada", "/Patient?name=x", "/metadata", "/Observation", "/"))
    fuzz(st.tuples(header, targets), law, times=1)
    wire.close()


def test_every_path_that_is_described_is_knocked_at() -> None:
    described = {each.path.replace("{id}", "ada") for each in ENDPOINTS}
    assert described <= {*PATHS}
    assert {*WHOLE} <= {*PATHS}
    assert {"/.well-known/smart-configuration", "/.well-known/openid-configuration"} <= {*PATHS}
    assert {each.method.upper() for each in ENDPOINTS} <= {*METHODS}


def test_what_crosses_origins_knows_no_cookie() -> None:
    """Pages of ours, which cookies open, are not among what pages of others may read."""
    assert CROSS_ORIGIN.isdisjoint(path for path in ROUTES if path.startswith(("/login", "/account", "/consent")))
    assert "/authorize" not in CROSS_ORIGIN
