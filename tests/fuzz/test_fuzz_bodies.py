"""Bodies: any JSON, any bytes, resources with something wrong, XML with everything that XML has."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from garbage import accepts, dumped, mutated, resources, texts, types, values
from hypothesis import strategies as st
from samples import TYPES, sample
from wire import JSON, XML

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.json import decode
from fhirserver.fhir.xml import to_xml

prefers = st.sampled_from(
    ((b"Prefer", b"return=representation"), (b"Prefer", b"return=OperationOutcome"), (b"X-A", b"b"))
)


def test_any_json_is_a_refusal_or_a_resource(fuzz, world):
    def law(drawn: tuple[str, bytes, Any]) -> None:
        type_, body, accept = drawn
        world.refuses_whole("POST", f"/{type_}", body, (b"Content-Type", JSON), accept)

    fuzz(st.tuples(types, dumped(values), accepts), law)


spoilt = types.flatmap(
    lambda type_: st.tuples(
        st.just(type_),
        dumped(mutated(st.integers(0, 2**16).map(lambda seed: {"id": "a-1"} | sample(type_, seed)))),
        accepts,
        prefers,
    )
)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_spoilt_resource_is_refused_or_stored_whole(fuzz, world, method):
    def law(drawn: tuple[Any, bytes, Any, Any]) -> None:
        type_, body, accept, prefer = drawn
        target = f"/{type_}" if method == "POST" else f"/{type_}/a-1"
        reply = world.refuses_whole(method, target, body, (b"Content-Type", JSON), accept, prefer)
        if reply.status == 201:
            place = reply.headers[b"location"].partition(b"/fhir")[2]
            assert world.wire.checked("GET", place, b"", accept).status == 200

    fuzz(spoilt, law, short=80)


def test_a_sample_of_every_type_is_stored(world):
    for seed, type_ in enumerate(TYPES):
        kind, body = JSON, json.dumps(sample(type_, seed)).encode()
        if seed % 2:
            kind, body = XML, to_xml(decode(body), r4())
        assert world.wire.checked("POST", f"/{type_}", body, (b"Content-Type", kind)).status == 201


DOCUMENT = '<Patient xmlns="http://hl7.org/fhir">{}<active value="true"/><name><family value="{}"/></name></Patient>'
PROLOGUES = (
    "",
    "\ufeff",
    '<?xml version="1.0"?>',
    '<?xml version="1.1"?>',
    '<?xml version="1.0" encoding="utf-16"?>',
    '<?xml version="1.0" encoding="latin-1"?>',
    '<?xml version="1.0" encoding="nonsense"?>',
    '<?xml-stylesheet href="x"?>',
    "<!-- a -->",
    "<!DOCTYPE a>",
    '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a [<!ENTITY e "x"><!ENTITY f "' + "&e;" * 10 + '">]>',
    '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>',
)
PARTS = (
    "",
    "<?pi x?>",
    "<![CDATA[x]]>",
    "text",
    "<a/>",
    '<a xmlns=""/>',
    '<id value="a"/><id value="b"/>',
    '<x:id xmlns:x="http://hl7.org/fhir" value="a"/>',
    '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div></text>',
    '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">&nbsp;&e;</div></text>',
    '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><a href="javascript:"/></div></text>',
    "<contained/>",
    "<contained><Nothing/></contained>",
    "<contained><Patient/><Patient/></contained>",
    '<extension url="a"><extension/></extension>',
    "<name>" * 30,
    '<birthDate value="\x00"/>',
    '<birthDate value="&#0;"/>',
    '<birthDate value="&#xD800;"/>',
    '<multipleBirthInteger value="' + "9" * 400 + '"/>',
    '<photo><size value="1e999999"/></photo>',
)


def test_any_xml_is_a_refusal_or_a_resource(fuzz, world):
    def law(drawn: tuple[str, str, str, str, int, Any]) -> None:
        prologue, part, text, encoding, cut, accept = drawn
        whole = (prologue + DOCUMENT.format(part, text)).encode(encoding, "surrogatepass")
        world.refuses_whole("POST", "/Patient", whole[: len(whole) - cut], (b"Content-Type", XML), accept)

    escaped = texts | texts.map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;"))
    encodings = st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32-le"))
    cuts = st.sampled_from((0, 0, 0, 0, 1, 10, 50))
    drawn = st.tuples(st.sampled_from(PROLOGUES), st.sampled_from(PARTS), escaped, encodings, cuts, accepts)
    fuzz(drawn, law)


def test_spoilt_resources_as_xml(fuzz, world):
    def law(drawn: tuple[dict[str, Any], bytes, int, bytes, Any]) -> None:
        resource, _, at, piece, accept = drawn
        body = to_xml(decode(json.dumps(resource).encode()), r4())
        at %= len(body)
        spoilt = body[:at] + piece + body[at + len(piece) // 2 :]
        world.refuses_whole("POST", f"/{resource['resourceType']}", spoilt, (b"Content-Type", XML), accept)

    pieces = st.binary(max_size=3) | st.sampled_from(
        (b"<a>", b"</a>", b"&", b"<", b'"', b"<!--", b"value=", b"/>", b"<?", b"xmlns=", b"id='x' ")
    )
    fuzz(st.tuples(resources, st.just(b""), st.integers(0, 2**16), pieces, accepts), law)


def nested(opening: str, inner: str, closing: str, depth: int) -> bytes:
    return (opening * depth + inner + closing * depth).encode()


TAKEN = ("long string", "many names", "shallow extensions", "BOM")  # large, or odd, and whole
BOMB = gzip.compress(b" " * 50_000_000, 9, mtime=0)
PATIENT = b'{"resourceType":"Patient"}'
HUGE = {
    "long string": b'{"resourceType":"Patient","name":[{"family":"' + b"x" * 9_900_000 + b'"}]}',
    "too long": b'{"resourceType":"Patient","name":[{"family":"' + b"x" * 11_000_000 + b'"}]}',
    "many values": b'{"resourceType":"Patient","name":[' + b'{"family":"x"},' * 600_000 + b"{}]}",
    "many nulls": b'{"resourceType":"Patient","name":[' + b"null," * 1_000_000 + b"null]}",
    "many names": b'{"resourceType":"Patient","name":[{"given":[' + b'"x",' * 400_000 + b'"x"]}]}',
    "arrays": nested("[", "", "]", 100_000),
    "objects": nested('{"a":', "1", "}", 100_000),
    "extensions": b'{"resourceType":"Patient",' + nested('"extension":[{"url":"a",', '"id":"x"', "}]", 500) + b"}",
    "shallow extensions": b'{"resourceType":"Patient",'
    + nested('"extension":[{"url":"a",', '"id":"x"', "}]", 30)
    + b"}",
    "contained": b'{"resourceType":"Patient",'
    + nested('"contained":[{"resourceType":"Patient",', '"id":"x"', "}]", 29)
    + b"}",
    "bundles": nested(
        '{"resourceType":"Bundle","type":"collection","entry":[{"resource":', PATIENT.decode(), "}]}", 20
    ),
    "long number": b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 1_000_000 + b"}",
    "long exponent": b'{"resourceType":"Patient","multipleBirthInteger":1e' + b"9" * 1_000 + b"}",
    "many keys": json.dumps({"resourceType": "Patient"} | {f"k{n}": n for n in range(100_000)}).encode(),
    "long key": b'{"resourceType":"Patient","' + b"k" * 1_000_000 + b'":1}',
    "twice": b'{"resourceType":"Patient","id":"a","id":"b"}',
    "twice, escaped": b'{"resourceType":"Patient","id":"a","\\u0069d":"b"}',
    "BOM": b"\xef\xbb\xbf" + PATIENT,
    "UTF-16": PATIENT.decode().encode("utf-16"),
    "surrogate": b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
    "raw surrogate": b'{"resourceType":"Patient","name":[{"family":"\xed\xa0\x80"}]}',
    "overlong": b'{"resourceType":"Patient","name":[{"family":"\xc0\x80"}]}',
    "NUL": b'{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}',
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_too_much_is_refused(world, name):
    reply = world.refuses_whole("POST", "/Patient", HUGE[name], (b"Content-Type", JSON), (b"Accept", XML))
    assert reply.status in (400, 413) or name in TAKEN, reply.status
    world.lives()


@pytest.mark.parametrize(
    "body",
    [
        nested("<name>", "", "</name>", 100_000),
        b'<Patient xmlns="http://hl7.org/fhir">'
        + nested('<extension url="a">', "", "</extension>", 300)
        + b"</Patient>",
        b'<Patient xmlns="http://hl7.org/fhir">'
        + nested("<contained><Patient>", "", "</Patient></contained>", 100)
        + b"</Patient>",
        b'<Patient xmlns="http://hl7.org/fhir">' + b'<language value="a"/>' * 200_000 + b"</Patient>",
        b'<Patient xmlns="http://hl7.org/fhir" ' + b" ".join(b'a%d="b"' % n for n in range(50_000)) + b"/>",
        b"<!DOCTYPE l ["
        + b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10 if n else b"lol") for n in range(12))
        + b']><Patient xmlns="http://hl7.org/fhir"><id value="&l11;"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">'
        + nested("<b>", "", "</b>", 5_000)
        + b"</div></text></Patient>",
    ],
    ids=["elements", "extensions", "contained", "repeated", "attributes", "laughs", "narrative"],
)
def test_xml_that_is_too_much_is_refused(world, body):
    assert world.refuses_whole("POST", "/Patient", body, (b"Content-Type", XML)).status in (400, 413)
    world.lives()


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        (b"gzip", BOMB, 413),
        (b"gzip", gzip.compress(BOMB, mtime=0), 400),
        (b"gzip", gzip.compress(PATIENT, mtime=0), 201),
        (b"gzip", gzip.compress(PATIENT, mtime=0)[:-4], 400),
        (b"gzip", gzip.compress(PATIENT, mtime=0)[:10], 400),
        (b"gzip", gzip.compress(PATIENT, mtime=0) + b"x", 400),
        (b"gzip", gzip.compress(PATIENT, mtime=0) * 2, 400),
        (b"gzip", PATIENT, 400),
        (b"gzip", b"", 400),
        (b"gzip", zlib.compress(PATIENT), 400),
        (b"gzip, gzip", gzip.compress(gzip.compress(PATIENT, mtime=0), mtime=0), 415),
        (b"br", PATIENT, 415),
        (b"\xff\xfe", PATIENT, 415),
        (b"", PATIENT, 201),
    ],
)
def test_encodings(world, encoding, body, status):
    headers = ((b"Content-Type", JSON), (b"Content-Encoding", encoding))
    assert world.refuses_whole("POST", "/Patient", body, *headers).status == status
    world.lives()
