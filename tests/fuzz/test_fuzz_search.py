"""The languages of search on data that they find: queries, _filter, words, chains, value sets, operations, cursors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from garbage import (
    MODIFIERS,
    PREFIXES,
    REGISTRY,
    accepts,
    escaped,
    operators,
    query,
    search_values,
    texts,
    values,
)
from hypothesis import strategies as st
from wire import JSON

KIND = (b"Content-Type", JSON)
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
TREE = "http://example.org/cs/tree"
SEARCHED = ("Patient", "Observation", "Location", "List", "ValueSet", "MedicationRequest", "SearchParameter")
prefers = st.sampled_from(((b"Prefer", b"handling=strict"), (b"Prefer", b"handling=lenient")))
TEMPERATURE = {"system": LOINC, "code": "8310-5"}


def observation(number: int) -> dict[str, Any]:
    codes = [{"system": LOINC, "code": ("8867-4", "8480-6", "718-7")[number % 3], "display": "Heart rate"}]
    quantity = {"value": 50 + number, "unit": "mg", "system": UCUM, "code": ("mg", "g", "/min")[number % 3]}
    return {
        "resourceType": "Observation",
        "id": f"o-{number}",
        "status": "final",
        "code": {"coding": codes, "text": "Heart rate at rest"},
        "subject": {"reference": f"Patient/p-{number % 3}"},
        "effectiveDateTime": f"2024-0{1 + number % 9}-11T10:00:00Z",
        "valueQuantity": quantity,
        "component": [{"code": {"coding": [TEMPERATURE]}, "valueQuantity": quantity}],
        "note": [{"text": "the heart (left) failed, or did not"}],
    }


CONTAINED = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"system": TREE, "code": "leaf"}]}}
CONCEPTS = [{"code": "root", "concept": [{"code": "branch", "concept": [{"code": "leaf"}]}]}]
RESOURCES: list[dict[str, Any]] = [
    *(
        {"resourceType": "Patient", "id": f"p-{n}", "name": [{"family": "Muster"}], "birthDate": "1980"}
        for n in range(3)
    ),
    *(observation(number) for number in range(12)),
    *(
        {
            "resourceType": "Location",
            "id": f"l-{n}",
            "name": "x",
            "position": {"latitude": 89.9 * n, "longitude": 180 * n},
        }
        for n in (-1, 0, 1)
    ),
    {
        "resourceType": "List",
        "id": "li",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/p-1"}}, {"item": {"reference": "Observation/o-2"}}],
    },
    {
        "resourceType": "CodeSystem",
        "id": "tree",
        "url": TREE,
        "status": "active",
        "content": "complete",
        "hierarchyMeaning": "is-a",
        "concept": CONCEPTS,
    },
    {
        "resourceType": "ValueSet",
        "id": "vs",
        "url": "http://example.org/vs",
        "status": "active",
        "compose": {"include": [{"system": LOINC, "concept": [{"code": "8867-4"}]}]},
    },
    {
        "resourceType": "MedicationRequest",
        "id": "mr",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p-0"},
        "medicationReference": {"reference": "#m"},
        "contained": [CONTAINED],
    },
]


@pytest.fixture(scope="module")
def full(world: Any) -> Any:
    for resource in RESOURCES:
        target = f"/{resource['resourceType']}/{resource['id']}"
        reply = world.wire.checked("PUT", target, json.dumps(resource).encode(), KIND)
        assert reply.status in (200, 201), reply
    return world


def searches(fuzz: Any, world: Any, targets: st.SearchStrategy[bytes]) -> None:
    def law(drawn: tuple[bytes, Any, Any]) -> None:
        target, accept, prefer = drawn
        world.wire.checked("GET", target, b"", accept, prefer)

    fuzz(st.tuples(targets, accepts, prefers), law)


def joined(*pairs: tuple[str, str]) -> bytes:
    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in pairs).encode()


# what is nearly right: words of the real world, joined by what the language knows and by what it does not

REAL = {
    "_id": "p-1 o-2 nobody",
    "_lastUpdated": "2024 gt2020-01 le2999-12-31T23:59:59Z ap2026",
    "_tag": "a|b vip",
    "_list": "li nobody $current-allergies li,li",
    "_text": "heart",
    "_content": "heart rate",
    "name": "muster must",
    "birthdate": "1980 ge1970 ap1981-02",
    "code": f"8867-4 {LOINC}|8480-6 {LOINC}| |718-7",
    "code:in": "http://example.org/vs ValueSet/vs vs http://nowhere http://hl7.org/fhir/ValueSet/observation-codes",
    "code:not-in": "http://example.org/vs ValueSet/vs",
    "code:below": f"{TREE}|branch {TREE}|nothing {LOINC}|8867-4 branch",
    "code:above": f"{TREE}|leaf {TREE}|",
    "code:text": "heart rest",
    "code:not": "8867-4",
    "subject": "p-1 Patient/p-2 http://localhost/fhir/Patient/p-1 Group/1",
    "subject:identifier": "a|b",
    "patient.name": "muster",
    "subject:Patient.birthdate": "gt1970",
    "_has:Observation:patient:code": "8867-4",
    "_has:Observation:subject:value-quantity": f"gt50|{UCUM}|mg",
    "date": "2024-03 ge2024-02 lt2024-05-11T10:00Z ap2024",
    "value-quantity": f"55 gt50 51|{UCUM}|mg le0.06|{UCUM}|g ap60||mg",
    "code-value-quantity": f"8867-4$gt50 {LOINC}|8867-4$lt60|{UCUM}|mg",
    "combo-code-value-quantity": "8867-4$50",
    "near": "0|0 0|0|100|km 89.9|180|20000|km -89|-180|1|[mi_i] 42.25|-83.69",
    "url": "http://example.org/vs http://example.org/vs|1 http://example.org/vs|",
    "url:below": "http://example.org http://example.org/vs|1",
    "url:above": "http://example.org/vs/1/2",
    "location:below": "Location/l-1 l-1 http://elsewhere/Location/1 Patient/p-1",
    "organization:above": "Organization/o-1 o-1",
    "subject:below": "Group/1 Location/1 p-1",
    "contenttype:below": "image image/* text/xml a/b/c */*",
    "_profile:below": "http://example.org/p|1 http://example.org/p urn:x|1",
    "questionnaire:above": "http://example.org/q|1.2.3",
    "medication.code": "leaf",
    "_contained": "true both false",
    "_containedType": "container contained",
    "_sort": "date -date code,-value-quantity _id -_lastUpdated _score -_score near family,birthdate,gender,given",
    "_count": "0 1 2 1000",
    "_total": "none estimate accurate",
    "_maxresults": "0 1 5",
    "_summary": "true text data count false",
    "_elements": "id,name code",
    "_include": "Observation:subject * Observation:* MedicationRequest:medication",
    "_include:iterate": "Observation:subject Patient:organization",
    "_revinclude": "Observation:patient *:*",
    "_explain": "true",
    "_type": "Patient,Observation List Nothing",
    "_filter": 'name eq "muster" code eq 8867-4',
}
real_names = st.sampled_from(sorted(REAL))
real_pairs = real_names.flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(REAL[name].split(" "))))
spoilt_pairs = st.tuples(
    st.builds(lambda name, modifier: name.partition(":")[0] + modifier, real_names, st.sampled_from(MODIFIERS)) | texts,
    st.builds(lambda prefix, value: prefix + value, st.sampled_from(PREFIXES), search_values) | texts,
)
pairs = st.lists(real_pairs | real_pairs | spoilt_pairs, min_size=1, max_size=5)
places = st.sampled_from((*SEARCHED, *SEARCHED, "", "Patient/p-1/Observation", "Patient/p-1/*", "Patient/$explain"))


def test_queries_that_find_something(fuzz: Any, full: Any) -> None:
    searches(fuzz, full, st.builds(lambda place, found: f"/{place}?".encode() + joined(*found), places, pairs))


def test_any_query_of_several_types(fuzz: Any, full: Any) -> None:
    types = st.lists(st.sampled_from((*sorted(REGISTRY.definitions.resource_types), "Nothing", "")), max_size=4)
    queries = st.builds(
        lambda named, more: b"/?" + joined(("_type", ",".join(named))) + b"&" + more,
        types,
        query("Patient") | query("Observation") | pairs.map(lambda found: joined(*found)),
    )
    searches(fuzz, full, queries)


def test_any_explanation(fuzz: Any, full: Any) -> None:
    targets = st.builds(
        lambda type_, found: f"/{type_}/$explain?".encode() + found,
        st.sampled_from(SEARCHED),
        query("Observation") | pairs.map(lambda found: joined(*found)),
    )
    searches(fuzz, full, targets)


# _filter, by its grammar and beside it

filter_paths = st.sampled_from(
    [
        "code",
        "subject",
        "subject.name",
        "subject:Patient.name",
        "patient.birthdate",
        "value-quantity",
        "date",
        "status",
        "_id",
        "_tag",
        "name",
        "given",
        "_has:Observation:patient:code",
        "subject[name",
        "eq",
        "x].birthdate",
        "component-code-value-quantity",
        "near",
        "_list",
        "_content",
        "url",
        "_lastUpdated",
        "value-string",
        "combo-code-value-quantity[code",
        "eq",
        "8867-4",
        "and",
        "value-quantity",
        "gt",
        "5]",
        "nothing",
    ]
)
filter_operators = st.sampled_from(
    [
        "eq",
        "ne",
        "co",
        "sw",
        "ew",
        "gt",
        "lt",
        "ge",
        "le",
        "ap",
        "sa",
        "eb",
        "pr",
        "po",
        "ss",
        "sb",
        "in",
        "ni",
        "re",
        "EQ",
        "xx",
    ]
)
filter_values = st.sampled_from(
    [
        "true",
        "false",
        "2024",
        '"a',
        'b"',
        '"a\\"b"',
        "8867-4",
        "http://loinc.org|8867-4",
        "5.4",
        "5.4|http://unitsofmeasure.org|mg",
        "Patient/p-1",
        "1e9",
        "ValueSet/vs",
        "-1",
        "muster",
        "2024-05-01T10:00:00Z",
    ]
) | texts.map(json.dumps)
filter_tests = st.builds(" ".join, st.tuples(filter_paths, filter_operators, filter_values))
filters = st.recursive(
    filter_tests,
    lambda inner: (
        st.builds(lambda a, word, b: f"{a} {word} {b}", inner, st.sampled_from(("and", "or", "AND", "xor", "")), inner)
        | inner.map(lambda text: f"({text})")
        | inner.map(lambda text: f"not ({text})")
        | st.builds(lambda path, text: f"{path}[{text}] pr true", filter_paths, inner)
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[str]) -> str:
    """The text with a piece cut out, put in, or repeated."""
    text = draw(whole)
    at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    match draw(st.integers(0, 5)):
        case 0:
            return text[:at] + text[to:]
        case 1:
            return (
                text[:at]
                + draw(st.sampled_from(("(", ")", "[", "]", '"', "\\", ",", " ", ".", "-", "*", "$")))
                + text[at:]
            )
        case 2:
            return text[:to] + text[at:]
        case 3:
            return text[:at] + draw(texts) + text[to:]
    return text


def test_any_filter(fuzz: Any, full: Any) -> None:
    types = st.sampled_from(SEARCHED)
    targets = st.builds(lambda type_, text: f"/{type_}?".encode() + joined(("_filter", text)), types, spoilt(filters))
    searches(fuzz, full, targets)


# _text and _content

phrases = (
    st.sampled_from(
        (
            "heart",
            "rate",
            "fail*",
            '"heart rate"',
            "-left",
            "not left",
            "beta-blocker",
            "糖尿病",
            "ß",
            "*",
            '""',
            "\\(",
            "a" * 300,
        )
    )
    | texts
)
sentences = st.recursive(
    phrases,
    lambda inner: (
        st.builds(lambda a, word, b: a + word + b, inner, st.sampled_from((" ", " or ", " AND ", ",", " not ")), inner)
        | inner.map(lambda text: f"({text})")
        | inner.map(lambda text: f'"{text}"')
    ),
    max_leaves=8,
)


def test_any_words(fuzz: Any, full: Any) -> None:
    def target(type_: str, name: str, text: str, sort: str) -> bytes:
        return f"/{type_}?".encode() + joined((name, text), ("_sort", sort))

    names = st.sampled_from(("_content", "_text", "_content:missing", "_content:exact"))
    sorts = st.sampled_from(("-_score", "_score", "_score,date", "_id", "-date"))
    searches(
        fuzz, full, st.builds(target, st.sampled_from(("Observation", "", "Patient")), names, spoilt(sentences), sorts)
    )


# chains

hops = st.sampled_from(
    [
        "subject",
        "subject:Patient",
        "patient",
        "organization",
        "general-practitioner",
        "has-member",
        "encounter",
        "performer",
        "part-of",
        "medication",
        "_has:Observation:patient",
        "_has:Provenance:target",
        "_has:Group:member",
        "_has:Nothing:x",
        "focus",
        "instantiates-canonical",
        "x",
    ]
)


def test_any_chain(fuzz: Any, full: Any) -> None:
    ends = real_names | texts
    names = st.builds(
        lambda steps, end, joiner: joiner.join([*steps, end]),
        st.lists(hops, min_size=1, max_size=6),
        ends,
        st.sampled_from((".", ".", ":", "..")),
    )
    targets = st.builds(
        lambda type_, name, value: f"/{type_}?".encode() + joined((name, value)),
        st.sampled_from(SEARCHED),
        names,
        search_values | st.sampled_from(("muster", "8867-4", "gt50", "true")),
    )
    searches(fuzz, full, targets)


# places

degrees = (
    st.sampled_from(("0", "90", "-90", "90.0000001", "180", "-180", "1e1", "1e400", "NaN", "", "42.25", "-83.69"))
    | texts
)
distances = st.sampled_from(("0", "1", "20037.5", "99999999", "1e9", "-1", "", "0.0000001", "9" * 40))
units = st.sampled_from(("km", "m", "[mi_i]", "kg", "", "km99", "um", "Mm", "1", "/m"))


def test_any_place(fuzz: Any, full: Any) -> None:
    places = st.tuples(degrees, degrees, distances, units).map("|".join) | st.lists(degrees, max_size=6).map("|".join)
    targets = st.lists(places, min_size=1, max_size=3).map(
        lambda found: b"/Location?" + joined(("near", ",".join(found)))
    )
    searches(fuzz, full, targets)


# operations, by URL and by Parameters

OPERATIONS = (
    "Observation/$stats",
    "Observation/$lastn",
    "Observation/$series",
    "Observation/$explain",
    "Patient/p-1/$everything",
    "Encounter/e-1/$everything",
    "Patient/$reindex",
    "Observation/o-1/$reindex",
    "$reindex",
)
ARGUMENTS = {
    "patient": "p-1 Patient/p-2 Patient/nobody",
    "subject": "Patient/p-1 p-2 Group/1",
    "code": f"8867-4 {LOINC}|8867-4,{LOINC}|8480-6 {LOINC}| |",
    "system": f"{LOINC} x",
    "statistic": "average maximum total-count regression 20-percent median kurtosis nothing max",
    "duration": "1 24 0 -1 1e9 999999999999",
    "period": "2024 2024/2025",
    "include": "true false x",
    "limit": "1 0 100000 -1",
    "unit": "mg g /min kg [in_i] x",
    "max": "1 2 0 99999 x",
    "date": "ge2024 lt2024-05 2024-03 x",
    "method": "lttb minmax mean x",
    "points": "1 3 500 0 100000 x",
    "start": "2024 2024-02-30 x",
    "end": "2025 0001",
    "_since": "2024 2999 x 2024-01-01T00:00:00Z",
    "_type": "Patient Patient,Observation Nothing",
    "_count": "1 2 0 x",
    "value-quantity": f"gt50|{UCUM}|mg",
    "_cursor": "AAAA x.y",
    "resourceType": "Patient",
    "type": "Patient",
}
arguments = st.sampled_from(sorted(ARGUMENTS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(ARGUMENTS[name].split(" ")) | search_values)
)
typed_values = st.one_of(
    st.fixed_dictionaries({"valueCoding": st.just({"system": LOINC, "code": "8867-4"}) | operators | values}),
    st.fixed_dictionaries({"valuePeriod": st.fixed_dictionaries({}, optional={"start": search_values, "end": texts})}),
    st.fixed_dictionaries({"valueDecimal": st.integers(-5, 10**12) | values}),
    st.fixed_dictionaries({"valueInteger": st.integers(-5, 10**6)}),
    st.fixed_dictionaries({"valueQuantity": values}),
)


@st.composite
def parameter(draw: st.DrawFn) -> dict[str, Any]:
    name, text = draw(arguments)
    return {"name": name} | draw(st.just({"valueString": text}) | st.just({"valueCode": text}) | typed_values)


def test_any_operation(fuzz: Any, full: Any) -> None:
    def law(drawn: tuple[str, list[tuple[str, str]], list[dict[str, Any]] | None, Any]) -> None:
        operation, found, body, accept = drawn
        target = f"/{operation}".encode() + (b"?" + joined(*found) if found else b"")
        if body is None:
            full.wire.checked("GET", target, b"", accept)
        else:
            parameters = {"resourceType": "Parameters"} | ({"parameter": body} if body else {})
            full.wire.checked("POST", target, json.dumps(parameters).encode(), KIND, accept)

    bodies = st.none() | st.lists(parameter(), max_size=5)
    fuzz(st.tuples(st.sampled_from(OPERATIONS), st.lists(arguments, max_size=4), bodies, accepts), law, times=3)


# value sets and search parameters that clients define

filters_of_codes = st.fixed_dictionaries(
    {
        "property": st.sampled_from(("concept", "parent", "code", "x")),
        "op": st.sampled_from(
            ("is-a", "descendent-of", "is-not-a", "regex", "in", "not-in", "generalizes", "exists", "=")
        ),
        "value": st.sampled_from(("branch", "root", "true", "(a+)+$", "[", "leaf,root")) | texts.filter(bool),
    }
)
includes = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from((LOINC, TREE, "http://nowhere", "http://hl7.org/fhir/observation-status")),
        "version": texts,
        "concept": st.lists(st.fixed_dictionaries({"code": st.sampled_from(("8867-4", "branch")) | texts}), max_size=3),
        "filter": st.lists(filters_of_codes, max_size=2),
        "valueSet": st.lists(
            st.sampled_from(("http://example.org/vs", "http://example.org/loop", "http://nowhere", "x|1", "urn:x")),
            max_size=2,
        ),
    },
)
composed = st.fixed_dictionaries(
    {"include": st.lists(includes, max_size=3)},
    optional={"exclude": st.lists(includes, max_size=2), "inactive": st.booleans()},
)


def test_any_value_set(fuzz: Any, full: Any) -> None:
    def law(drawn: tuple[dict[str, Any], str]) -> None:
        compose, modifier = drawn
        loop = {"resourceType": "ValueSet", "id": "loop", "url": "http://example.org/loop", "status": "active"}
        full.refuses_whole("PUT", "/ValueSet/loop", json.dumps(loop | {"compose": compose}).encode(), KIND)
        full.wire.checked("GET", f"/Observation?code:{modifier}=http://example.org/loop")

    fuzz(st.tuples(composed, st.sampled_from(("in", "not-in", "above", "below"))), law)


EXPRESSIONS = (
    "Patient.name.family",
    "Patient.extension('urn:x').value",
    "Patient.extension.where(url='urn:x').value.as(Quantity)",
    "Observation.value as Quantity",
    "(Observation.value as CodeableConcept).text | Observation.component.code",
    "Patient.name.where(use='official').given.first()",
    "Patient.birthDate.exists() and Patient.active",
    "Observation.subject.where(resolve() is Patient)",
    "iif(true, Patient.id, {})",
    "%resource.id",
    "Patient.name.repeat(given)",
    "Patient.",
    "(" * 200,
    "Patient" + ".name" * 500,
    "1 + 1",
    "'" * 3,
    "",
)


def test_any_search_parameter(fuzz: Any, full: Any) -> None:
    def law(drawn: tuple[str, str, list[str], str, str, Any]) -> None:
        expression, code, base, type_, status, accept = drawn
        own = {"resourceType": "SearchParameter", "id": "own", "url": "http://example.org/own", "name": "Own"}
        own |= {
            "status": status,
            "description": "x",
            "code": code,
            "base": base,
            "type": type_,
            "expression": expression,
        }
        body = json.dumps(own).encode()
        full.refuses_whole("PUT", "/SearchParameter/own", body, KIND, accept)
        full.wire.checked("GET", b"/Patient?" + joined((code, "x"), ("_sort", code)), b"", accept)

    codes = st.sampled_from(("own", "name", "_id", "a.b", "x:y", "_filter", "$", "x" * 70)) | texts
    bases = st.lists(st.sampled_from(("Patient", "Observation", "Resource", "DomainResource", "Nothing")), max_size=3)
    kinds = st.sampled_from(
        ("string", "token", "reference", "date", "number", "quantity", "uri", "composite", "special", "x")
    )
    states = st.sampled_from(("active", "draft", "retired", "unknown"))
    expressions = spoilt(st.sampled_from(EXPRESSIONS))
    fuzz(st.tuples(expressions, codes, bases, kinds, states, accepts), law)


# cursors

PAGED = (
    "/Observation?_count=1",
    "/Observation?_sort=-date,code&_count=2",
    "/Observation?_content=heart&_count=1",
    "/?_type=Patient,Observation&_count=1",
    "/?_content=heart&_count=1",
    "/Patient/p-1/*?_count=1",
    "/_history?_count=1",
    "/Patient/p-0/$everything?_count=1",
)


def cursor_of(world: Any, target: str) -> str:
    links = world.wire.checked("GET", target).resource["link"]
    return next(link["url"] for link in links if link["relation"] == "next").partition("_cursor=")[2]


def test_cursors_of_others_and_spoilt_ones(fuzz: Any, full: Any) -> None:
    cursors = {target: cursor_of(full, target) for target in PAGED}

    def law(drawn: tuple[str, str, str]) -> None:
        target, source, spoil = drawn
        given = cursors[source]
        at = len(spoil) * 7 % len(given)
        full.wire.checked("GET", f"{target}&_cursor={given[:at]}{escaped(spoil)}{given[at + len(spoil) :]}")
        reply = full.wire.checked("GET", f"{target}&_cursor={given}")
        assert reply.status == (200 if target == source else 400), (target, source)

    fuzz(st.tuples(st.sampled_from(PAGED), st.sampled_from(PAGED), texts), law)
