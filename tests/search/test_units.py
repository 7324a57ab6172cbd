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
    (f"1|{UCUM}|Hz", ""),
    (f"120|{UCUM}|mm[Hg]", "m"),
    (f"gt100|{UCUM}|mm[Hg]", "m"),
    (f"gt1|{UCUM}|nonsense", ""),
    (f"37|{UCUM}|Cel", "p"),
    (f"310.15|{UCUM}|K", ""),
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


@given(st.sampled_from(["mg", "cm", "mL", "mg/dL", "kg/m2", "/min"]), VALUES)
def test_base_units_are_exact_where_digits_suffice(code: str, value: Decimal) -> None:
    known = base(code)
    assume(known is not None and not set(_prime_factors(known.factor.denominator)) - {2, 5})
    assert known is not None
    assert Fraction(known.of(value)) == Fraction(value) * known.factor


def _prime_factors(number: int) -> list[int]:
    return [prime for prime in (2, 3, 5, 7) if number % prime == 0]
