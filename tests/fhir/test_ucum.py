"""UCUM: the grammar, the table, and the scales, compared with another implementation (ucumvert on pint)."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ucumvert import PintUcumRegistry

from fhirserver.fhir.units import LONGEST, Canonical, NoUnit, base, canonical, canonical_unit
from fhirserver.fhir.units.scales import SCALES

EXAMPLES = [
    line.split("\t")[1] for line in files("ucumvert").joinpath("vendor/ucum_examples.tsv").read_text().splitlines()[1:]
]

UNITS = [
    ("m", "1", "m"),
    ("km", "1000", "m"),
    ("dam", "10", "m"),
    ("cd", "1", "cd"),
    ("har", "10000", "m2"),
    ("m2", "1", "m2"),
    ("m+2", "1", "m2"),
    ("m-2", "1", "m-2"),
    ("cm3", "1/1000000", "m3"),
    ("L", "1/1000", "m3"),
    ("mg/dL", "10", "g.m-3"),
    ("kg.m/s2", "1000", "g.m.s-2"),
    ("N", "1000", "g.m.s-2"),
    ("m/s/s", "1", "m.s-2"),
    ("m/s.s", "1", "m"),
    ("m/(s.s)", "1", "m.s-2"),
    ("/min", "1/60", "s-1"),
    ("/(10.min)", "1/600", "s-1"),
    ("24.h", "86400", "s"),
    ("10*3/uL", "1000000000000", "m-3"),
    ("10^3", "1000", "1"),
    ("10*-3", "1/1000", "1"),
    ("10*", "10", "1"),
    ("%", "1/100", "1"),
    ("1", "1", "1"),
    ("{score}", "1", "1"),
    ("{beats}/min", "1/60", "s-1"),
    ("mg{creat}/d{any}", "1/86400000", "g.s-1"),
    ("(m)", "1", "m"),
    ("((m/s))/s", "1", "m.s-2"),
    ("mm[Hg]", "133322", "g.m-1.s-2"),
    ("m[H2O]", "9806650", "g.m-1.s-2"),
    ("[in_i]", "127/5000", "m"),
    ("[iU]", "1", "[iU]"),
    ("[IU]", "1", "[iU]"),
    ("k[IU]/L", "1000000", "[iU].m-3"),
    ("[arb'U]/mL", "1000000", "[arb'U].m-3"),
    ("mol", "602214076000000000000000", "1"),
    ("g%", "10000", "g.m-3"),
    ("a", "31557600", "s"),
    ("mo", "2629800", "s"),
    ("Hz", "1", "s-1"),
    ("[LPF]", "100", "1"),
    ("Kibit", "1024", "1"),
    ("1.Cel", "1", "K"),
    ("Cel{oral}", "1", "K"),
]


@pytest.mark.parametrize(("code", "factor", "unit"), UNITS)
def test_a_unit_is_so_many_base_units(code: str, factor: str, unit: str) -> None:
    found = base(code)
    assert found is not None
    assert (found.factor, found.unit) == (Fraction(factor), unit)


NO_UNITS = [
    *("", "nonsense", "()", "(m", "m)", "/", "m/", "m//s", "m.", ".m", "m..s", "2m", "m2s", "m^2", "mg / dL", "kmin"),
    *("Cel/min", "Cel2", "/Cel", "2.Cel", "Cel.m", "kk", "mmm", "km99.km99", "m0", "0", "00", "0.m", "m/0", "{", "µg"),
    *("Torr", "(" * 60, "m" * 65, "10*999", "[", "[]", "[degF", "m[Hg", "k[degF]", "day", "degC"),
]


@pytest.mark.parametrize("code", NO_UNITS)
def test_what_is_no_unit_has_no_base_units(code: str) -> None:
    assert base(code) is None


READINGS = [
    ("37", "Cel", "310.15", "K"),
    ("98.6", "[degF]", "310.15", "K"),
    ("-40", "[degF]", "233.15", "K"),
    ("-40", "Cel", "233.15", "K"),
    ("80", "[degRe]", "373.15", "K"),
    ("37000", "mCel", "310.15", "K"),
    ("7", "[pH]", "60221407600000000000", "m-3"),
    ("20", "dB", "100", "1"),
    ("2", "B", "100", "1"),
    ("3", "B[W]", "1000000", "g.m2.s-3"),
    ("0", "B[kW]", "1000000", "g.m2.s-3"),
    ("2", "B[V]", "10000", "C-1.g.m2.s-2"),
    ("0", "Np", "1", "1"),
    ("8", "bit_s", "256", "1"),
    ("3", "[hp'_C]", "0.000001", "1"),
    ("3", "[m/s2/Hz^(1/2)]", "9", "m2.s-3"),
]


@pytest.mark.parametrize(("value", "code", "amount", "unit"), READINGS)
def test_a_reading_is_an_amount(value: str, code: str, amount: str, unit: str) -> None:
    found = base(code)
    assert found is not None
    read = found.of(Decimal(value))
    assert read is not None
    assert found.unit == unit
    assert abs(read - Decimal(amount)) <= abs(Decimal(amount)).scaleb(-30)


def test_a_slope_is_an_angle() -> None:
    slope, degrees, dioptre = base("%[slope]"), base("deg"), base("[p'diop]")
    assert slope is not None
    assert dioptre is not None
    assert degrees is not None
    assert float(slope.of(100) or 0) == pytest.approx(float(degrees.of(45) or 1), rel=1e-14)
    assert float(dioptre.of(100) or 0) == pytest.approx(float(degrees.of(45) or 1), rel=1e-14)


@pytest.mark.parametrize("code", ["[pH]", "dB", "Np", "bit_s", "B[10.nV]", "[hp'_Q]"])
@pytest.mark.parametrize("value", ["1E+90", "-1E+90", "5000"])
def test_a_reading_beyond_all_measure_is_no_amount(code: str, value: str) -> None:
    found = base(code)
    assert found is not None
    assert found.of(Decimal(value)) is None


@pytest.mark.parametrize("name", sorted(SCALES))
@given(st.decimals("0.01", "20", places=2))
def test_a_scale_is_read_both_ways(name: str, reading: Decimal) -> None:
    scale = SCALES[name]
    amount, more = scale.read(reading), scale.read(reading + 1)
    assert amount is not None
    assert more is not None
    assert (more < amount) == scale.falling
    back = scale.reading(amount)
    assert back is not None
    assert float(back) == pytest.approx(float(reading), rel=1e-12)


@pytest.mark.parametrize("name", ["pH", "lg", "ln", "sqrt"])
def test_what_no_reading_gives_has_none(name: str) -> None:
    assert SCALES[name].reading(Decimal(-1)) is None


# the other implementation

# By decision of UCUM: arbitrary units equal nothing but themselves, the low power field is 100, and a column of mercury
# has the density that the table says.
OTHERWISE = ("[LPF]", "[Hg]", "H2O]")


def arbitrary(unit: Canonical) -> bool:
    return any(each.startswith("[") for each, _ in unit.dimension)


def test_all_examples_of_ucum_are_units() -> None:
    """Torr is an example, but not in the table."""
    assert len(EXAMPLES) > 800
    assert [code for code in EXAMPLES if base(code) is None] == ["Torr"]


def test_units_convert_as_they_do_elsewhere() -> None:
    registry = PintUcumRegistry()
    alike = defaultdict(list)
    for code in EXAMPLES:
        unit = canonical(code) if code != "Torr" else None
        if (
            unit is None
            or unit.scale
            or arbitrary(unit)
            or code.startswith("{")
            or any(each in code for each in OTHERWISE)
        ):
            continue
        theirs = registry.from_ucum(code)
        if not hasattr(theirs, "to_base_units"):  # an annotation alone
            continue
        quantity = theirs.to_base_units()
        alike[str(quantity.units)].append((code, unit, quantity.magnitude))
    compared = 0
    for (_, first, magnitude), *others in alike.values():
        for code, unit, theirs in others:
            assert unit.dimension == first.dimension, code
            assert float(unit.factor / first.factor) == pytest.approx(theirs / magnitude, rel=1e-9), code
            compared += 1
    assert compared > 600


# laws

ATOMS = {
    "m": ("1", "m"),
    "km": ("1000", "m"),
    "s": ("1", "s"),
    "min": ("60", "s"),
    "mg": ("1/1000", "g"),
    "7": ("7", None),
}


@st.composite
def terms(draw: st.DrawFn, depth: int = 0) -> tuple[str, Fraction, dict[str, int]]:
    """A code with its factor and powers, worked out beside it."""
    text, factor, powers = "", Fraction(1), defaultdict(int)
    for number in range(draw(st.integers(1, 3))):
        over = number > 0 and draw(st.booleans())
        sign = -1 if over else 1
        text += "" if number == 0 else "/" if over else "."
        if depth < 2 and draw(st.integers(0, 3)) == 0:
            inner, scale, inside = draw(terms(depth + 1))
            text += f"({inner})"
        else:
            atom = draw(st.sampled_from(sorted(ATOMS)))
            exponent = 1 if atom == "7" else draw(st.sampled_from([1, 2, -1, 3]))
            text += atom + ("" if exponent == 1 else str(exponent))
            scale, inside = Fraction(ATOMS[atom][0]) ** exponent, {ATOMS[atom][1]: exponent}
        text += draw(st.sampled_from(["", "{note}"]))
        factor *= scale**sign
        for unit, power in inside.items():
            powers[unit] += sign * power
    return text, factor, {unit: power for unit, power in powers.items() if power and unit}


@given(terms())
def test_a_term_is_read_from_left_to_right(term) -> None:
    text, factor, powers = term
    assume(len(text) <= LONGEST)
    assert canonical(text) == Canonical(factor, tuple(sorted(powers.items())))


KNOWN = [code for code in EXAMPLES if base(code)]


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.integers(1, 10**6))
def test_what_equals_in_one_unit_equals_in_all(one: str, other: str, number: int) -> None:
    """Equal in base units is an equivalence, and a unit's own multiples keep their order."""
    ours, theirs = base(one), base(other)
    assert ours is not None
    assert theirs is not None
    amounts = [ours.of(each) for each in (number, number + 1)]
    if None not in amounts:
        assert (amounts[0] > amounts[1]) == ours.falling
    if ours.unit == theirs.unit and ours.scale is None and theirs.scale is None:
        converted = Fraction(number) * ours.factor / theirs.factor
        assert converted * theirs.factor == Fraction(ours.factor) * number


@given(st.text(alphabet="mgskLCel[]{}()./*^0123456789+-%'UiHd", max_size=70))
def test_any_text_is_a_unit_or_is_none(text: str) -> None:
    """Never an error, and `canonical_unit` always says something."""
    found = base(text)
    assert found is None or found.factor > 0
    assert canonical_unit(text).factor > 0


def test_calendar_words_are_durations_for_fhirpath_only() -> None:
    assert canonical_unit("weeks") == Canonical(Fraction(604800), (("s", 1),))
    assert canonical_unit("year") == Canonical(Fraction(1), (("year", 1),))
    assert canonical_unit("Cel") == Canonical(Fraction(1), (("Cel", 1),))
    with pytest.raises(NoUnit):
        canonical("weeks")
