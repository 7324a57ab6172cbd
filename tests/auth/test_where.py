"""Where the authorization server answers, and how it refuses what it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from conftest import Fhir, Serve


def test_what_is_not_there_is_said_as_json(fhir: Fhir) -> None:
    answer = httpx.get(fhir.base_url.removesuffix("/fhir") + "/auth/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"] == "not_found"
    assert answer.headers["Cache-Control"] == "no-store"


def test_each_tenant_has_its_own(serve: Serve) -> None:
    root = serve(tenants="north").client.base_url.removesuffix("/fhir")
    assert httpx.get(f"{root}/auth/north/nothing").json()["error"] == "not_found"
    assert httpx.get(f"{root}/auth/nothing").text.startswith("Nothing is here: a tenant")


def test_the_configuration_of_a_tenant_stands_below_its_base(serve: Serve) -> None:
    served = serve(tenants="north,south", open=False)
    for name in ("north", "south"):
        base = f"{served.settings.base_url}/{name}"
        said = httpx.get(f"{base}/.well-known/smart-configuration").json()
        assert said["issuer"] == f"{served.settings.auth_url}/{name}"
        assert httpx.get(f"{said['issuer']}/.well-known/openid-configuration").json()["issuer"] == said["issuer"]
        assert httpx.get(f"{base}/metadata").json()["rest"][0]["security"]["extension"][0]["extension"][0] == {
            "url": "authorize",
            "valueUri": said["authorization_endpoint"],
        }
    assert httpx.get(f"{served.settings.base_url}/.well-known/smart-configuration").status_code == 404
