"""The measured values of a code, in observations and in their components, straight from the index.

`combo-code-value-quantity` holds a code beside its quantities, whether the observation or one of its components says
it. What is only known to lie below or above a value (`<5`), and ranges, are no measurements.
https://hl7.org/fhir/R4/observation.html#search
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Request
from fhirserver.interactions.search import filter_of, parsed

Stage = dict[str, Any]
PARAMETER = "combo-code-value-quantity"


async def matching(ctx: Context, request: Request, subject: str, codes: Sequence[str], dates: Sequence[str]) -> Stage:
    """The filter of a subject's observations, of any of these codes where some are named.

    What was entered in error is left out.
    """
    pairs = (
        ("subject", subject),
        *([("combo-code", ",".join(map(_escaped, codes)))] if codes else ()),
        *(("date", date) for date in dates),
        ("status:not", "entered-in-error"),
    )
    return await filter_of(ctx, parsed(ctx, request, "Observation", pairs))


def _escaped(code: str) -> str:
    """As a value of a search; the bar between system and code is meant."""
    return code.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")


def both(filter_: Stage, other: Stage) -> Stage:
    return {"$and": [filter_, other]}


def having(filter_: Stage, code: str) -> Stage:
    """What matches and has this code, in itself or in a component."""
    return both(filter_, {"search.combo-code": {"$eq": code}})


def measurements(filter_: Stage, codes: Sequence[str]) -> list[Stage]:
    """Stages that give {_id, time, value, unit, codes} for each value of these codes, of all where none is named.

    `value` is a Decimal128, `unit` the first stored form of the unit; it and `time` are missing where there is none.
    """
    value, unit = "$m.combo-value-quantity", "$m.combo-value-quantity.unit"
    return [
        {"$match": filter_},
        {"$project": {"time": "$sort.date", "m": f"$search.{PARAMETER}"}},
        {"$unwind": "$m"},
        {"$match": {"m.combo-code": {"$in": list(codes)}}} if codes else {"$match": {}},
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


def one_unit(units: Sequence[str | None], asked: str | None) -> str | None:
    """The unit to answer in. Values in several units are never mixed: the client says which it wants."""
    fitting = [unit for unit in units if asked is None or unit == asked or (unit or "").rpartition("|")[2] == asked]
    if asked is not None and not fitting:
        raise Outcome(422, "not-found", f"there are no values in {asked[:80]}; there are {_named(units)}", "unit")
    if len(fitting) > 1:
        raise Outcome(422, "multiple-matches", f"the values are in {_named(fitting)}; ask for one with unit=…", "unit")
    return fitting[0] if fitting else None


def _named(units: Sequence[str | None]) -> str:
    return ", ".join(sorted(unit or "no unit" for unit in units)[:10]) or "no values at all"


def quantity(value: Any, unit: str | None) -> dict[str, Any]:
    """A Quantity from a number and a stored form of its unit."""
    if unit is None:
        return {"value": value}
    system, bar, code = unit.rpartition("|")
    return {"value": value, "system": system, "code": code} if bar else {"value": value, "unit": unit}
