"""Strategies for input that is nearly right: values, keys, texts, resources, query strings."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from samples import TYPES, sample

from fhirserver.search.parameters import r4_registry

REGISTRY = r4_registry()
KNOWN_TYPES = ("Patient", "Observation", "Encounter", "Bundle", "Parameters", "Binary", "ValueSet")

texts = st.text(max_size=12) | st.sampled_from(
    (
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "x\udfffy",
        "\ufeff",
        "\ufffe\uffff",
        "\x1b[31m",
        "\u202e",
        "__proto__",
        "constructor",
        "$where",
        "$gt",
        "a.b",
        "$",
        ".",
        "..",
        "../../etc/passwd",
        "%00",
        "%s%n{}{0}",
        "${jndi:ldap://x}",
        "'; drop table",
        "<script>alert(1)</script>",
        "<div xmlns='http://www.w3.org/1999/xhtml' onclick='x'>a</div>",
        "Patient/1",
        "Patient/" + "9" * 70,
        "Patient/1/_history/" + "9" * 40,
        "#x",
        "urn:uuid:x",
        "urn:oid:",
        "http://[::1",
        "http://a:b@c:99999/d?e#f",
        "Patient?identifier=a|b",
        "Patient?",
        "Observation?code:in=x&_sort=a",
        "9" * 400,
        "1e999999",
        "-0",
        "0000",
        "0000-00-00",
        "9999-12-31T23:59:59.999+14:00",
        "0001-01-01T00:00:00+14:00",
        "2024-02-30",
        "2024-05-01T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "10000-01-01",
        "٣",
        "²",
        "x" * 5_000,
    )
)
numbers = st.sampled_from(
    (
        "1e999999",
        "-1e-999999",
        "1e400",
        "1e-400",
        "1E+6145",
        "9" * 400,
        "0." + "1" * 400,
        "-0.0",
        "NaN",
        "Infinity",
        "01",
    )
).map(lambda text: f"\ue000{text}\ue000")  # written without its quotes
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from((2**63 - 1, 2**63, 2**64, -(2**63)))
    | numbers
    | texts
)
KEYS = [
    "resourceType",
    "id",
    "meta",
    "versionId",
    "lastUpdated",
    "tag",
    "profile",
    "extension",
    "modifierExtension",
    "url",
    "text",
    "div",
    "status",
    "contained",
    "reference",
    "identifier",
    "type",
    "display",
    "code",
    "coding",
    "system",
    "value",
    "unit",
    "valueString",
    "valueQuantity",
    "valueReference",
    "_value",
    "given",
    "_given",
    "name",
    "entry",
    "resource",
    "request",
    "method",
    "fullUrl",
    "parameter",
    "part",
    "data",
    "contentType",
    "subject",
    "_id",
    "$where",
    "__proto__",
    "a.b",
]
keys = st.sampled_from(KEYS) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)
accepts = st.sampled_from(((b"Accept", b"application/fhir+json"), (b"Accept", b"application/fhir+xml")))
operators = st.sampled_from(
    ({"$where": "sleep(1000)"}, {"$gt": ""}, {"$ne": None}, {"$regex": "(a+)+$"}, [{"$set": {"a": 1}}], {"$expr": {}})
)
types = st.sampled_from(KNOWN_TYPES) | st.sampled_from(TYPES)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside."""
    pairs = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
    return [place for key, child in pairs for place in [(node, key), *places(child)]]


@st.composite
def mutated(draw: st.DrawFn, start: st.SearchStrategy[Any], most: int = 3) -> Any:
    """The same, with up to `most` places changed, renamed, repeated, left out."""
    found = deepcopy(draw(start))
    for _ in range(draw(st.integers(0, most))):
        possible = places(found)
        if not possible:
            return draw(values)
        node, key = draw(st.sampled_from(possible))
        match draw(st.sampled_from(("value", "text", "operator", "delete", "rename", "list", "copy"))):
            case "value":
                node[key] = deepcopy(draw(values))
            case "text":
                node[key] = draw(texts)
            case "operator":
                node[key] = deepcopy(draw(operators))
            case "delete":
                del node[key]
            case "rename" if isinstance(node, dict):
                node[draw(keys)] = node.pop(key)
            case "list":
                node[key] = [deepcopy(node[key]) for _ in range(draw(st.integers(0, 3)))]
            case _ if isinstance(node, dict):
                node[draw(keys)] = deepcopy(node[key])
            case _:
                node.append(deepcopy(node[key]))
    return found


resources = st.builds(sample, types, st.integers(0, 2**16), st.sampled_from((0.05, 0.2)))


@st.composite
def dumped(draw: st.DrawFn, what: st.SearchStrategy[Any]) -> bytes:
    """JSON, with characters escaped or raw (surrogates too), and now and then spoilt as bytes."""
    text = json.dumps(draw(what), ensure_ascii=draw(st.booleans()))
    text = re.sub(r'"(?:\\ue000|\ue000)([^"\\\ue000]*)(?:\\ue000|\ue000)"', r"\1", text)
    body = text.encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 14)):
        case 0:
            return body[: draw(st.integers(0, len(body)))]
        case 1:
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(max_size=4)) + body[at:]
        case 2:
            return draw(
                st.sampled_from((b"\xef\xbb\xbf" + body, body + body, body.decode("utf-8", "replace").encode("utf-16")))
            )
        case 3:
            return body.replace(b'"', draw(st.sampled_from((b"'", b'\\"', b'""'))), 1)
    return body


