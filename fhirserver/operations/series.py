"""Observation/$series: the values of a code over time, as many points as a chart can show.

    GET Observation/$series?patient=1&code=http://loinc.org|8867-4&date=ge2024&points=500&method=lttb

The points are chosen in the database where there are many: the smallest and the largest of each stretch of time, of
which LTTB takes what stands out, so that a million values cost a page of memory here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from fhirserver.access.policy import authorize
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import invalid
from fhirserver.fhir.units import KEPT
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.operations.downsampling import Point, lttb
from fhirserver.operations.measurements import Stage, matching, measurements, one_subject, one_unit, quantity
from fhirserver.operations.parameters import leniently, once, outcome, whole
from fhirserver.operations.registry import operation
from fhirserver.search.readers import split, unescape
from fhirserver.store.budget import Budget

PARAMETERS = ("patient", "subject", "code", "date", "unit", "points", "method")
METHODS = ("lttb", "minmax", "mean")
DEFAULT_POINTS, MOST_POINTS = 500, 5_000
READ_WHOLE = 10_000  # values that LTTB sees all of
FOR_EACH_POINT = 4  # stretches of time, where there are more: MinMaxLTTB, https://arxiv.org/abs/2305.00332
MILLISECOND = timedelta(milliseconds=1)
Row = dict[str, Any]


POINT = (
    ("time", "dateTime"),
    ("value", "decimal"),
    ("observation", "Reference"),
    ("min", "decimal"),
    ("max", "decimal"),
    ("count", "integer"),
)
DEFINITION = Described(
    "healthmate-observation-series",
    "A series of measurements for a chart",
    "The measured values of a code over time, as many points as a chart can show, with what stands out among them.",
    (
        Parameter("patient", "string", "Whose values; or give a subject."),
        Parameter("subject", "string", "Whose values; or give a patient."),
        Parameter("code", "string", "Codes as in a search, of observations and of components.", min=1),
        Parameter("date", "string", "As in a search, with prefixes.", max="*"),
        Parameter("unit", "string", "Which values, where there are several units."),
        Parameter("points", "positiveInt", f"At most so many points; {DEFAULT_POINTS} where not said."),
        Parameter("method", "code", f"{', '.join(METHODS)}: how the points are chosen; lttb where not said."),
        Parameter("method", "code", "How the points were chosen.", min=1, use="out"),
        Parameter("count", "integer", "How many values there are.", min=1, use="out"),
        Parameter("unit", "Quantity", "The unit of the values.", use="out"),
        Parameter("point", None, "A value and its observation, or a mean and what it is of.", 0, "*", "out", POINT),
        Parameter("outcome", "OperationOutcome", "What was ignored, and why.", use="out"),
    ),
)


@operation("series", "Observation", instance=False, definition=DEFINITION)
async def series(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """Parameters: `unit`, `method`, `count` (all values), then one `point` each with `time` and `value`.

    `lttb` and `minmax` give values as they were measured, with the observation they come from; `mean` gives the mean
    of each stretch of time that has values, with `min`, `max` and `count`. All are in one unit.
    """
    authorize(ctx.caller, "series", type_)
    values, ignored = leniently(ctx, request, "$series", PARAMETERS)
    method = once(values, "method") or "lttb"
    if method not in METHODS:
        raise invalid(f"method={method[:80]} is none of {', '.join(METHODS)}", "method")
    points = whole(values, "points", DEFAULT_POINTS, MOST_POINTS)
    if method == "minmax" and points < 2:
        raise invalid("points: minmax has two of each stretch of time, the smallest and the largest", "points")
    codes = [unescape(code) for code in split(once(values, "code") or "", ",")]
    async with Budget(ctx.store):
        dates = [str(date) for date in values.get("date", ())]
        asked = await matching(ctx, request, _subject(values), _codes(codes), dates)
        stages = [*measurements(asked.filter, codes), {"$match": {"time": {"$exists": True}}}]
        facts = await ctx.store.aggregate(type_, [*stages, _FACTS])
        chosen = one_unit({fact["_id"]: fact["count"] for fact in facts}, once(values, "unit") if facts else None)
        fact = _together([fact for fact in facts if fact["_id"] in chosen.conversions])
        rows = await _points(ctx, [*stages, *chosen.stages()], fact, method, points) if fact["count"] else []
    answered = _parameters(chosen.unit, method, fact["count"], rows)
    answered["parameter"] += outcome((*ignored, *asked.ignored))
    return Answer(status=200, body=json.encode(answered))


def _together(facts: list[Row]) -> Row:
    """Of all units that are answered in one."""
    if not facts:
        return {"count": 0}
    first, last = min(fact["first"] for fact in facts), max(fact["last"] for fact in facts)
    return {"count": sum(fact["count"] for fact in facts), "first": first, "last": last}


_FACTS: Stage = {
    "$group": {
        "_id": {"$ifNull": ["$unit", None]},
        "count": {"$sum": 1},
        "first": {"$min": "$time"},
        "last": {"$max": "$time"},
    }
}


def _subject(values: dict[str, list[Any]]) -> str:
    patient, subject = once(values, "patient"), once(values, "subject")
    if (patient is None) == (subject is None):
        raise invalid("$series needs a patient or a subject", "patient", code="required")
    if subject is not None:
        return one_subject(subject, "subject")
    id_ = (patient or "").removeprefix("Patient/")
    if "/" in id_:
        raise invalid(f"patient={id_[:80]} is no patient here: write an id or Patient/id", "patient")
    return one_subject(f"Patient/{id_}", "patient")


def _codes(codes: list[str]) -> list[str]:
    if not all(codes):
        raise invalid("$series needs a code", "code", code="required")
    return codes


async def _points(ctx: Context, stages: list[Stage], fact: Row, method: str, points: int) -> list[Row]:
    """Rows of {time, value, id} or of {time, value, min, max, count}, in the order of time."""
    if method == "lttb" and fact["count"] <= READ_WHOLE:
        rows = await ctx.store.aggregate("Observation", [*stages, {"$sort": {"time": 1, "_id": 1}}])
        return _standing_out(rows, points)
    buckets = {"lttb": points * FOR_EACH_POINT, "minmax": points // 2, "mean": points}[method]
    grouped = await ctx.store.aggregate("Observation", [*stages, *_grouped(fact["first"], fact["last"], buckets)])
    if method == "mean":
        return [
            {"time": group["time"], "value": group["mean"]}
            | {key: group[key]["value"] for key in ("min", "max")}
            | {"count": group["count"]}
            for group in grouped
        ]
    ends = [end for group in grouped for end in (group["min"], group["max"])]
    rows = list({(row["time"], row["_id"], row["value"].bid): row for row in ends}.values())
    rows.sort(key=lambda row: (row["time"], row["_id"]))
    return _standing_out(rows, points) if method == "lttb" else rows


def _grouped(first: datetime, last: datetime, buckets: int) -> list[Stage]:
    """One group for each stretch of time: its first time, smallest and largest value, mean and count."""
    width = max(1, -(-((last - first) // MILLISECOND + 1) // buckets))
    row = {"value": "$value", "time": "$time", "_id": "$_id"}  # compared by value first
    return [
        {
            "$group": {
                "_id": {"$floor": {"$divide": [{"$subtract": ["$time", first]}, width]}},
                "time": {"$min": "$time"},
                "min": {"$min": row},
                "max": {"$max": row},
                "mean": {"$avg": "$value"},
                "count": {"$sum": 1},
            }
        },
        {"$sort": {"_id": 1}},
    ]


def _standing_out(rows: list[Row], points: int) -> list[Row]:
    return lttb([Point(row["time"].timestamp(), float(row["value"].to_decimal())) for row in rows], rows, points)


def _parameters(unit: str | None, method: str, count: int, rows: list[Row]) -> Row:
    head: list[Row] = [{"name": "method", "valueCode": method}, {"name": "count", "valueInteger": count}]
    if unit is not None:
        named = {key: value for key, value in quantity(None, unit).items() if key != "value"}
        head.append({"name": "unit", "valueQuantity": named})
    return {"resourceType": "Parameters", "parameter": [*head, *map(_point, rows)]}


def _point(row: Row) -> Row:
    part: list[Row] = [{"name": "time", "valueDateTime": instant(row["time"])}]
    part += [{"name": key, "valueDecimal": _written(row[key])} for key in ("value", "min", "max") if key in row]
    if "count" in row:
        part.append({"name": "count", "valueInteger": row["count"]})
    else:
        part.append({"name": "observation", "valueReference": {"reference": f"Observation/{row['_id']}"}})
    return {"name": "point", "part": part}


def _written(value: Decimal128) -> Decimal:
    """As measured; what was divided on the way, to the digits that FHIR asks servers to keep."""
    said = value.to_decimal()
    return said if len(said.as_tuple().digits) <= KEPT.prec else KEPT.plus(said).normalize(KEPT)
