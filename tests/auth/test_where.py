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
