"""Backend services: a signed assertion becomes a token, and the token reads.

https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from apps import EC, RSA, Smart
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from smart_auth import clients, tokens
from smart_auth.server import Auth

PATIENT = {"resourceType": "Patient", "id": "p", "name": [{"family": "Lovelace"}]}
with pytest.warns(SecurityWarning):
    WEAK = RSAKey.generate_key(1024, {"kid": "weak"})
TWICE = RSAKey.generate_key(2048, {"kid": "twice"})
P256 = ECKey.generate_key("P-256", {"kid": "p256"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
CLAIMS = {"iss": "service", "sub": "service", "exp": int(time.time()) + 200, "jti": "forged"}


def public(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


@pytest.fixture(scope="module")
def service(smart: Smart) -> Smart:
    smart.add_backend("service", "system/*.cruds", jwks=public(RSA, EC, WEAK, TWICE, TWICE, P256))
    smart.add_backend("reader", "system/Patient.rs system/Observation.rs")
    smart.add("app", redirect_uris=("https://app.example/cb",))
    return smart


def access(smart: Smart, id_: str = "service", scope: str = "system/*.cruds") -> str:
    answer = smart.ask(smart.assertion(id_), scope)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS384"), (EC, "ES384")])
def test_a_service_reads_and_writes_with_a_token(service: Smart, key: Any, alg: str) -> None:
    answer = service.ask(service.assertion("service", key, alg), "system/*.cruds")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, "system/*.cruds")
    assert "refresh_token" not in body
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    assert service.fhir.put("Patient/p", PATIENT, headers=bearer).status_code in (200, 201)
    read = service.fhir.get("Patient/p", headers=bearer)
    assert (read.json()["name"], read.headers["Cache-Control"]) == (PATIENT["name"], "no-store")
    assert service.fhir.get("Patient?name=lovelace", headers=bearer).json()["entry"][0]["resource"]["id"] == "p"


def test_without_a_token_nothing_is_read(service: Smart) -> None:
    answer = service.fhir.get("Patient/p")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert service.fhir.get("metadata").status_code == 200


@pytest.mark.parametrize("header", ["Bearer nothing", "Bearer " + "x" * 43, "Bearer", "bearer é", "Basic YTpi", "x"])
def test_what_is_no_token_is_refused_in_the_words_of_both_worlds(service: Smart, header: str) -> None:
    answer = service.fhir.get("Patient/p", headers={"Authorization": header.encode()})
    assert answer.status_code == 401
    assert 'error="invalid_' in answer.headers["WWW-Authenticate"]
    assert answer.json()["issue"][0]["code"] == "login"


def test_a_token_reaches_what_its_scopes_say(service: Smart) -> None:
    token = access(service, "reader", "system/Patient.rs")
    service.fhir.put("Patient/p", PATIENT, headers={"Authorization": f"Bearer {access(service)}"})
    assert service.get("Patient/p", token).status_code == 200
    refused = service.get("Observation/o", token)
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert service.fhir.delete("Patient/p", headers={"Authorization": f"Bearer {token}"}).status_code == 403


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/Patient.rs", 200),
        ("system/Patient.r system/Observation.s", 200),
        ("system/Patient.read", 200),
        ("system/Patient.rs?gender=female", 200),
        ("system/Patient.cruds", 400),
        ("system/*.rs", 400),
        ("system/Encounter.rs", 400),
        ("user/Patient.rs", 400),
        ("patient/Patient.rs", 400),
        ("launch", 400),
        ("", 400),
        ("nonsense", 400),
    ],
)
def test_a_scope_is_within_what_is_registered(service: Smart, scope: str, status: int) -> None:
    answer = service.ask(service.assertion("reader"), scope)
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["error"] == "invalid_scope"


def encoded(*parts: Any) -> str:
    texts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(text).rstrip(b"=").decode() for text in texts)


def signed_with_the_public_key(smart: Smart) -> str:
    """The old confusion: a public key taken for a shared secret."""
    said = encoded({"alg": "HS384", "kid": "rsa"}, CLAIMS | {"aud": f"{smart.issuer}/token"})
    mac = hmac.new(RSA.as_pem(private=False), said.encode(), "sha384").digest()
    return said + "." + encoded(mac)


FORGED: dict[str, Callable[[Smart], str]] = {
    "a key that is not registered": lambda s: s.assertion("service", STRANGER),
    "an unknown kid": lambda s: s.assertion("service", head={"kid": "other"}),
    "no kid": lambda s: s.assertion("service", head={"kid": ""}),
    "a kid that is a number": lambda s: encoded({"alg": "RS384", "kid": 7}, CLAIMS, b"x"),
    "two keys of one kid": lambda s: s.assertion("service", TWICE),
    "a weak key": lambda s: s.assertion("service", WEAK),
    "another curve": lambda s: s.assertion("service", P256, "ES256"),
    "RS256": lambda s: s.assertion("service", alg="RS256"),
    "PS384": lambda s: s.assertion("service", alg="PS384"),
    "no algorithm": lambda s: encoded({"alg": "none", "kid": "rsa"}, CLAIMS, b""),
    "the public key as a secret": signed_with_the_public_key,
    "jku elsewhere": lambda s: s.assertion("service", head={"jku": "https://evil.example/jwks"}),
    "expired": lambda s: s.assertion("service", exp=int(time.time()) - 60),
    "expires in more than five minutes": lambda s: s.assertion("service", exp=int(time.time()) + 320),
    "expires in an hour": lambda s: s.assertion("service", exp=int(time.time()) + 3600),
    "expires never": lambda s: s.assertion("service", exp=None),
    "expires at the end of time": lambda s: s.assertion("service", exp=1e308),
    "exp is a text": lambda s: encoded({"alg": "RS384", "kid": "rsa"}, CLAIMS | {"exp": "soon"}, b"x"),
    "not yet valid": lambda s: s.assertion("service", nbf=int(time.time()) + 100),
    "no jti": lambda s: s.assertion("service", jti=None),
    "a long jti": lambda s: s.assertion("service", jti="x" * 300),
    "another audience": lambda s: s.assertion("service", aud="https://other.example/token"),
    "two audiences": lambda s: s.assertion("service", aud=[f"{s.issuer}/token", "https://other.example"]),
    "no audience": lambda s: s.assertion("service", aud=None),
    "another subject": lambda s: s.assertion("service", sub="reader"),
    "no issuer": lambda s: s.assertion("service", iss=None),
    "an issuer that is a query": lambda s: encoded({"alg": "RS384", "kid": "rsa"}, CLAIMS | {"iss": {"$ne": 1}}, b"x"),
    "a client that is not registered": lambda s: s.assertion("nobody"),
    "a client of another kind": lambda s: s.assertion("app"),
    "nothing": lambda s: "x",
    "garbage": lambda s: "a.b.c",
    "a list": lambda s: encoded([], [], b"x"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_assertion_gets_nothing(service: Smart, name: str) -> None:
    answer = service.ask(FORGED[name](service), "system/*.cruds")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    assert "WWW-Authenticate" in answer.headers


def test_an_assertion_is_used_once_whoever_is_first(service: Smart) -> None:
    assertion = service.assertion("service")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.ask(assertion, "system/*.cruds").status_code, range(8)))
    assert sorted(answers) == [200] + [401] * 7


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"client_assertion_type": "other"}, 401, "invalid_client"),
        ({"client_id": "reader"}, 401, "invalid_client"),
        ({"client_secret": "x"}, 400, "invalid_request"),
    ],
)
def test_a_form_that_is_not_as_it_should_be(service: Smart, more: dict[str, Any], status: int, error: str) -> None:
    answer = service.ask(service.assertion("service"), "system/*.cruds", **more)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def test_forms_have_each_parameter_once_and_are_forms(service: Smart) -> None:
    url, form = f"{service.issuer}/token", {"Content-Type": "application/x-www-form-urlencoded"}
    twice = httpx.post(url, content="grant_type=client_credentials&scope=a&scope=b", headers=form)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    assert httpx.post(url, json={"grant_type": "client_credentials"}).status_code == 415
    assert httpx.post(url, content="a=" + "x" * 200_000, headers=form).status_code == 413
    assert httpx.post(url, content="a=%ff", headers=form).status_code == 400
    assert httpx.post(url, content=b"a=\xff", headers=form).status_code == 400
    assert httpx.post(url, content="&".join(f"a{n}=1" for n in range(500)), headers=form).status_code == 400
    assert httpx.get(url).status_code == 405


def test_a_revoked_token_ends_with_the_next_request(service: Smart) -> None:
    token = access(service)
    service.get("Patient/p", token)

    async def revoke(auth: Auth) -> None:
        grant = await tokens.find(auth, token)
        assert grant is not None
        await tokens.revoke(auth, grant.id, "a test")

    service.inside(revoke)
    deadline = time.monotonic() + 5  # another process did it: the change stream tells
    while service.get("Patient/p", token).status_code != 401:
        assert time.monotonic() < deadline


def test_a_token_ends_with_its_client(service: Smart) -> None:
    service.add_backend("passing")
    token = access(service, "passing", "system/*.rs")
    assert service.get("Patient?_count=1", token).status_code == 200
    assert service.inside(lambda auth: clients.remove(auth, "passing"))
    assert service.ask(service.assertion("passing")).status_code == 401
    deadline = time.monotonic() + 5
    while service.get("Patient?_count=1", token).status_code != 401:
        assert time.monotonic() < deadline


def test_a_token_expires(service: Smart) -> None:
    token = access(service)

    async def age(auth: Auth) -> None:
        later = {"$set": {"expires": auth.now()}}
        await auth["tokens"].update_one({"_id": tokens.digest(token)}, later)

    service.inside(age)
    assert service.get("Patient/p", token).status_code == 401


@contextmanager
def publishing(document: Callable[[], bytes], status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server of keys, by its URL, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = document()
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_of_two_authorization_headers_none_counts(service: Smart) -> None:
    """What stands before this server may look at the other one."""
    token = access(service, "reader", "system/Patient.rs")
    right, other = ("Authorization", f"Bearer {token}"), ("Authorization", "Bearer other")
    for headers in ([right, other], [other, right], [right, right]):
        read = httpx.get(f"{service.fhir.base_url}/Patient", headers=headers)
        assert (read.status_code, read.json()["issue"][0]["code"]) == (400, "invalid")
        assert "more than one Authorization header" in read.json()["issue"][0]["diagnostics"]
        forms = {"/userinfo": {}, "/introspect": {"token": token}, "/token": {"grant_type": "refresh_token"}}
        for path, form in forms.items():
            answer = httpx.post(f"{service.settings.auth_url}{path}", headers=headers, data=form)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), path
    assert httpx.get(f"{service.fhir.base_url}/Patient", headers=[right]).status_code == 200


def test_keys_are_fetched_once_for_many_assertions(service: Smart) -> None:
    with publishing(lambda: json.dumps(public(RSA)).encode()) as (url, asked):
        service.add_backend("published", "system/*.rs", jwks=None, jwks_uri=url)
        for head in ({}, {"jku": url}, {}):
            assert service.ask(service.assertion("published", head=head)).status_code == 200
        assert service.ask(service.assertion("published", EC, "ES384")).status_code == 401
    assert asked == ["/jwks"]
    assert service.ask(service.assertion("published")).status_code == 200


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [("redirect", b"", 302), ("text", b"no keys", 200), ("list", b"[]", 200), ("long", b" " * 300_000, 200)],
)
def test_what_is_no_key_set_is_not_taken(service: Smart, name: str, body: bytes, status: int) -> None:
    with publishing(lambda: body, status) as (url, asked):
        service.add_backend(f"published-{name}", jwks=None, jwks_uri=url)
        for _ in range(2):
            answer = service.ask(service.assertion(f"published-{name}"))
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert asked == ["/jwks"]
