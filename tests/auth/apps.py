"""Clients of the authorization server: apps, and services that sign what they ask with a key."""

from __future__ import annotations

import html
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote_plus, urlsplit

import httpx
from brief import briefly
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from people import Browser
from tls import TLS

from fhirserver.store.connect import connect
from smart_auth import clients
from smart_auth.clients import Client
from smart_auth.codes import challenge
from smart_auth.credentials import ASSERTION
from smart_auth.server import Auth

if TYPE_CHECKING:
    from conftest import Fhir, Served

T = TypeVar("T")
SCOPE = "openid fhirUser offline_access launch/patient patient/Observation.rs patient/Patient.rs"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-384", {"kid": "ec"})


class Smart:
    """A served record, and its authorization server from the outside and from the inside."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.settings = served.settings
        self.fhir: Fhir = served.client
        self.issuer = served.settings.auth_url
        self.http = httpx.Client(base_url=self.issuer, timeout=60, verify=TLS)

    def inside(self, story: Callable[[Auth], Awaitable[T]]) -> T:
        async def run() -> T:
            assert self.settings.mongodb_url
            client = await connect(self.settings.mongodb_url.get_secret_value())
            try:
                return await story(Auth(client[self.settings.database], self.settings, lambda: datetime.now(UTC)))
            finally:
                await client.close()

        return briefly(run())

    def add(self, id_: str, **metadata: Any) -> Client:
        client = Client(**({"id": id_, "name": id_, "created": datetime.now(UTC)} | metadata))
        self.inside(lambda auth: clients.add(auth, client))
        return client

    def add_backend(self, id_: str, scope: str = "system/*.rs", **metadata: Any) -> Client:
        keys = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
        values = {"method": "private_key_jwt", "grant_types": ("client_credentials",), "scope": scope, "jwks": keys}
        return self.add(id_, **(values | metadata))

    def patients(self, *ids: str) -> None:
        """Patients of the record, whom a service puts there."""
        self.put(*({"resourceType": "Patient", "id": id_, "name": [{"family": id_.title()}]} for id_ in ids))

    def visit(self, id_: str, patient: str) -> None:
        """A visit of a patient."""
        class_ = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
        visit = {"resourceType": "Encounter", "id": id_, "status": "finished", "class": class_}
        self.put(visit | {"subject": {"reference": f"Patient/{patient}"}})

    def put(self, *resources: dict[str, Any]) -> None:
        if self.inside(lambda auth: clients.find(auth, "filler")) is None:
            self.add_backend("filler", "system/*.cruds")
        token = self.ask(self.assertion("filler"), "system/*.cruds").json()["access_token"]
        for each in resources:
            path = f"{each['resourceType']}/{each['id']}"
            answer = self.fhir.put(path, each, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in (200, 201), answer.text

    def assertion(self, id_: str, key: Any = RSA, alg: str = "RS384", head: Any = None, **claims: Any) -> str:
        said = {"iss": id_, "sub": id_, "aud": f"{self.issuer}/token", "jti": secrets.token_hex(16)}
        said |= {"exp": int(time.time()) + 240} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key.kid} | (head or {}), said, key, algorithms=[alg])

    def ask(self, assertion: str, scope: str = "system/*.rs", **more: Any) -> httpx.Response:
        form = {"grant_type": "client_credentials", "scope": scope, "client_assertion": assertion}
        form |= {"client_assertion_type": ASSERTION} | more
        return self.http.post("/token", data={name: value for name, value in form.items() if value is not None})

    def get(self, path: str, token: str) -> httpx.Response:
        return self.fhir.get(path, headers={"Authorization": f"Bearer {token}"})


class App:
    """An app that a person uses in a browser: it asks for a code and exchanges it for tokens."""

    def __init__(self, smart: Smart, id_: str, browser: Browser, secret: str | None = None) -> None:
        self.smart, self.id, self.browser, self.secret = smart, id_, browser, secret
        self.verifier = secrets.token_urlsafe(40)
        self.redirect_uri = "https://app.example/cb"

    def asked(self, **changed: Any) -> dict[str, str]:
        asked = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "state": "st 1&é",
            "aud": self.smart.fhir.base_url,
            "code_challenge": challenge(self.verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (asked | changed).items() if value is not None}

    def authorize(self, **changed: Any) -> httpx.Response:
        return self.browser.get("/authorize", params=self.asked(**changed))

    def agree(self, answer: httpx.Response, **fields: str) -> httpx.Response:
        return agreed(self.browser, answer, **fields)

    def code(self, **changed: Any) -> str:
        answer = self.authorize(**changed)
        if "/consent?" in answer.headers["location"]:
            answer = self.agree(answer)
        told = landed(answer)
        assert "code" in told, told
        return told["code"]

    def exchange(self, code: str, /, **changed: Any) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.post("/token", form | {"code_verifier": self.verifier} | changed)

    def refresh(self, token: str, **changed: Any) -> httpx.Response:
        return self.post("/token", {"grant_type": "refresh_token", "refresh_token": token} | changed)

    def post(self, path: str, form: dict[str, Any]) -> httpx.Response:
        """As the client that it is."""
        form = {name: value for name, value in form.items() if value is not None}
        if self.secret is not None:
            return self.smart.http.post(path, data=form, auth=(self.id, quote_plus(self.secret)))
        return self.smart.http.post(path, data={"client_id": self.id} | form)

    def tokens(self, **changed: Any) -> dict[str, Any]:
        answer = self.exchange(self.code(**changed))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


def agreed(browser: Browser, answer: httpx.Response, **fields: str) -> httpx.Response:
    """Say yes to everything that the consent page shows, or what the fields say."""
    url = answer.headers["location"]
    assert url.startswith(f"{browser.base}/consent?"), url
    page = browser.get(url)
    assert page.status_code == 200, page.text
    shown = dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', page.text))
    shown = {name: html.unescape(value) for name, value in shown.items()}
    ticked = dict.fromkeys(re.findall(r'name="(scope\.[0-9]+)"', page.text), "on")
    return browser.http.post(f"{browser.base}/consent", data=shown | ticked | {"decision": "allow"} | fields)


def landed(answer: httpx.Response) -> dict[str, str]:
    """What the browser brings to the app."""
    assert "location" in answer.headers, answer.text
    url = urlsplit(answer.headers["location"])
    assert (answer.status_code, url.netloc, url.path) == (303, "app.example", "/cb"), answer.headers
    return dict(parse_qsl(url.query, strict_parsing=True))