segments = st.sampled_from(
    (
        "Patient",
        "Observation",
        "patient",
        "Patients",
        "1",
        "x" * 65,
        "x" * 9_000,
        "..",
        "..%2f..%2fetc",
        "%00",
        "%ff",
        "%c0%ae%c0%ae",
        "%ed%a0%80",
        "%",
        "%zz",
        "a%20b",
        "_history",
        "_search",
        "metadata",
        "$everything",
        "$nothing",
        "$",
        "*",
        "_history/1",
        "_history/0",
        "_history/-1",
        "_history/99999999999999999999",
        "_history/%D9%A3",
        "_history/%C2%B2",
        ";a=b",
        "a;b",
        "",
        "{id}",
        "[id]",
        '"',
        "|",
        "\\",
    )
) | texts.map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""))

RESULT = [
    "_count",
    "_sort",
    "_include",
    "_revinclude",
    "_elements",
    "_summary",
    "_total",
    "_contained",
    "_containedType",
    "_cursor",
    "_format",
    "_pretty",
    "_type",
    "_since",
    "_at",
    "_has:Observation:patient:code",
    "_filter",
    "_text",
    "_content",
    "_query",
    "_list",
    "_has",
    "_score",
    "_maxresults",
    "_explain",
    "_source",
    "_security",
    "_profile",
    "_lastUpdated",
    "_id",
    "_tag",
    "x",
]
MODIFIERS = (
    "",
    "",
    "",
    ":missing",
    ":exact",
    ":contains",
    ":text",
    ":not",
    ":in",
    ":not-in",
    ":above",
    ":below",
    ":identifier",
    ":of-type",
    ":Patient",
    ":Nothing",
    ":iterate",
    ":",
    "::",
    ".name",
    ":Patient.name",
)
PREFIXES = ("", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx")
search_values = texts | st.sampled_from(
    (
        "a,b",
        ",",
        "a\\,b",
        "\\",
        "\\x",
        "|",
        "||",
        "a|b|c|d",
        "http://loinc.org|8867-4",
        "8867-4$5",
        "$",
        "a$b$c",
        "5.4|http://unitsofmeasure.org|mg",
        "5.4||mg",
        "1e400",
        "1e-400",
        "1e999999999",
        "-1e6145",
        "0.0000000000000000000000000000000000000000000001",
        "1" * 40,
        "inf",
        "nan",
        "2024",
        "2024-05",
        "2024-05-01T10:00",
        "2024-05-01T10:00:00.123456789Z",
        "0000",
        "0001",
        "9999",
        "9999-12-31",
        "9999-12-31T23:59:59.9999-14:00",
        "0001-01-01T00:00:00+14:00",
        "2024-05-01T10:00:00+99:99",
        "true",
        "Patient/1,Patient/2",
        "Observation:subject",
        "Observation:subject:Patient",
        "Observation:*",
        "*",
        "*:*",
        "Patient:nothing",
        ":::",
        "-birthdate,name",
        "--name",
        "-",
        "name,name",
        "999999999",
        "9999999999999999999999",
        "-1",
        "0",
        "1.5",
        "count",
        "data",
        "text",
        "none",
        "id,name.given",
        "Patient.name",
        "a..b",
        "json",
        "ttl",
        "AAAA.BBBB",
        "eyJhIjoxfQ",
        ",".join(f"v{n}" for n in range(2_000)),
    )
)


@st.composite
def query(draw: st.DrawFn, type_: str) -> bytes:
    """Real and unreal parameters with modifiers, prefixes and values; escaped, half escaped, or not at all."""
    pairs = []
    known = sorted(REGISTRY[type_]) if type_ in REGISTRY else ["_id"]
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(known) | st.sampled_from(RESULT) | texts)
        name += draw(st.sampled_from(MODIFIERS))
        value = draw(st.sampled_from(PREFIXES)) + draw(search_values)
        pairs.append(f"{escaped(name)}={escaped(value)}")
    joined = draw(st.sampled_from(("&", "&", "&", "&&", ";", "&=&"))).join(pairs).encode()
    match draw(st.integers(0, 12)):
        case 0:
            at = draw(st.integers(0, len(joined)))
            return (
                joined[:at]
                + draw(st.sampled_from((b"%", b"%f", b"%ff", b"%00", b"%ed%a0%80", b"+", b"?")))
                + joined[at:]
            )
        case 1:
            return joined.replace(b"%", b"%25")
        case 2:
            return draw(st.sampled_from((b"&" * 3_000, b"a=b&" * 3_000, b"=" * 500, b"name=a&" * 300)))
    return joined


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe=":|,$*!~'()")
