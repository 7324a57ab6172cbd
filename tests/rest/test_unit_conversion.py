"""$stats and $series answer in one unit, whatever was measured."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.units import SAME, UCUM, conversion

MEASURED: dict[str, list[tuple[float, str | None]]] = {
    "temp": [(98.6, "[degF]"), (37.2, "Cel"), (37.4, "Cel"), (310.95, "K")],
    "weight": [(70.0, "kg"), (70500, "g"), (154, "[lb_av]")],
    "rate": [(60, "/min"), (1.5, "/s"), (66, "{beats}/min")],
    "acid": [(7.4, "[pH]"), (40, "nmol/L")],
    "mixed": [(5, "mg"), (6, "mg"), (0.007, "g"), (3, "cm"), (4, None)],
    "tie": [(1, "h"), (30, "min")],
    "odd": [(1, "furlong"), (2, "furlong")],
}


@pytest.fixture(scope="module")
def record(fhir):
    fhir.put("Patient/ada", {"resourceType": "Patient", "id": "ada"})
    for code, values in MEASURED.items():
        for day, (value, unit) in enumerate(values, 1):
            quantity: dict[str, Any] = {"value": value} | ({"system": UCUM, "code": unit} if unit else {})
            resource = {
                "resourceType": "Observation",
                "id": f"{code}-{day}",
                "status": "final",
                "code": {"coding": [{"code": code}]},
                "subject": {"reference": "Patient/ada"},
                "effectiveDateTime": f"2024-01-{day:02}",
                "valueQuantity": quantity,
            }
            assert fhir.put(f"Observation/{code}-{day}", resource).status_code == 201
    return fhir


def stats(record, query: str) -> dict[str, tuple[float, str | None]]:
    answer = record.get(f"Observation/$stats?subject=Patient/ada&{query}")
    assert answer.status_code == 200, answer.text
    (parameter,) = answer.json()["parameter"]
    parts = parameter["resource"]["component"]
    return {
        part["code"]["coding"][0]["code"]: (part["valueQuantity"]["value"], part["valueQuantity"].get("code"))
        for part in parts
    }


STATS = [
    ("code=temp&statistic=minimum", (37.0, "Cel")),
    ("code=temp&statistic=maximum", (37.8, "Cel")),
    ("code=temp&statistic=average", (37.35, "Cel")),
    ("code=temp&statistic=count", (4, None)),
    ("code=temp&statistic=minimum&unit=[degF]", (98.6, "[degF]")),
    ("code=temp&statistic=maximum&unit=K", (310.95, "K")),
    ("code=temp&statistic=minimum&unit=mCel", (37000, "mCel")),
    ("code=weight&statistic=minimum&unit=[lb_av]", (154, "[lb_av]")),
    ("code=weight&statistic=minimum&unit=kg", (69.85322498, "kg")),
    ("code=rate&statistic=maximum&unit=/min", (90, "/min")),
    ("code=rate&statistic=sum&unit=/h", (12960, "/h")),
    ("code=mixed&statistic=sum&unit=mg", (18, "mg")),
    (f"code=mixed&statistic=sum&unit={UCUM}|g", (0.018, "g")),
    ("code=mixed&statistic=sum&unit=kg", (0.000018, "kg")),
    ("code=mixed&statistic=sum&unit=m", (0.03, "m")),
    ("code=acid&statistic=sum&unit=[pH]", (7.4, "[pH]")),
    ("code=tie&statistic=sum", (1.5, "h")),
    ("code=odd&statistic=sum", (3, "furlong")),
]


@pytest.mark.parametrize(("query", "expected"), STATS)
def test_statistics_are_in_one_unit(record, query: str, expected: tuple[float, str | None]) -> None:
    ((value, unit),) = stats(record, query).values()
    assert (value, unit) == (pytest.approx(expected[0]), expected[1])


def series(record, query: str) -> tuple[str | None, list[float]]:
    answer = record.get(f"Observation/$series?patient=ada&{query}")
    assert answer.status_code == 200, answer.text
    parts = answer.json()["parameter"]
    (unit,) = [part["valueQuantity"].get("code") for part in parts if part["name"] == "unit"]
    points = [{each["name"]: each for each in part["part"]} for part in parts if part["name"] == "point"]
    return unit, [point["value"]["valueDecimal"] for point in points]


SERIES = [
    ("code=temp", "Cel", [37, 37.2, 37.4, 37.8]),
    ("code=temp&unit=[degF]", "[degF]", [98.6, 98.96, 99.32, 100.04]),
    ("code=temp&method=minmax&points=2", "Cel", [37, 37.8]),
    ("code=temp&method=mean&points=1", "Cel", [37.35]),
    ("code=rate", "/min", [60, 90, 66]),
    ("code=weight&unit=kg", "kg", [70, 70.5, 69.85322498]),
    ("code=mixed&unit=mg", "mg", [5, 6, 7]),
    ("code=mixed&unit=g", "g", [0.005, 0.006, 0.007]),
    ("code=acid&unit=mmol/L", "mmol/L", [0.00004]),
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("query", "unit", "expected"), SERIES)
def test_a_series_is_in_one_unit(
    record, monkeypatch, query: str, unit: str, expected: list[float], whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr("fhirserver.operations.series.READ_WHOLE", 0)
    assert series(record, query) == (unit, [pytest.approx(each, rel=1e-15) for each in expected])


REFUSED = [
    ("code=mixed", 422, "multiple-matches", ("no unit", f"{UCUM}|cm", f"{UCUM}|g", f"{UCUM}|mg")),
    ("code=acid", 422, "multiple-matches", (f"{UCUM}|[pH]", f"{UCUM}|nmol/L")),
    ("code=temp&unit=kg", 422, "not-found", ("there are no values in kg", f"{UCUM}|Cel")),
    ("code=temp&unit=urn:other|Cel", 422, "not-found", ("there are no values in urn:other|Cel",)),
    ("code=mixed&unit=nonsense", 422, "not-found", ("nonsense",)),
]


@pytest.mark.parametrize("operation", ["$stats?subject=Patient/ada&statistic=sum", "$series?patient=ada"])
@pytest.mark.parametrize(("query", "status", "code", "named"), REFUSED)
def test_what_does_not_convert_is_named(record, operation: str, query: str, status: int, code: str, named: Any) -> None:
    answer = record.get(f"Observation/{operation}&{query}")
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"]) == (status, code)
    assert all(each in issue["diagnostics"] for each in named), issue


CONVERT = st.sampled_from([("Cel", "[degF]"), ("[lb_av]", "kg"), ("mg/dL", "g/L"), ("/min", "/h"), ("[degRe]", "mK")])
VALUES = st.decimals("-1000", "1000", places=3)


@given(CONVERT, VALUES, VALUES)
def test_a_conversion_is_a_line_and_has_a_way_back(units: tuple[str, str], one: Decimal, other: Decimal) -> None:
    there, back = conversion(*units), conversion(*reversed(units))
    assert there is not None
    assert back is not None
    assert float(back.of(there.of(one))) == pytest.approx(float(one), rel=1e-12, abs=1e-12)
    assert (there.of(one) < there.of(other)) == (one < other)
    assert conversion(units[0], units[0]) == SAME
