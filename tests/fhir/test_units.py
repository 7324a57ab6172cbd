"""What is asked of units: validation, names, base units, conversion, comparison; the kinds of UCUM's own tests."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.units import KEPT, LONGEST, canonicalise, compare, conversion, convert, fault, name, symbol
from fhirserver.fhir.units.table import table

VALID = [
    *("m", "10*-3/ul", "10*3.10*-3", "m[H2O]", "%", "%{vol}", "/m", "/{OIF}", "{score}", "rad2{c}", "m/s2{a}"),
    *("4.[pi].10*-7.N/A2", "kg-3", "10*3", "10*+3/ul", "g.m/{hb}", "g.m/{hb}.s", "m2.g-1.(s/cd)"),
    *("[iU]/(kg.min)", "k[iU]/mL", "umol/min/g{hb}", "cm[H2O].s/L", "dyn.s/cm5", "mL/min/{1.73_m2}", "(8.h){shift}"),
    *("{#}", "{a.b/c}", "[arb'U]", "mm[Hg]", "B[SPL]", "dB[10.nV]", "Cel", "mCel", "[degF]", "[pH]", "bit_s", "Np"),
    *("[m/s2/Hz^(1/2)]", "24.h", "1/m", "100", "m.m.m.m", "a_g", "mo_s", "[hnsf'U]", "[p'diop]", "%[slope]", "g%"),
    *("[car_Au]", "kBy", "MiBy", "(((m)))", "m{x}/s{y}", "10^-6", "[G]", "[h]", "[c].ns", "daL"),
]
INVALID = [
    ("", "the unit of a mere number is 1"),
    ("m" * (LONGEST + 1), "at most 255 characters"),
    ("12m", "at character 3 is 'm'"),
    ("m2s", "at character 3 is 's'"),
    ("{a}m", "at character 4 is 'm'"),
    ("m{a}{b}", "at character 5"),
    ("m..s", "at character 3 is '.s'"),
    ("//m", "at character 2 is '/m'"),
    ("m/", "the end, and a unit is expected"),
    ("()", "at character 2"),
    ("(m", ") is expected"),
    ("m)", "at character 2 is ')'"),
    ("{m", "a unit is expected"),
    ("m}", "at character 2 is '}'"),
    ("m{a{b}}", "at character 2"),
    ("m^2", "at character 1"),
    ("m+", "at character 1"),
    ("m100", "at character 1"),
    ("+3", "at character 1"),
    ("0", "at character 1"),
    ("m s", "at character 2 is ' s'"),
    ("m0", "to the power of 0"),
    ("m²", "2 is how UCUM writes it"),
    ("μm", "u is how UCUM writes it"),
    ("°C", "Cel or deg"),
    ("m\N{MIDDLE DOT}s", ". is how"),
    ("ж", "no character of UCUM"),
    ("xyz", "'xyz' is no unit of UCUM"),
    ("mKat", "no unit"),
    ("MM", "no unit"),
    ("kk", "no unit"),
    ("kmin", "'min' takes no prefix"),
    ("m[degF]", "'[degF]' takes no prefix"),
    ("iU", "no unit"),
    ("[foo]", "no unit"),
    ("mmHg", "mm[Hg] is"),
    ("mg/hr", "h is"),
    ("mcg", "ug is"),
    ("IU/mL", "[iU] is"),
    ("degC", "Cel is"),
    ("Cel/s", "stands alone"),
    ("/Cel", "stands alone"),
    ("2.Cel", "stands alone"),
    ("Cel2", "has no powers"),
    ("[pH].m", "stands alone"),
    ("Ym20", "beyond all measure"),
    ("(" * 40 + "m" + ")" * 40, "more than 32 parentheses"),
    ("{\n}", "a unit is expected"),
]


@pytest.mark.parametrize("code", VALID)
def test_a_unit_has_no_fault(code: str) -> None:
    assert fault(code) is None


@pytest.mark.parametrize(("code", "why"), INVALID)
def test_what_is_no_unit_is_told_why(code: str, why: str) -> None:
    assert why in (fault(code) or "")


@pytest.mark.parametrize("code", sorted(table().atoms))
def test_every_unit_of_the_table_has_a_name_and_base_units(code: str) -> None:
    assert fault(code) is None
    assert name(code)
    assert canonicalise(Decimal(1), code) is not None
    assert compare(Decimal(1), code, Decimal(1), code) == 0


NAMES = [
    ("m", "meter", "m"),
    ("km", "kilometer", None),
    ("10*", "10", "10"),
    ("10*3/uL", "10^3 per microliter", None),
    ("10*-3", "10^-3", None),
    ("mg/dL", "milligram per deciliter", None),
    ("kg/m2", "kilogram per square meter", None),
    ("cm3", "cubic centimeter", None),
    ("s-1", "second to the power of -1", None),
    ("/min", "per minute", None),
    ("24.h", "24 hour", None),
    ("N.s/m", "newton second per meter", None),
    ("m/s.kg", "meter per second times kilogram", None),
    ("m/(s.kg)", "meter per (second kilogram)", None),
    ("(m)", "meter", None),
    ("mg{wet}/{tot}", "milligram (wet) per tot", None),
    ("{score}", "score", None),
    ("{}", "1", None),
    ("Cel", "degree Celsius", "°C"),
    ("%", "percent", "%"),
    ("Cel{oral}", "degree Celsius (oral)", None),
]


@pytest.mark.parametrize(("code", "words", "printed"), NAMES)
def test_a_unit_in_words(code: str, words: str, printed: str | None) -> None:
    assert name(code) == words
    assert symbol(code) == printed


CONVERSIONS = [
    ("6.3", "s", "ms", "6300"),
    ("1", "[in_i]", "cm", "2.54"),
    ("5.4", "mg", "g", "0.0054"),
    ("100", "mg/dL", "g/L", "1"),
    ("120", "mm[Hg]", "kPa", "15.99864"),
    ("10", "[lb_av]", "kg", "4.5359237"),
    ("1", "[gal_us]", "L", "3.785411784"),
    ("1", "[mi_i]", "km", "1.609344"),
    ("98.6", "[degF]", "Cel", "37"),
    ("37", "Cel", "[degF]", "98.6"),
    ("0", "K", "Cel", "-273.15"),
    ("310.15", "K", "Cel", "37"),
    ("80", "[degRe]", "Cel", "100"),
    ("1", "a", "mo", "12"),
    ("1", "/min", "Hz", "0.0166666666666666667"),
    ("60", "{beats}/min", "/min", "60"),
    ("1", "%", "[ppth]", "10"),
    ("1", "mol", "mmol", "1000"),
    ("1", "kat", "U", "60000000"),
    ("1", "eq/L", "mmol/L", "1000"),
    ("3", "[iU]/mL", "k[IU]/L", "3"),
    ("20", "dB", "B", "2"),
    ("7", "[pH]", "nmol/L", "100"),
    ("100", "nmol/L", "[pH]", "7"),
    ("8", "bit_s", "1", "256"),
    ("45", "deg", "%[slope]", "100"),
    ("1", "m3", "L", "1000"),
    ("1", "cal_th", "J", "4.184"),
    ("1", "cal", "J", "4.184"),
    ("1", "m", "s", None),
    ("1", "g", "mol", None),
    ("1", "[iU]", "[arb'U]", None),
    ("1", "[iU]", "1", None),
    ("1", "foo", "foo", None),
    ("1", "Cel", "foo", None),
    ("-1", "mol/L", "[pH]", None),
    ("1E+400", "m", "km", None),
    ("NaN", "m", "km", None),
    ("5000", "[pH]", "mol/L", None),
]


@pytest.mark.parametrize(("value", "one", "other", "converted"), CONVERSIONS)
def test_a_value_in_another_unit(value: str, one: str, other: str, converted: str | None) -> None:
    found = convert(Decimal(value), one, other)
    if converted is None:
        assert found is None
    else:
        assert found is not None
        assert abs(found - Decimal(converted)) <= abs(Decimal(converted)) * Decimal("1E-12")


COMPARED = [
    ("1", "m", "100", "cm", 0),
    ("1", "m", "101", "cm", -1),
    ("1", "kg", "2", "[lb_av]", 1),
    ("98.6", "[degF]", "37", "Cel", 0),
    ("98.7", "[degF]", "37", "Cel", 1),
    ("0", "Cel", "0", "K", 1),
    ("1", "[in_i]", "2.54", "cm", 0),
    ("1", "[in_i]", "2.5400000000000000000000000000001", "cm", -1),
    ("7", "[pH]", "8", "[pH]", 1),
    ("7", "[pH]", "50", "nmol/L", 1),
    ("1", "10*3/uL", "1", "10*9/L", 0),
    ("1", "[iU]", "1", "[IU]", 0),
    ("1", "[iU]", "1", "[USP'U]", None),
    ("1", "m", "1", "s", None),
    ("1", "m", "1", "foo", None),
    ("1E+400", "m", "1", "m", None),
    ("5000", "[pH]", "1", "[pH]", None),
]


@pytest.mark.parametrize(("value", "one", "other_value", "other", "more"), COMPARED)
def test_which_of_two_is_more(value: str, one: str, other_value: str, other: str, more: int | None) -> None:
    assert compare(Decimal(value), one, Decimal(other_value), other) == more
    assert compare(Decimal(other_value), other, Decimal(value), one) == (None if more is None else -more)


# the values of a product are multiplied as their units are
PRODUCTS = [("m", "s"), ("kg", "m/s2"), ("mg/dL", "L"), ("10*3/uL", "mL"), ("N", "m"), ("[iU]", "/kg"), ("24.h", "/d")]


@pytest.mark.parametrize(("one", "other"), PRODUCTS)
def test_base_units_of_a_product_are_the_product(one: str, other: str) -> None:
    first, second = canonicalise(Decimal(6), one), canonicalise(Decimal(7), other)
    both = canonicalise(Decimal(42), f"({one}).({other})")
    assert first is not None
    assert second is not None
    assert both is not None
    assert float(both.value) == pytest.approx(float(first.value * second.value), rel=1e-12)
    assert canonicalise(Decimal(1), f"({first.unit}).({second.unit})") == (1, both.unit)


LENGTHS = ("m", "km", "cm", "[in_i]", "[ft_us]", "[mi_i]", "Ao", "[pc_br]")
TEMPERATURES = ("K", "Cel", "[degF]", "[degRe]", "[degR]", "mCel")
numbers = st.decimals("-1000000", "1000000", places=6)


@given(numbers, st.sampled_from([LENGTHS, TEMPERATURES]), st.data())
def test_there_and_back_again(value: Decimal, kind: tuple[str, ...], data: st.DataObject) -> None:
    one, other = data.draw(st.sampled_from(kind)), data.draw(st.sampled_from(kind))
    there = convert(value, one, other)
    assert there is not None
    back = convert(there, other, one)
    assert back is not None
    assert abs(back - value) <= max(abs(value), Decimal(1)) * Decimal("1E-9")
    line = conversion(one, other)
    assert line is not None
    assert there == line.of(value)


@given(numbers, numbers, st.sampled_from(LENGTHS), st.sampled_from(LENGTHS))
def test_comparison_is_that_of_the_amounts(first: Decimal, second: Decimal, one: str, other: str) -> None:
    amounts = []
    for value, code in ((first, one), (second, other)):
        line = conversion(code, "m")
        assert line is not None
        amounts.append((Fraction(value) * Fraction(line.times) + Fraction(line.plus)) / Fraction(line.over))
    assert compare(first, one, second, other) == (amounts[0] > amounts[1]) - (amounts[0] < amounts[1])
    assert KEPT.prec == 18


@given(st.text(alphabet="mgskLCel[]{}()./*^0123456789+-%'UiHd", max_size=70))
def test_any_text_is_a_unit_or_is_told_why_not(code: str) -> None:
    why = fault(code)
    assert (why is None) == (canonicalise(Decimal(1), code) is not None)
    if why is None:
        assert name(code)
    else:
        assert why
