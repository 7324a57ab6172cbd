"""Request lines and headers: paths, query strings, conditions, preferences."""

from __future__ import annotations

import json
from typing import Any

import pytest
from garbage import KNOWN_TYPES, query, search_values, segments, texts, types
from hypothesis import strategies as st
from wire import JSON, NOT_HTTP, XML

accepts = st.sampled_from(((b"Accept", JSON), (b"Accept", XML)))
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PATIENT = b'{"resourceType":"Patient","id":"a-1","active":true}'


def test_any_path(fuzz, world):
    def law(drawn: tuple[str, list[str], Any]) -> None:
        method, path, accept = drawn
        body = PATIENT if method in ("POST", "PUT") else b""
        headers = ((b"Content-Type", JSON), accept)
        world.refuses_whole(method, ("/" + "/".join(path)).encode(), body, *headers)

    fuzz(st.tuples(st.sampled_from(METHODS), st.lists(segments, max_size=5), accepts), law, short=100)


@pytest.mark.parametrize(
    "raw", [b"/\xff", b"/Patient/\xed\xa0\x80", b"/Patient?name=\xfc", b"/Patient\\..", b"/Patient?a=\x7f", b"/%"]
)
def test_raw_bytes_in_the_request_line(world, raw):
    reply = world.wire.ask("GET", raw)
    assert reply.status < 500
    assert reply.body == NOT_HTTP or reply.resource


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    type_ = draw(types)
    shape = draw(
        st.sampled_from(
            (
                f"/{type_}",
                f"/{type_}",
                f"/{type_}",
                f"/{type_}/a-1",
                f"/{type_}/_history",
                f"/{type_}/a-1/_history",
                "/_history",
                "/",
                f"/Patient/a-1/{type_}",
                "/Patient/a-1/*",
                "/Patient/a-1/$everything",
                "/metadata",
            )
        )
    )
    return shape.encode() + b"?" + draw(query(type_))


def test_any_query(fuzz, world):
    world.wire.checked("PUT", "/Patient/a-1", PATIENT, (b"Content-Type", JSON))

    def law(drawn: tuple[str, bytes, Any, Any]) -> None:
        method, target, accept, prefer = drawn
        world.wire.checked(method, target, b"", accept, prefer)

    prefers = st.sampled_from(((b"Prefer", b"handling=strict"), (b"Prefer", b"handling=lenient")))
    fuzz(st.tuples(st.sampled_from(("GET", "GET", "GET", "HEAD")), targets(), accepts, prefers), law, short=200)


def test_any_form(fuzz, world):
    def law(drawn: tuple[str, bytes, Any]) -> None:
        type_, body, accept = drawn
        form = (b"Content-Type", b"application/x-www-form-urlencoded")
        world.wire.checked("POST", f"/{type_}/_search", body, form, accept)

    forms = st.sampled_from(KNOWN_TYPES).flatmap(
        lambda type_: st.tuples(st.just(type_), query(type_) | st.binary(), accepts)
    )
    fuzz(forms, law)


def test_any_condition_in_the_url(fuzz, world):
    def law(drawn: tuple[str, bytes, Any]) -> None:
        method, condition, accept = drawn
        world.refuses_whole(method, b"/Patient?" + condition, PATIENT, (b"Content-Type", JSON), accept)

    fuzz(st.tuples(st.sampled_from(("PUT", "DELETE", "PATCH", "POST")), query("Patient"), accepts), law)


def test_forged_cursors(fuzz, world):
    for n in range(3):
        body = b'{"resourceType":"Basic","id":"c-%d","code":{"text":"x"}}' % n
        assert world.wire.checked("PUT", f"/Basic/c-{n}", body, (b"Content-Type", JSON)).status in (200, 201)
    page = world.wire.checked("GET", "/Basic?_count=1").resource
    url = next(link["url"] for link in page["link"] if link["relation"] == "next")
    cursor = url.partition("_cursor=")[2]

    def law(drawn: tuple[str, int, str]) -> None:
        path, at, piece = drawn
        forged = cursor[: at % len(cursor)] + piece + cursor[at % len(cursor) + 1 :]
        world.wire.checked("GET", f"{path}?_count=1&_cursor={forged}")

    paths = st.sampled_from(("/Basic", "/Patient", "/_history", "/", "/Basic/c-1/_history", "/Patient/a-1/$everything"))
    pieces = st.sampled_from(("", "A", "AA", "_", "-", ".", "%00", "%", "=", "==", "é".encode().hex()))
    fuzz(st.tuples(paths, st.integers(0, 2**10), pieces), law)
    with_another = world.wire.checked("GET", f"/Basic?_count=1&_sort=_id&_cursor={cursor}")
    assert with_another.status == 400


