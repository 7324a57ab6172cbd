"""$lastn, $stats and $series over HTTP, and their laws against plain Python."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.operations.downsampling import Point, lttb
from fhirserver.operations.lastn import Seen, groups, newest
from fhirserver.operations.statistics import STATISTICS, Precision, Sample, daily, regression, squared

if TYPE_CHECKING:
    from conftest import Fhir, Serve

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
START = datetime(2024, 1, 1, tzinfo=UTC)


def coded(*codes: str, text: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"coding": [{"system": LOINC, "code": code} for code in codes]} if codes else {}
    return found | ({"text": text} if text else {})


def observation(
    id_: str, code: dict[str, Any], day: int | None, value: float | None = None, **more: Any
) -> dict[str, Any]:
    resource = {"resourceType": "Observation", "id": id_, "status": "final", "code": code, **more}
    resource.setdefault("subject", {"reference": "Patient/ada"})
    if day is not None:
        resource["effectiveDateTime"] = (START + timedelta(days=day)).isoformat()
    if value is not None:
        resource["valueQuantity"] = {"value": value, "unit": "/min", "system": UCUM, "code": "/min"}
    return resource


def component(code: str, value: float) -> dict[str, Any]:
    return {"code": coded(code), "valueQuantity": {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}}


VITAL = [{"coding": [{"code": "vital-signs"}]}]
RESOURCES = [
    {"resourceType": "Patient", "id": "ada"},
    {"resourceType": "Patient", "id": "bob"},
    observation("p1", coded("pulse"), 1, 61, category=VITAL),
    observation("p2", coded("pulse", "puls"), 2, 64, category=VITAL),
    observation("p3", coded("puls"), 3, 67, category=VITAL),
    observation("p3b", coded("puls"), 3, 68, category=VITAL),
    observation("wrong", coded("pulse"), 9, 999, status="entered-in-error"),
    observation("t1", coded(text="How do you feel"), 1, category=VITAL),
    observation("t2", coded(text="Mood"), None, category=VITAL),
    observation("b1", coded("bp"), 4, component=[component("sys", 120), component("dia", 80)]),
    observation("b2", coded("bp"), 5, component=[component("sys", 130), component("dia", 85)]),
    observation("m1", coded("mix"), 1, 5),
    observation("m2", coded("mix"), 2, valueQuantity={"value": 5, "unit": "mg", "system": UCUM, "code": "mg"}),
    observation("less", coded("mix"), 3, valueQuantity={"value": 1, "comparator": "<", "system": UCUM, "code": "mg"}),
    observation("x1", coded(text="textM"), 1, category=[{"text": "x", "coding": [{"code": "survey"}]}]),
    observation("x1b", coded(text="textM"), 1, category=[{"coding": [{"code": "survey"}]}], status="entered-in-error"),
    observation("x2", coded(text="Text"), 2, category=[{"coding": [{"code": "survey"}]}]),
    observation("x3", coded(text="t e x t"), 3, category=[{"coding": [{"code": "survey"}]}]),
    observation("v1", coded("x|y"), 1, category=[{"coding": [{"code": "bars"}]}]),
    observation("v2", {"coding": [{"system": "urn:o", "code": "x|y"}]}, 2, category=[{"coding": [{"code": "bars"}]}]),
    observation("a", coded("aa"), 1, category=[{"coding": [{"code": "a-b-ab"}]}]),
    observation("b", coded("bb"), 2, category=[{"coding": [{"code": "a-b-ab"}]}]),
    observation("ab", coded("aa", "bb"), 3, category=[{"coding": [{"code": "a-b-ab"}]}]),
    observation("comma", coded("a,b"), 1, 7),
    observation("g1", coded("gluc"), 1, 5),
    observation("g2", coded("gluc"), 3, 9),
    observation("g3", coded("gluc"), None, 16),
    observation("na", coded("sodium"), 3, 140),
    observation("sick", coded("sodium"), 3, 999, status="entered-in-error"),
    observation("bobs", coded("gluc"), 3, 1000, subject={"reference": "Patient/bob"}),
    observation("part", coded("inner"), 3, hasMember=[{"reference": "Observation/na"}]),
    observation(
        "lab",
        coded("panel"),
        3,
        hasMember=[{"reference": f"Observation/{id_}"} for id_ in ("g2", "part", "sick", "bobs", "nowhere")],
        component=[component("lipid", 110)],
    ),
    observation("loop", coded("loop"), 3, hasMember=[{"reference": "Observation/loop"}]),
    observation("dans", coded("gluc"), 1, 5, subject={"identifier": {"system": "urn:s", "value": "dan"}}),
    observation("eves", coded("gluc"), 2, 5, subject={"identifier": {"system": "urn:s", "value": "eve"}}),
    observation("other", coded("pulse"), 9, 100, subject={"reference": "Patient/bob"}),
]


@pytest.fixture(scope="module")
def record(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in RESOURCES:
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    return fhir


LASTN = [
    ("patient=ada&category=vital-signs", ["p3", "p3b", "t1", "t2"]),
    ("patient=Patient/ada&category=vital-signs&max=2", ["p3", "p3b", "t1", "t2"]),
    ("patient=ada&category=vital-signs&max=3", ["p3", "p3b", "p2", "t1", "t2"]),
    ("subject=Patient/ada&code=bp", ["b2"]),
    ("subject=Patient/ada&code=bp,pulse&max=2&status:not=entered-in-error", ["b2", "b1", "p2", "p1"]),
    ("patient=ada&code=pulse", ["wrong"]),
    ("patient=ada&code=PULSE", ["wrong"]),
    ("patient=ada&code=pulse&date=lt2024-01-03", ["p1"]),
    ("subject:Patient._id=bob&code=pulse", ["other"]),
    ("patient=nobody&code=pulse", []),
    ("patient=ada&category=survey", ["x3", "x2", "x1", "x1b"]),
    ("patient=ada&category=survey&max=5&status=final", ["x3", "x2", "x1"]),
    ("patient=ada&category=bars", ["v2", "v1"]),
    ("patient=ada&category=a-b-ab", ["ab"]),
    ("patient=ada&category=a-b-ab&max=9", ["ab", "b", "a"]),
    ("patient=ada&category=a-b-ab&code=aa,bb&date=lt2024-01-04", ["b", "a"]),
    ("patient=ada,bob&code=gluc", ["bobs", "g2"]),
    ("subject:Patient._id=ada,bob&code=pulse,gluc&status=final", ["other", "bobs", "g2", "p2"]),
    ("subject:identifier=urn:s|eve,urn:s|dan&code=gluc", ["eves", "dans"]),
    ("patient=ada&code-value-quantity=pulse$gt60&status=final", ["p2"]),
]


@pytest.mark.parametrize(("query", "expected"), LASTN)
def test_the_newest_of_each_code(record: Fhir, query: str, expected: list[str]) -> None:
    answer = record.bundle(f"Observation/$lastn?{query}", headers={"Prefer": "handling=strict"})
    assert [entry["resource"]["id"] for entry in answer.get("entry", [])] == expected
    assert answer["total"] == len(expected)


def test_lastn_says_what_it_ignored_and_gives_parts(record: Fhir) -> None:
    answer = record.bundle("Observation/$lastn?patient=ada&code=bp&nonsense=1&_elements=status")
    match, outcome = answer["entry"]
    assert answer["total"] == 1
    assert set(match["resource"]) == {"resourceType", "id", "meta", "status", "code"}
    assert outcome["search"]["mode"] == "outcome"
    assert "nonsense" in outcome["resource"]["issue"][0]["diagnostics"]


@pytest.mark.parametrize("limit", ["CONSIDERED", "TEXTS", "ANSWERED"])
def test_lastn_is_bounded(record: Fhir, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(f"fhirserver.operations.lastn.{limit}", 2)
    answer = record.get("Observation/$lastn?patient=ada&category=survey")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "too-costly")


def test_lastn_takes_parameters(record: Fhir) -> None:
    parameter = [
        {"name": "patient", "valueString": "ada"},
        {"name": "code", "valueString": "bp"},
        {"name": "max", "valueInteger": 2},
    ]
    answer = record.post("Observation/$lastn", {"resourceType": "Parameters", "parameter": parameter})
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["b2", "b1"]


def series(record: Fhir, query: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    answer = record.get(f"Observation/$series?{query}")
    assert answer.status_code == 200, answer.text
    head, points = {}, []
    for parameter in answer.json()["parameter"]:
        if parameter["name"] == "point":
            points.append({part["name"]: next(v for k, v in part.items() if k != "name") for part in parameter["part"]})
        else:
            head[parameter["name"]] = next(v for k, v in parameter.items() if k != "name")
    return head, points


def test_a_series(record: Fhir) -> None:
    head, points = series(record, "patient=ada&code=puls,pulse")
    assert head == {"method": "lttb", "count": 4, "unit": {"system": UCUM, "code": "/min"}}
    assert [point["value"] for point in points] == [61, 64, 67, 68]
    assert points[0] == {
        "time": "2024-01-02T00:00:00.000Z",
        "value": 61,
        "observation": {"reference": "Observation/p1"},
    }


SERIES = [
    ("patient=ada&code=sys", [120, 130]),
    (f"subject=Patient/ada&code={LOINC}|dia", [80, 85]),
    ("patient=ada&code=pulse&date=ge2024-01-03", [64]),
    ("patient=ada&code=pulse&date=ge2024-01-01&date=lt2024-01-03", [61]),
    ("patient=ada&code=mix&unit=mg", [5]),
    (f"patient=ada&code=mix&unit={UCUM}|/min", [5]),
    ("patient=ada&code=PULSE&date=ge2024-01-03", [64]),
    (f"patient=ada&code={LOINC}|Sys", [120, 130]),
    ("patient=ada&code=none", []),
    ("patient=ada&code=none&unit=kg", []),
    ("patient=ada&code=pulse&unit=/min&date=lt1990", []),
    ("patient=ada&code=a,b", []),
    ("patient=ada&code=a\\,b", [7]),
    ("patient=ada&code=pulse,puls&points=2", [61, 68]),
    ("patient=ada&code=pulse,puls&points=1", [61]),
    ("patient=ada&code=pulse,puls&method=minmax&points=2", [61, 68]),
    ("patient=ada&code=pulse,puls&method=mean&points=1", [65]),
]


@pytest.mark.parametrize(("query", "expected"), SERIES)
def test_series(record: Fhir, query: str, expected: list[float]) -> None:
    assert [point["value"] for point in series(record, query)[1]] == expected


def test_means_say_what_they_are_of(record: Fhir) -> None:
    _, points = series(record, "patient=ada&code=pulse,puls&method=mean&points=1")
    assert points == [{"time": "2024-01-02T00:00:00.000Z", "value": 65, "min": 61, "max": 68, "count": 4}]


def test_many_values_are_chosen_in_the_database(record: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [point["value"] for point in series(record, "patient=ada&code=pulse,puls")[1]]
    monkeypatch.setattr("fhirserver.operations.series.READ_WHOLE", 0)
    assert [point["value"] for point in series(record, "patient=ada&code=pulse,puls")[1]] == whole


def computed(record: Fhir, query: str) -> dict[str, dict[str, Any]]:
    """{code: {statistic: value}}"""
    answer = record.get(f"Observation/$stats?{query}")
    assert answer.status_code == 200, answer.text
    found = {}
    for parameter in answer.json()["parameter"]:
        if parameter["name"] == "statistics":
            resource = parameter["resource"]
            found[resource["code"]["coding"][0]["code"]] = {
                part["code"]["coding"][0]["code"]: part.get("valueQuantity", {}).get("value")
                for part in resource["component"]
            }
    return found


STATS = [
    ("code=pulse&statistic=average,count", {"pulse": {"average": 62.5, "count": 2}}),
    ("code=pulse&code=puls&statistic=total-count", {"pulse": {"total-count": 2}, "puls": {"total-count": 3}}),
    ("code=bp&statistic=total-count", {"sys": {"total-count": 2}, "dia": {"total-count": 2}}),
    ("code=a,b&statistic=count,total-count", {"a,b": {"count": 1, "total-count": 1}}),
    ("code=a&statistic=count,total-count", {"a": {"count": 0, "total-count": 0}}),
    ("code=pulse&code=puls&statistic=maximum", {"pulse": {"maximum": 64}, "puls": {"maximum": 68}}),
    (f"code=puls&system={LOINC}&statistic=median&statistic=sum", {"puls": {"median": 67, "sum": 199}}),
    ("code=bp&statistic=average", {"sys": {"average": 125}, "dia": {"average": 82.5}}),
    ("code=puls&statistic=average,variance", {"puls": {"average": 66.33, "variance": 4.333}}),
    ("code=sys&statistic=std-dev,total-count", {"sys": {"std-dev": 7.0711, "total-count": 2}}),
    ("code=SYS&statistic=average,total-count", {"SYS": {"average": 125, "total-count": 2}}),
    ("code=BP&statistic=average", {"sys": {"average": 125}, "dia": {"average": 82.5}}),
    ("code=none&statistic=average,count", {"none": {"average": None, "count": 0}}),
    ("code=mix&unit=mg&statistic=count,total-count", {"mix": {"count": 1, "total-count": 3}}),
    ("code=pulse&duration=1&statistic=count", {"pulse": {"count": 0}}),
    ("code=gluc&statistic=count,max,min", {"gluc": {"count": 3, "maximum": 16, "minimum": 5}}),
    (
        "code=panel&statistic=sum,total-count",
        {
            "gluc": {"sum": 9, "total-count": 1},
            "sodium": {"sum": 140, "total-count": 1},
            "lipid": {"sum": 110, "total-count": 1},
        },
    ),
    ("code=loop&statistic=count,total-count", {"loop": {"count": 0, "total-count": 1}}),
]


# as measured, what comes of them, and how it is written
PRECISION = [
    ("60 62 65", Decimal(187) / 3, "62.33"),
    ("60 65", Decimal("62.5"), "62.5"),
    ("60.0 65", Decimal("62.50"), "62.50"),
    ("5 6 8", Decimal(19) / 3, "6.33"),
    ("0.7 0.8 1.3", 0.93333333333333333, "0.9333"),
    ("120 121", 0.7071067811865476, "0.70711"),
    ("98.7", Decimal("37.05555555555555555555555555555556"), "37.056"),
    ("37", Decimal("310.15"), "310.15"),
    ("5.4", Decimal("0.0054"), "0.0054"),
    ("0.0054", Decimal("5.4"), "5.4"),
    ("0.01 1000 1.01", Decimal("1001.02") / 3, "333.67333"),
    ("1000 2000 2500", Decimal(5500) / 3, "1833.33"),
    ("0 0", Decimal(0), "0"),
    ("-3 -4 -4", Decimal(-11) / 3, "-3.67"),
    ("2", 1e-9 / 3, "3.33E-10"),
    ("9", Decimal("12345678901234567890"), "12345678901234567890"),
]


@pytest.mark.parametrize(("measured", "value", "written"), PRECISION)
def test_a_statistic_has_two_digits_more_than_was_measured(measured: str, value: Decimal | float, written: str) -> None:
    assert str(Precision.of([Decimal(each) for each in measured.split()]).rounded(value)) == written


def test_what_has_no_values_has_a_precision() -> None:
    assert Precision.of([]) == (0, 1)


@pytest.mark.parametrize(("query", "expected"), STATS)
def test_statistics(record: Fhir, query: str, expected: dict[str, Any]) -> None:
    assert computed(record, f"subject=Patient/ada&{query}") == expected


@pytest.mark.parametrize("subject", ["ada", "Patient/ada", "Patient/ada/_history/1"])
def test_statistics_are_of_a_subject_that_can_be_read(record: Fhir, subject: str) -> None:
    answer = record.bundle(f"Observation/$stats?subject={subject}&code=pulse&statistic=count")
    assert record.get(answer["parameter"][0]["resource"]["subject"]["reference"]).json()["id"] == "ada"


def test_statistics_with_period_coding_and_sources(record: Fhir) -> None:
    parameter = [
        {"name": "subject", "valueUri": "Patient/ada"},
        {"name": "coding", "valueCoding": {"system": LOINC, "code": "pulse"}},
        {"name": "period", "valuePeriod": {"start": "2024-01-02", "end": "2024-01-02"}},
        {"name": "statistic", "valueCode": "variance"},
        {"name": "include", "valueBoolean": True},
    ]
    answer = record.post("Observation/$stats", {"resourceType": "Parameters", "parameter": parameter}).json()
    result, source = (each["resource"] for each in answer["parameter"])
    assert source["id"] == "p1"
    assert result["effectivePeriod"] == {"start": "2024-01-02", "end": "2024-01-02"}
    assert result["component"][0]["dataAbsentReason"]["coding"][0]["code"] == "not-a-number"


def test_a_regression_has_a_gradient_and_an_intercept(record: Fhir) -> None:
    answer = record.bundle("Observation/$stats?subject=Patient/ada&code=gluc&statistic=regression,variance")
    gradient, intercept, variance = answer["parameter"][0]["resource"]["component"]
    assert gradient["code"]["text"] == "gradient: change per day"
    assert gradient["valueQuantity"] == {"value": 2, "system": UCUM, "code": "/min/d"}
    assert intercept["code"]["text"] == "intercept: at 2024-01-02T00:00:00.000Z"
    assert intercept["valueQuantity"] == {"value": 5, "system": UCUM, "code": "/min"}
    assert variance["valueQuantity"] == {"value": 31, "system": UCUM, "code": "/min/min"}


def test_the_sources_of_a_panel_are_its_members_too(record: Fhir) -> None:
    query = "subject=Patient/ada&code=panel&statistic=count&include=true"
    answer = record.bundle(f"Observation/$stats?{query}")
    sources = [each["resource"]["id"] for each in answer["parameter"] if each["name"] == "source"]
    assert sources == ["g2", "lab", "na", "part"]
    answer = record.bundle(f"Observation/$stats?{query}&limit=2")
    assert len([each for each in answer["parameter"] if each["name"] == "source"]) == 2


REFUSED = [
    ("$lastn?code=pulse", 400, "needs a patient"),
    ("$lastn?patient=ada", 400, "needs a category or a code"),
    ("$lastn?patient=ada&code=pulse&max=0", 400, "max=0 is not a whole number"),
    ("$lastn?patient=ada&code=pulse&max=1&max=2", 400, "max: one simple value"),
    ("$lastn?patient=ada&code=pulse&_sort=date", 400, "it has no _sort"),
    ("$lastn?patient=ada&code=pulse&_summary=count", 400, "it has no _summary"),
    ("$lastn?patient=ada&code=pulse&nonsense=1", 400, "nonsense is not a search parameter"),
    ("$series?code=pulse", 400, "needs a patient"),
    ("$series?patient=ada&subject=Patient/ada&code=pulse", 400, "needs a patient or a subject"),
    ("$series?patient=ada", 400, "needs a code"),
    ("$series?patient=ada&code=pulse&points=0", 400, "points=0"),
    ("$series?patient=ada&code=pulse&points=5001", 400, "points=5001"),
    ("$series?patient=ada&code=pulse&points=1&method=minmax", 400, "points: minmax has two of each stretch"),
    ("$series?patient=ada&code=pulse&method=magic", 400, "none of lttb, minmax, mean"),
    ("$series?patient=ada&code=pulse&nonsense=1", 400, "has no parameter 'nonsense'"),
    ("$series?patient=ada&code=pulse&date=then", 400, "date"),
    ("$series?patient=ada&code=mix", 422, "ask for one with unit="),
    ("$series?patient=ada&code=mix&unit=cm", 422, "there are no values in cm"),
    ("$series?patient=ada,bob&code=pulse", 400, "patient: one is expected"),
    ("$series?subject=Patient/ada,Patient/bob&code=pulse", 400, "subject: one is expected"),
    ("$series?patient=Device/ada&code=pulse", 400, "patient=Device/ada is no patient here"),
    ("$stats?subject=Patient/ada,Patient/bob&code=pulse&statistic=count", 400, "subject: one is expected"),
    ("$stats?code=pulse&statistic=average", 400, "needs a subject"),
    ("$stats?subject=Patient/ada&statistic=average", 400, "needs a code"),
    ("$stats?subject=Patient/ada&code=pulse", 400, "needs a statistic"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=magic", 400, "is none of average, "),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count&duration=x", 400, "not a number of hours"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count&duration=NaN", 400, "not a number of hours"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count&duration=1e400", 400, "not a number of hours"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count&period=2024", 400, "one Period is expected"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count&include=maybe", 400, "neither true nor false"),
    ("$stats?subject=Patient/ada&code=mix&statistic=count", 422, "ask for one with unit="),
]


@pytest.mark.parametrize(("path", "status", "sentence"), REFUSED)
def test_refusals(record: Fhir, path: str, status: int, sentence: str) -> None:
    answer = record.get(f"Observation/{path}", headers={"Prefer": "handling=strict"})
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("asked", "lack"),
    [("patient=&code=pulse", "patient"), ("patient.nme=x&code=pulse", "patient"), ("patient=ada&code=", "code")],
)
def test_what_was_ignored_names_nobodys_observations(record: Fhir, asked: str, lack: str) -> None:
    answer = record.get(f"Observation/$lastn?{asked}")
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (400, "required")
    assert issue["expression"] == [f"http.{lack}"]


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"name": "code", "valueCodeableConcept": {"text": "pulse"}}, "code: a code is expected"),
        ({"name": "coding", "part": [{"name": "code", "valueString": "pulse"}]}, "coding: a Coding is expected"),
    ],
    ids=["code", "coding"],
)
def test_a_code_of_another_type_is_refused(record: Fhir, named: dict[str, Any], sentence: str) -> None:
    others = {"subject": "Patient/ada", "statistic": "count"}
    sent = [named, *({"name": name, "valueString": value} for name, value in others.items())]
    answer = record.post("Observation/$stats", {"resourceType": "Parameters", "parameter": sent})
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["expression"]) == (400, ["Parameters.parameter[0]"])
    assert sentence in issue["diagnostics"]


IGNORED = [
    ("$lastn?patient=ada&code=pulse", "nonsense=1", "nonsense is not a search parameter of Observation here"),
    ("$lastn?patient=ada&code=pulse", "_sort=date", "$lastn answers all groups at once; it has no _sort"),
    ("$lastn?patient=ada&code=pulse", "_summary=count", "it has no _summary"),
    ("$lastn?patient=ada&code=pulse", "_contained=true", "it has no _contained"),
    ("$lastn?patient=ada&code=pulse", "max=", "max: has no value"),
    ("$lastn?patient=ada&code=pulse", "encounter=Patient/1", "encounter of Observation never refers to a Patient"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count", "nonsense=1", "$stats has no parameter 'nonsense' here"),
    ("$stats?subject=Patient/ada&code=pulse&statistic=count", "unit=", "unit: has no value"),
    ("$stats?code=pulse&statistic=count", "subject=Medication/1", "subject of Observation never refers to a Medi"),
    ("$series?patient=ada&code=pulse", "nonsense=1", "$series has no parameter 'nonsense' here; it has patient"),
    ("$series?patient=ada&code=pulse", "method=", "method: has no value"),
    *(
        (path, "_pretty=foo", "_pretty: 'foo' is neither true nor false")
        for path in (
            "$lastn?patient=ada&code=pulse",
            "$stats?subject=Patient/ada&code=pulse&statistic=count",
            "$series?patient=ada&code=pulse",
        )
    ),
]


@pytest.mark.parametrize(("path", "query", "sentence"), IGNORED)
def test_what_is_ignored_is_told(record: Fhir, path: str, query: str, sentence: str) -> None:
    answer = record.bundle(f"Observation/{path}&{query}")
    told = answer["entry"][-1] if "entry" in answer else answer["parameter"][-1]
    assert told.get("search", told.get("name")) in ({"mode": "outcome"}, "outcome")
    (issue,) = told["resource"]["issue"]
    place = f"http.{query.partition('=')[0]}"
    assert (issue["severity"], issue["expression"]) == ("warning", [place])
    assert sentence in issue["diagnostics"]
    refused = record.get(f"Observation/{path}&{query}", headers={"Prefer": "handling=strict"})
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, [place])
    assert sentence in refused.json()["issue"][0]["diagnostics"]


def test_what_is_ignored_of_parameters_that_are_posted_is_named_by_its_place(record: Fhir) -> None:
    given = {"patient": "ada", "code": "pulse", "nonsense": "1"}
    parameter = [{"name": name, "valueString": value} for name, value in given.items()]
    answer = record.post("Observation/$series", {"resourceType": "Parameters", "parameter": parameter}).json()
    assert answer["parameter"][-1]["resource"]["issue"][0]["expression"] == ["Parameters.parameter[2]"]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-1e6, 1e6)), max_size=60), st.integers(1, 70))
def test_lttb_is_a_part_of_its_input(raw: list[tuple[int, float]], count: int) -> None:
    points = [Point(float(x), y) for x, y in sorted(raw)]
    chosen = lttb(points, range(len(points)), count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(points))
    if count > 1 and points:
        assert (chosen[0], chosen[-1]) == (0, len(points) - 1)


NAMES = st.frozensets(st.sampled_from("abcdef"), max_size=3)
SEEN = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(0, 5))), max_size=15).map(
    lambda rows: [Seen(f"{i:02}", None if t is None else START + timedelta(t), n) for i, (n, t) in enumerate(rows)]
)


@given(SEEN, SEEN)
def test_subjects_are_apart(ours: list[Seen], theirs: list[Seen]) -> None:
    theirs = [each._replace(id=f"their {each.id}", subject="b") for each in theirs]
    both = newest([*ours, *theirs], 2)
    assert {each.id for each in both} == {each.id for one in (ours, theirs) for each in newest(one, 2)}


def joined(observations: Iterable[Seen]) -> set[frozenset[str]]:
    """Groups by merging until nothing more shares a name."""
    found = [(set(seen.names or {""}), {seen.id}) for seen in observations]
    while pair := next(((a, b) for a in found for b in found if a is not b and a[0] & b[0]), None):
        a, b = pair
        found = [each for each in found if each is not a and each is not b] + [(a[0] | b[0], a[1] | b[1])]
    return {frozenset(ids) for _, ids in found}


@given(SEEN)
def test_groups_are_transitive(observations: list[Seen]) -> None:
    assert {frozenset(seen.id for seen in group) for group in groups(observations)} == joined(observations)


@given(SEEN, st.integers(1, 4))
def test_what_is_chosen_is_at_least_as_new_as_what_is_not(observations: list[Seen], most: int) -> None:
    chosen = {seen.id for seen in newest(observations, most)}
    never = START - timedelta(days=1)
    for group in groups(observations):
        inside = [seen.time or never for seen in group if seen.id in chosen]
        outside = [seen.time or never for seen in group if seen.id not in chosen]
        assert len(inside) >= min(most, len(group))
        assert not outside or max(outside) < min(inside)


def moment(values: list[float], power: int) -> float:
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return statistics.fmean(((value - mean) / spread) ** power for value in values)


PLACES = st.decimals(-1000, 1000, places=2)
QUARTILES = ("4-lower", "median", "4-upper")
QUINTILES = ("5-1", "5-2", "5-3", "5-4")


@given(st.lists(PLACES, min_size=2, max_size=40))
def test_statistics_are_those_of_python(values: list[Decimal]) -> None:
    sample = Sample(tuple((None, value) for value in values))
    found = {name: compute(sample) for name, compute in STATISTICS.items()}
    assert [found[name] for name in ("maximum", "minimum", "count", "sum")] == [
        max(values),
        min(values),
        len(values),
        sum(values),
    ]
    assert found["average"] == pytest.approx(Decimal(sum(values)) / len(values))
    assert found["std-dev"] == pytest.approx(statistics.stdev(map(float, values)), abs=1e-9)
    assert found["variance"] == pytest.approx(statistics.variance(map(float, values)), abs=1e-6)
    assert [found[name] for name in QUARTILES] == statistics.quantiles(values, n=4, method="inclusive")
    assert [found[name] for name in QUINTILES] == statistics.quantiles(values, n=5, method="inclusive")
    assert (found["20-percent"], found["80-percent"]) == (found["5-1"], found["5-4"])
    assert found["4-dev"] == (found["4-upper"] - found["4-lower"]) / 2
    if len(set(values)) > 1:
        floats = [float(value) for value in values]
        assert found["skew"] == pytest.approx(moment(floats, 3), abs=1e-6)
        assert found["kurtosis"] == pytest.approx(moment(floats, 4) - 3, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5_000), PLACES), min_size=2, max_size=40))
def test_regression_is_that_of_python(rows: list[tuple[int, Decimal]]) -> None:
    line = regression(Sample((*((START + timedelta(hours=hour), value) for hour, value in rows), (None, Decimal(7)))))
    if len({hour for hour, _ in rows}) == 1:
        assert line is None
        return
    assert line is not None
    first = min(hour for hour, _ in rows)
    days = [(hour - first) / 24 for hour, _ in rows]
    slope, intercept = statistics.linear_regression(days, [float(value) for _, value in rows])
    assert (line.gradient, line.intercept) == (pytest.approx(slope, abs=1e-6), pytest.approx(intercept, abs=1e-6))
    assert line.origin == START + timedelta(hours=first)


def test_a_regression_beyond_what_a_float_holds_is_not_a_number(serve: Serve) -> None:
    fhir = serve().client
    for day, value in enumerate(("3e400", "-1e401", "-1e401", "3e400")):
        body = json.dumps(observation(f"o{day}", coded("x"), day, 0)).replace('"value": 0', f'"value": {value}')
        headers = {"Content-Type": "application/fhir+json"}
        assert fhir.request("PUT", f"Observation/o{day}", content=body, headers=headers).status_code == 201
    answer = fhir.get("Observation/$stats?subject=Patient/ada&code=x&statistic=regression")
    assert (answer.status_code, "not-a-number" in answer.text) == (200, True)


@pytest.mark.parametrize("values", [[], ["5"], ["5", "5", "5"]])
def test_what_is_not_defined_is_not_computed(values: list[str]) -> None:
    sample = Sample(tuple((START, Decimal(value)) for value in values))
    assert STATISTICS["skew"](sample) is STATISTICS["kurtosis"](sample) is regression(sample) is None
    assert (STATISTICS["variance"](sample) is None) == (len(values) < 2)
    assert (STATISTICS["average"](sample) is None) == (not values)


UNITS = [
    ("mm[Hg]", "mm[Hg]2", "mm[Hg]/d"),
    ("kg", "kg2", "kg/d"),
    ("/min", "/min/min", "/min/d"),
    ("mg/dL", "mg/dL.mg/dL", "mg/dL/d"),
    ("10*3/uL", "10*3/uL.10*3/uL", "10*3/uL/d"),
    ("Cel", "K2", "K/d"),
    ("%", "%.%", "%/d"),
]


@pytest.mark.parametrize(("unit", "square", "per_day"), UNITS)
def test_units_of_statistics_are_ucum(unit: str, square: str, per_day: str) -> None:
    assert squared(f"{UCUM}|{unit}") == f"{UCUM}|{square}"
    assert daily(f"{UCUM}|{unit}") == f"{UCUM}|{per_day}"
    assert daily(None) == f"{UCUM}|/d"
    assert (squared("steps"), daily("steps")) == ("steps2", "steps/d")
