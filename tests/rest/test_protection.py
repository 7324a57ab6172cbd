"""Headers that keep browsers, and what stands between, from doing harm."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from conftest import Fhir, Serve


def test_resources_are_no_pages(fhir: Fhir) -> None:
    for path in ("metadata", "Patient/nobody", "Patient?_count=1"):
        headers = fhir.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in headers


def test_no_answer_goes_without_them(fhir: Fhir) -> None:
    """Nor those that have no body, or are refused before anything is read."""
    fhir.put("Patient/bare", {"resourceType": "Patient", "id": "bare"})
    tag = {"If-None-Match": 'W/"1"'}
    page = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    page["Access-Control-Request-Headers"] = "authorization"
    answers = [
        (304, fhir.get("Patient/bare", headers=tag)),
        (204, fhir.request("OPTIONS", "Patient", headers=page)),
        (204, fhir.delete("Patient/bare")),
        (401, fhir.get("Patient", headers={"Authorization": "Bearer nothing"})),
        (405, fhir.request("TRACE", "Patient")),
        (400, fhir.get("Patient/%ff")),
    ]
    for status, answer in answers:
        assert answer.status_code == status
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_what_was_uploaded_is_saved_and_does_not_act(fhir: Fhir) -> None:
    fhir.request("PUT", "Binary/page", content=b"<script>alert(1)</script>", headers={"Content-Type": "text/html"})
    headers = fhir.get("Binary/page").headers
    assert headers["Content-Type"] == "text/html"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Accept" in headers["Vary"]
    assert "Origin" in headers["Vary"]


def test_who_came_by_tls_comes_by_tls_again(serve: Serve) -> None:
    settings = serve(base_url="https://fhir.example/fhir", open=False).settings
    for path in ("/fhir/metadata", "/auth/jwks", "/auth/login"):
        answer = httpx.get(f"http://127.0.0.1:{settings.port}{path}")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", path


def test_nobody_is_refused_before_the_body_is_read(serve: Serve) -> None:
    base = urlsplit(serve(open=False).settings.base_url)
    with socket.create_connection((base.hostname or "", base.port or 0), timeout=30) as line:
        line.sendall(
            f"POST {base.path}/Patient HTTP/1.1\r\nHost: {base.netloc}\r\nContent-Type: application/fhir+json\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 401 ")
