"""Headers that keep browsers, and what stands between, from doing harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from conftest import Fhir, Serve


def test_resources_are_no_pages(fhir: Fhir) -> None:
    for path in ("metadata", "Patient/nobody", "Patient?_count=1"):
        headers = fhir.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers


def test_who_came_by_tls_comes_by_tls_again(serve: Serve) -> None:
    settings = serve(base_url="https://fhir.example/fhir", open=False).settings
    for path in ("/fhir/metadata", "/auth/jwks", "/auth/login"):
        answer = httpx.get(f"http://127.0.0.1:{settings.port}{path}")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", path
