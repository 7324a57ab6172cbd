"""A quantity is found in every unit of UCUM that converts to its own."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from queries import BASE, NOW, read

from fhirserver.fhir.definitions import r4
from fhirserver.fhir.units import UCUM, base
from fhirserver.search.filters import query_filter
from fhirserver.search.index import Indexer
from fhirserver.search.parameters import r4_registry

INDEXER = Indexer(r4(), r4_registry(), BASE)


def observation(id_: str, value: Decimal, code: str, **more: Any) -> dict[str, Any]:
    quantity = {"value": value, "system": UCUM, "code": code, "unit": "as printed", **more}
    resource = {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}}
    return {"_id": id_, "search": INDEXER.entry(resource | {"valueQuantity": quantity}).search}


def found(collection, text: str) -> str:
    filter_ = query_filter(read("Observation", f"value-quantity={text}"), NOW)
    return "".join(sorted(each["_id"] for each in collection.find(filter_)))


STORED = [
    observation("a", Decimal("5.4"), "mg"),
    observation("b", Decimal("0.0054"), "g"),
    observation("c", Decimal("5400"), "ug"),
    observation("d", Decimal("5.4"), "g"),
    observation("e", Decimal("180"), "cm"),
    observation("f", Decimal("1.80"), "m"),
    observation("g", Decimal("70"), "[in_i]"),
    observation("h", Decimal("90"), "mg/dL"),
    observation("i", Decimal("0.9"), "g/L"),
    observation("j", Decimal("5"), "mmol/L"),
    observation("k", Decimal("60"), "/min"),
    observation("l", Decimal("60"), "{beats}/min"),
    observation("m", Decimal("120"), "mm[Hg]"),
    observation("n", Decimal("6"), "mg", comparator=">"),
    observation("o", Decimal("5.4"), "mg", system="urn:other"),
    observation("p", Decimal("37"), "Cel"),
    observation("q", Decimal("98.6"), "[degF]"),
    observation("r", Decimal("7.4"), "[pH]"),
    observation("s", Decimal("39.8"), "nmol/L"),
    observation("t", Decimal("12"), "m[iU]/L"),
    observation("u", Decimal("12"), "u[IU]/mL"),
    observation("v", Decimal("0.5"), "%"),
    observation("w", Decimal("5"), "10*-3"),
    observation("x", Decimal("5"), "{score}"),
    observation("y", Decimal("7.5"), "[pH]", comparator=">"),
    observation("z", Decimal("30"), "dB[W]"),
]

CASES = [
    (f"5.4|{UCUM}|mg", "abc"),
    (f"0.0054|{UCUM}|g", "abc"),
    (f"5400.0|{UCUM}|ug", "abc"),
    (f"5.4|{UCUM}|g", "d"),
    (f"5.41|{UCUM}|mg", ""),
    (f"5|{UCUM}|mg", "abc"),
    (f"gt5.4|{UCUM}|mg", "dn"),
    (f"ge5.4|{UCUM}|mg", "abcdn"),
    (f"lt6|{UCUM}|mg", "abc"),
    (f"le0.0054|{UCUM}|g", "abc"),
    (f"sa5.4|{UCUM}|mg", "dn"),
    (f"eb5.5|{UCUM}|mg", "abc"),
    (f"ne5.4|{UCUM}|mg", "dn"),
    (f"ap5.6|{UCUM}|mg", "abcn"),
    ("5.4||mg", "ao"),
    ("5.4|urn:other|mg", "o"),
    (f"1.8|{UCUM}|m", "efg"),
    (f"1.80|{UCUM}|m", "ef"),
    (f"180|{UCUM}|cm", "ef"),
    (f"gt1.7|{UCUM}|m", "efg"),
    (f"1.778|{UCUM}|m", "g"),
    (f"90|{UCUM}|mg/dL", "hi"),
    (f"0.90|{UCUM}|g/L", "hi"),
    (f"5|{UCUM}|mmol/L", "j"),
    (f"5000|{UCUM}|umol/L", "j"),
    (f"gt1|{UCUM}|mg/dL", "hi"),
    (f"60|{UCUM}|/min", "kl"),
    (f"1|{UCUM}|/s", "kl"),
    (f"1|{UCUM}|Hz", "kl"),
    (f"60|{UCUM}|{{beats}}/min", "kl"),
    (f"3.6|{UCUM}|k/h", ""),
    (f"3600|{UCUM}|/h", "kl"),
    (f"120|{UCUM}|mm[Hg]", "m"),
    (f"gt100|{UCUM}|mm[Hg]", "m"),
    (f"gt1|{UCUM}|nonsense", ""),
    (f"37|{UCUM}|Cel", "pq"),
    (f"37.0|{UCUM}|Cel", "pq"),
    (f"98.6|{UCUM}|[degF]", "pq"),
    (f"99|{UCUM}|[degF]", "pq"),
    (f"99.0|{UCUM}|[degF]", ""),
    (f"98|{UCUM}|[degF]", ""),
    (f"310.15|{UCUM}|K", "pq"),
    (f"gt36.9|{UCUM}|Cel", "pq"),
    (f"gt98.6|{UCUM}|[degF]", ""),
    (f"ge98.6|{UCUM}|[degF]", "pq"),
    (f"le98.6|{UCUM}|[degF]", "pq"),
    (f"lt98.6|{UCUM}|[degF]", ""),
    (f"ap34|{UCUM}|Cel", "pq"),
    (f"ap30|{UCUM}|Cel", ""),
    (f"ap290|{UCUM}|K", "pq"),
    (f"ne37|{UCUM}|Cel", ""),
    (f"37000|{UCUM}|mCel", "pq"),
    (f"7.4|{UCUM}|[pH]", "rs"),
    (f"7.40|{UCUM}|[pH]", "rs"),
    (f"7.50|{UCUM}|[pH]", ""),
    (f"40|{UCUM}|nmol/L", "rs"),
    (f"gt7|{UCUM}|[pH]", "rsy"),
    (f"gt7.5|{UCUM}|[pH]", "y"),
    (f"lt7|{UCUM}|[pH]", "j"),
    (f"le7.4|{UCUM}|[pH]", "jr"),
    (f"ge7.4|{UCUM}|[pH]", "rsy"),
    (f"sa7.45|{UCUM}|[pH]", "y"),
    (f"eb7.45|{UCUM}|[pH]", "jrs"),
    (f"ap7|{UCUM}|[pH]", "rsy"),
    (f"12|{UCUM}|m[iU]/L", "tu"),
    (f"12|{UCUM}|m[IU]/L", "tu"),
    (f"12000|{UCUM}|n[iU]/mL", "tu"),
    (f"12|{UCUM}|mU/L", ""),
    (f"gt0|{UCUM}|[arb'U]/L", ""),
    (f"0.5|{UCUM}|%", "vw"),
    (f"0.0050|{UCUM}|1", "vw"),
    (f"5|{UCUM}|{{score}}", "x"),
    (f"5|{UCUM}|1", "x"),
    (f"3|{UCUM}|B[W]", "z"),
    (f"1|{UCUM}|kW", "z"),
    (f"1|{UCUM}|km99.km99", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_units(fill, collection, text: str, expected: str) -> None:
    fill(STORED)
    assert found(collection, text) == expected


BEYOND = ["km99.km99", "/km99/km99", "km99", ".".join(["km99"] * 30), ".".join(["km99"] * 800)]


@pytest.mark.parametrize("code", BEYOND)
@pytest.mark.parametrize("number", ["1", "gt1e90", "ap1e-90"])
def test_a_unit_beyond_all_measure_is_one_of_its_own(fill, collection, code: str, number: str) -> None:
    fill([observation("a", Decimal("2E+90"), code), observation("b", Decimal(1), code)])
    assert found(collection, f"{number}|{UCUM}|{code}") == {"1": "b", "gt1e90": "a", "ap1e-90": ""}[number]


UNITS = {"ug": -6, "mg": -3, "g": 0, "kg": 3}
VALUES = st.integers(1, 99_999).map(lambda number: Decimal(number) / 100)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(VALUES, st.sampled_from(sorted(UNITS))), min_size=1, max_size=6),
    VALUES,
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(["gt", "ge", "lt", "le"]),
)
def test_a_search_in_one_unit_is_arithmetic_in_all(fill, collection, stored, value, unit, prefix) -> None:
    fill([observation(chr(97 + i), *each) for i, each in enumerate(stored)])
    asked = Fraction(value) * Fraction(10) ** UNITS[unit]
    compare = {"gt": asked.__lt__, "ge": asked.__le__, "lt": asked.__gt__, "le": asked.__ge__}[prefix]
    amounts = [Fraction(each) * Fraction(10) ** UNITS[code] for each, code in stored]
    expected = "".join(chr(97 + i) for i, amount in enumerate(amounts) if compare(amount))
    assert found(collection, f"{prefix}{value}|{UCUM}|{unit}") == expected


@given(
    st.lists(st.sampled_from(["Cel", "[degF]", "K", "[degR]", "[degRe]"]), min_size=2, max_size=2),
    st.integers(-50, 500),
)
def test_temperatures_are_found_on_every_scale(scales, tenths) -> None:
    """Whatever is stored on one scale and asked for on another, as it is in kelvin."""
    stored, asked = (base(scale) for scale in scales)
    value = Decimal(tenths) / 10
    assert stored is not None
    assert asked is not None
    assert stored.unit == asked.unit == "K"
    kelvin = {
        "Cel": Fraction(value) + Fraction("273.15"),
        "[degF]": (Fraction(value) + Fraction("459.67")) * Fraction(5, 9),
        "K": Fraction(value),
        "[degR]": Fraction(value) * Fraction(5, 9),
        "[degRe]": Fraction(value) * Fraction(5, 4) + Fraction("273.15"),
    }
    for scale, known in zip(scales, (stored, asked), strict=True):
        found = known.of(value)
        assert found is not None
        assert abs(Fraction(found) - kelvin[scale]) < Fraction(1, 10**29)


@given(st.sampled_from(["mg", "cm", "mL", "mg/dL", "kg/m2", "/min"]), VALUES)
def test_base_units_are_exact_where_digits_suffice(code: str, value: Decimal) -> None:
    known = base(code)
    assume(known is not None and not set(_prime_factors(known.factor.denominator)) - {2, 5})
    assert known is not None
    found = known.of(value)
    assert found is not None
    assert Fraction(found) == Fraction(value) * known.factor


def _prime_factors(number: int) -> list[int]:
    return [prime for prime in (2, 3, 5, 7) if number % prime == 0]