NAMES = (
    b"Accept",
    b"Content-Type",
    b"Prefer",
    b"If-Match",
    b"If-None-Match",
    b"If-None-Exist",
    b"If-Modified-Since",
    b"Content-Encoding",
    b"X-Request-Id",
    b"Accept-Encoding",
    b"Authorization",
    b"Cookie",
    b"X-Forwarded-For",
    b"Origin",
    b"Range",
)
VALUES = (
    b'W/"1"',
    b'"1"',
    b"W/1",
    b"*",
    b'W/"' + b"9" * 400 + b'"',
    b'W/"\xff"',
    b'W/"1", W/"2",, ',
    b"application/fhir+json;q=nan",
    b"application/fhir+json;q=inf,*/*;q=-inf",
    b"application/fhir+xml;q=1e999",
    b"*/*;q=" + b"9" * 400,
    b"application/fhir+json; charset=utf-16",
    b"application/fhir+json; charset",
    b"multipart/form-data; boundary=x",
    b"text/*",
    b"," * 2_000,
    b";" * 2_000,
    b"=" * 2_000,
    b"return=minimal; return=representation",
    b"return",
    b"handling=strict",
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b"Sun, 06 Nov 1994 08:49:37",
    b"Sun, 06 Nov 9999 23:59:59 -2359",
    b"Sun, 06 Nov 0001 00:00:00 +2359",
    b"Sun, 06 Nov 99999 08:49:37 GMT",
    b"Sun, 32 Foo 1994 25:61:61 GMT",
    b"Sun, 06 Nov 1994 08:49:37 +9999",
    b"Sun, 06 Nov 1994 08:49:37 +999999999999",
    b"06 Nov " + b"9" * 400,
    b"0",
    b"name=Plain",
    b"?name=%ff",
    b"name=%ed%a0%80",
    b"Patient?name=x&_sort=y",
    b"gzip",
    b"gzip;q=0",
    b"bytes=0-1",
    b"x" * 30_000,
    b"\xe9\xff\x80",
)
visible = st.binary(max_size=30).map(lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127))
headers = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | visible), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/Patient/a-1", b""),
        ("POST", "/Patient", PATIENT),
        ("PUT", "/Patient/a-1", PATIENT),
        ("PATCH", "/Patient/a-1", b'[{"op":"replace","path":"/active","value":false}]'),
        ("DELETE", "/Patient/a-2", b""),
        ("GET", "/Patient/a-1/_history/1", b""),
    ],
)
def test_any_headers(fuzz, world, method, target, body):
    world.wire.checked("PUT", "/Patient/a-1", PATIENT, (b"Content-Type", JSON))

    def law(drawn: list[tuple[bytes, bytes]]) -> None:
        names = {name for name, _ in drawn}
        kind = b"application/json-patch+json" if method == "PATCH" else JSON
        more = [] if b"Content-Type" in names or not body else [(b"Content-Type", kind)]
        world.refuses_whole(method, target, body, *drawn, *more)

    fuzz(headers, law)


everything = st.dictionaries(
    st.sampled_from(("resourceType", "parameter", "name", "valueInteger")),
    st.sampled_from(("Parameters", 1, None, {}, [], "x"))
    | st.lists(
        st.dictionaries(
            st.sampled_from(("name", "valueInteger", "valueString", "value", "resource", "part")),
            st.sampled_from(("_count", "_since", "_type", "_cursor", "start", 1, None, {}, [], True))
            | texts
            | search_values,
            max_size=3,
        )
        | st.sampled_from((1, None, "x", [])),
        max_size=3,
    ),
)


def test_any_parameters_of_everything(fuzz, world):
    world.wire.checked("PUT", "/Patient/a-1", PATIENT, (b"Content-Type", JSON))

    def law(drawn: tuple[dict[str, Any], Any]) -> None:
        parameters, accept = drawn
        body = json.dumps({"resourceType": "Parameters"} | parameters).encode()
        world.wire.checked("POST", "/Patient/a-1/$everything", body, (b"Content-Type", JSON), accept)

    fuzz(st.tuples(everything, accepts), law)
