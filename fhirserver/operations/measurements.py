"""The measured values of a code, in observations and in their components, straight from the index.

`combo-code-value-quantity` holds a code beside its quantities, whether the observation or one of its components says
it. What is only known to lie below or above a value (`<5`), and ranges, are no measurements.
https://hl7.org/fhir/R4/observation.html#search
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, invalid
from fhirserver.fhir.units import SAME, UCUM, Conversion, base, conversion
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.search import filter_of, parsed
from fhirserver.search.canonicals import LOCAL
from fhirserver.search.criteria import Token
from fhirserver.search.readers import split
from fhirserver.store.decimals import decimal128

Stage = dict[str, Any]
PARAMETER = "combo-code-value-quantity"


class Matching(NamedTuple):
    """A filter, and what is told about the search that it is of."""

    filter: Stage
    ignored: tuple[Issue, ...]


async def matching(
    ctx: Context, request: Request, subject: str, codes: Sequence[str], dates: Sequence[str]
) -> Matching:
    """Of a subject's observations, of any of these codes where some are named.

    What was entered in error is left out.
    """
    pairs = (
        ("subject", subject),
        *([("combo-code", ",".join(map(_escaped, codes)))] if codes else ()),
        *(("date", date) for date in dates),
        ("status:not", "entered-in-error"),
    )
    if (patient := _patient(ctx, subject)) is not None:
        ctx.touched(patient, (patient,))
    query = parsed(ctx, request, "Observation", pairs)
    return Matching(await filter_of(ctx, query), query.ignored)


def one_subject(text: str, name: str) -> str:
    """A reference, of a patient where only an id is given. Several are refused: they would be taken for one."""
    if len(split(text, ",")) > 1:
        raise invalid(f"{name}: one is expected; what several were measured would be taken for one's", name)
    return text if "/" in text or ":" in text else f"Patient/{text}"


def _patient(ctx: Context, subject: str) -> str | None:
    """Whose measurements these may be: all ways to write a reference in a search lead to the same."""
    found = subject.removeprefix(f"{ctx.base_url}/").partition("/_history/")[0]
    match = LOCAL.fullmatch(found)
    return found if match and match[1] == "Patient" else None


def _escaped(code: str) -> str:
    """As a value of a search; the bar between system and code is meant."""
    return code.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")


def both(filter_: Stage, other: Stage) -> Stage:
    return {"$and": [filter_, other]}


def having(filter_: Stage, code: str) -> Stage:
    """What matches and has this code, in itself or in a component."""
    return both(filter_, {"search.combo-code": {"$in": forms(code)}})


def forms(code: str) -> list[str]:
    """The stored forms of `system|code` or of a code: as it is, and in any case."""
    system, bar, plain = code.rpartition("|")
    return [*Token(system if bar else None, plain, any_case=True).forms]


def measurements(filter_: Stage, codes: Sequence[str]) -> list[Stage]:
    """Stages that give {_id, time, value, unit, codes} for each value of these codes, of all where none is named.

    `value` is a Decimal128, `unit` the first stored form of the unit; it and `time` are missing where there is none.
    """
    value, unit = "$m.combo-value-quantity", "$m.combo-value-quantity.unit"
    return [
        {"$match": filter_},
        {"$project": {"time": "$sort.date", "m": f"$search.{PARAMETER}"}},
        {"$unwind": "$m"},
        {"$match": {"m.combo-code": {"$in": [form for code in codes for form in forms(code)]}}}
        if codes
        else {"$match": {}},
        {"$unwind": value},
        {"$match": {"$expr": {"$eq": [f"{value}.lo", f"{value}.hi"]}}},
        {
            "$project": {
                "time": 1,
                "value": f"{value}.lo",
                "unit": {"$arrayElemAt": [unit, 0]},
                "codes": "$m.combo-code",
            }
        },
    ]


class InOneUnit(NamedTuple):
    """The unit of an answer, and how values in each of the units that convert to it become values in it."""

    unit: str | None
    conversions: Mapping[str | None, Conversion]

    def stages(self) -> list[Stage]:
        """Of `measurements`, those that convert, in this unit."""
        changed = [(unit, each) for unit, each in self.conversions.items() if each != SAME]
        branches = [{"case": {"$eq": ["$unit", unit]}, "then": _converted(each)} for unit, each in changed]
        convert = [{"$set": {"value": {"$switch": {"branches": branches, "default": "$value"}}}}] if branches else []
        return [{"$match": {"unit": {"$in": [*self.conversions]}}}, *convert]


def _converted(by: Conversion) -> Stage:
    times, plus, over = (decimal128(each) for each in by)
    return {"$divide": [{"$add": [{"$multiply": ["$value", times]}, plus]}, over]}


def one_unit(counts: Mapping[str | None, int], asked: str | None) -> InOneUnit:
    """The unit that is asked for, or the most frequent one. What does not convert to it is refused, and named.

    Where a unit is asked for, what does not convert to it is left out.
    """
    fitting = [unit for unit in counts if asked is None or _fits(unit, asked)]
    if asked is not None and not fitting:
        raise Outcome(422, "not-found", f"there are no values in {asked[:80]}; there are {_named([*counts])}", "unit")
    exact = [unit for unit in fitting if asked is not None and asked in (unit, _code(unit))]
    alike: Counter[Hashable] = Counter()
    for unit in fitting:
        alike[_measure(unit)] += counts[unit]
    target = max(exact or fitting, key=lambda unit: (alike[_measure(unit)], -len(unit or ""), unit or ""), default=None)
    if asked is not None and not exact:
        target = f"{UCUM}|{_code(asked)}"
    conversions = {unit: _conversion(unit, target) for unit in fitting}
    if None in conversions.values():
        raise Outcome(422, "multiple-matches", f"the values are in {_named(fitting)}; ask for one with unit=…", "unit")
    return InOneUnit(target, {unit: each for unit, each in conversions.items() if each is not None})


def _fits(unit: str | None, asked: str) -> bool:
    """By its name, or because it converts to what is asked for as a unit of UCUM."""
    system = asked.rpartition("|")[0]
    wanted = f"{UCUM}|{_code(asked)}" if system in ("", UCUM) else asked
    return asked in (unit, _code(unit)) or _conversion(unit, wanted) is not None


def _measure(unit: str | None) -> Hashable:
    """The same for /min and {beats}/min: units by other names."""
    known = base(_code(unit)) if unit is not None and unit.startswith(f"{UCUM}|") else None
    return unit if known is None else known


def _conversion(unit: str | None, target: str | None) -> Conversion | None:
    if unit == target:
        return SAME
    if unit is None or target is None or not all(each.startswith(f"{UCUM}|") for each in (unit, target)):
        return None
    return conversion(_code(unit), _code(target))


def _code(unit: str | None) -> str:
    return (unit or "").rpartition("|")[2]


def _named(units: Sequence[str | None]) -> str:
    return ", ".join(sorted(unit or "no unit" for unit in units)[:10]) or "no values at all"


def quantity(value: Any, unit: str | None) -> dict[str, Any]:
    """A Quantity from a number and a stored form of its unit."""
    if unit is None:
        return {"value": value}
    system, bar, code = unit.rpartition("|")
    return {"value": value, "system": system, "code": code} if bar else {"value": value, "unit": unit}
