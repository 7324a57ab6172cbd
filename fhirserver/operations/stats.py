"""Observation/$stats: statistics of a subject's measurements. https://hl7.org/fhir/R4/observation-operation-stats.html

A code counts where an observation has it and where a component has it; of a panel, whose own code has no values, each
measurement gets statistics of its own: the components, and the observations that are its members. A statistic has two
digits more than what was measured (`statistics.Precision`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.operations.measurements import (
    Stage,
    both,
    forms,
    having,
    matching,
    measurements,
    one_subject,
    one_unit,
    quantity,
)
from fhirserver.operations.parameters import leniently, once, outcome, whole
from fhirserver.operations.registry import operation
from fhirserver.operations.statistics import STATISTICS, WITHOUT_UNIT, Precision, Sample, daily, regression, squared
from fhirserver.store.budget import Budget
from fhirserver.store.hops import referred_ids

PARAMETERS = (
    "subject",
    "code",
    "system",
    "coding",
    "duration",
    "period",
    "statistic",
    "include",
    "limit",
    "unit",
)
CODES = "http://terminology.hl7.org/CodeSystem/observation-statistics"
TOTAL, REGRESSION = "total-count", "regression"
ALIASES = {"max": "maximum", "min": "minimum"}  # as in the text of the operation
CONSIDERED = 100_000  # values
DEEPEST = 5  # panels of panels
MOST_SOURCES = 1_000
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
LONGEST = timedelta(days=366 * 200)
Json = dict[str, Any]


@operation(
    "stats",
    "Observation",
    instance=False,
    definition="http://hl7.org/fhir/OperationDefinition/Observation-stats",
)
async def stats(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """Parameters with an Observation for each code, a component for each statistic; the sources where asked for."""
    authorize(ctx.caller, "stats", type_)
    values, ignored = leniently(ctx, request, "$stats", PARAMETERS)
    subject = once(values, "subject")
    if not subject:
        raise invalid("$stats needs a subject, such as Patient/123", "subject", code="required")
    subject = one_subject(subject, "subject")
    wanted, codes, period = _statistics(values), _codes(values), _period(values, ctx.now())
    include = once(values, "include")
    if include not in (None, "true", "false"):
        raise invalid(f"include={include[:80]} is neither true nor false", "include")
    sources: list[bytes] = []
    async with Budget(ctx.store):
        limits = [f"{prefix}{time}" for prefix, time in zip(("ge", "le"), period, strict=True) if time]
        everything, told = await matching(ctx, request, subject, (), limits)
        groups = [await _group(ctx, everything, code) for code in codes]
        results = [r for group in groups for r in await _results(ctx, group, once(values, "unit"))]
        if include == "true":
            most = whole(values, "limit", MOST_SOURCES, MOST_SOURCES)
            filter_ = {"$or": [group.filter for group in groups]}
            sources = [v.body for v in await ctx.store.find_stored(type_, filter_, most)]
    head = {"subject": {"reference": subject}, "effectivePeriod": _effective(period)}
    parameters = [
        b'{"name":"statistics","resource":' + json.encode(_observation(head, result, wanted)) + b"}"
        for result in results
    ]
    parameters += [b'{"name":"source","resource":' + body + b"}" for body in sources]
    parameters += [json.encode(each) for each in outcome((*ignored, *told))]
    content = b'{"resourceType":"Parameters","parameter":[' + b",".join(parameters) + b"]}"
    return Answer(status=200, body=content if parameters else b'{"resourceType":"Parameters"}')


def _statistics(values: dict[str, list[Any]]) -> list[str]:
    named = (name for text in values.get("statistic", ()) for name in str(text).split(","))
    asked = list(dict.fromkeys(ALIASES.get(name, name) for name in named))
    if not asked:
        raise invalid("$stats needs a statistic, such as average", "statistic", code="required")
    known = (*STATISTICS, REGRESSION, TOTAL)
    for name in asked:
        if name not in known:
            raise invalid(f"statistic={name[:80]} is none of {', '.join(known)}", "statistic", code="not-supported")
    return asked


def _codes(values: dict[str, list[Any]]) -> list[str]:
    """As the index stores them: from `code` with `system`, from `code=system|code`, or from `coding`."""
    system = once(values, "system")
    codes = []
    for code in values.get("code", ()):
        if not isinstance(code, str):
            raise invalid("code: a code is expected; send a Coding as coding", "code")
        codes.append(f"{system}|{code}" if system and "|" not in code else code)
    for coding in values.get("coding", ()):
        if isinstance(coding, list):
            raise invalid("coding: a Coding is expected", "coding")
        if isinstance(coding, dict):
            coding = f"{coding['system']}|{coding.get('code', '')}" if "system" in coding else coding.get("code", "")
        codes.append(coding)
    if not codes or not all(codes):
        raise invalid("$stats needs a code or a coding", "code", code="required")
    return list(dict.fromkeys(codes))


def _period(values: dict[str, list[Any]], now: datetime) -> tuple[str | None, str | None]:
    """Its start and end: the last `duration` hours, or `period`, or all time."""
    duration, period = once(values, "duration"), values.get("period", [])
    if duration is not None and period:
        raise invalid("$stats takes a duration or a period, not both", "duration")
    if duration is not None:
        return instant(now - _hours(duration)), instant(now)
    match period:
        case []:
            return None, None
        case [dict() as limits]:
            return limits.get("start"), limits.get("end")
    raise invalid("period: one Period is expected, in a Parameters resource", "period")


def _hours(text: str) -> timedelta:
    try:
        found = timedelta(hours=float(Decimal(text)))
    except (ArithmeticError, ValueError) as error:
        raise invalid(f"duration={text[:80]} is not a number of hours", "duration") from error
    if not timedelta() < found < LONGEST:
        raise invalid(f"duration={text[:80]} is not a number of hours from 0 to 200 years", "duration")
    return found


class Group(NamedTuple):
    """The observations that a code stands for, and their measured values."""

    code: str
    filter: Stage
    rows: list[Json]


class Result(NamedTuple):
    """The values of a code, all in one unit; `total` counts its observations, measured or not."""

    code: str
    sample: Sample
    precision: Precision
    unit: str | None
    total: int


async def _group(ctx: Context, everything: Stage, code: str) -> Group:
    """The code's own values or, of a panel, those of its components and members."""
    own = having(everything, code)
    rows = await _rows(ctx, measurements(own, [code]))
    if rows:
        return Group(code, own, rows)
    panels = both(everything, {"search.code": {"$in": forms(code)}})
    members = await _members(ctx, everything, panels)
    whole_ = {"$or": [panels, both(everything, {"_id": {"$in": members}})]} if members else panels
    rows = await _rows(ctx, measurements(whole_, []))
    return Group(code, whole_ if rows else own, rows)


async def _members(ctx: Context, everything: Stage, panels: Stage) -> list[str]:
    """The ids of the observations that these have as members, and of the members of those."""
    found: dict[str, None] = {}
    for _ in range(DEEPEST):
        ids = await referred_ids(ctx.store, "Observation", panels, "search.has-member", "Observation", CONSIDERED + 1)
        fresh = [id_ for id_ in ids if id_ not in found]
        found |= dict.fromkeys(fresh)
        if len(found) > CONSIDERED:
            raise _too_many()
        if not fresh:
            break
        panels = both(everything, {"_id": {"$in": fresh}})
    return sorted(found)


async def _results(ctx: Context, group: Group, unit: str | None) -> list[Result]:
    """One for each code that was measured; one without values where none was."""
    by_code: dict[str, list[Json]] = {}
    asked_for = frozenset(forms(group.code))
    for row in group.rows:
        asked = not asked_for.isdisjoint(row["codes"])
        by_code.setdefault(group.code if asked else row["codes"][0], []).append(row)
    results = []
    for code, rows in (by_code or {group.code: []}).items():
        chosen = one_unit(Counter(row.get("unit") for row in rows), unit if rows else None)
        measured = [
            (row.get("time"), row.get("unit"), row["value"].to_decimal())
            for row in rows
            if row.get("unit") in chosen.conversions
        ]
        sample = Sample(tuple((time, chosen.conversions[unit_].of(value)) for time, unit_, value in measured))
        precision = Precision.of([value for _, _, value in measured])
        total = await ctx.store.count("Observation", having(group.filter, code))
        results.append(Result(code, sample, precision, chosen.unit, total))
    return results


async def _rows(ctx: Context, stages: Sequence[Stage]) -> list[Json]:
    rows = await ctx.store.aggregate("Observation", [*stages, {"$limit": CONSIDERED + 1}])
    if len(rows) > CONSIDERED:
        raise _too_many()
    return rows


def _too_many() -> Outcome:
    return too_costly(f"$stats considers at most {CONSIDERED:,} values; shorten the period")


def _effective(period: tuple[str | None, str | None]) -> Json:
    start, end = period
    return ({"start": start} if start else {}) | ({"end": end} if end else {})


def _observation(head: Mapping[str, Any], result: Result, wanted: Sequence[str]) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [_coding(result.code)]},
        **{key: value for key, value in head.items() if value},
        "component": list(chain.from_iterable(_components(name, result) for name in wanted)),
    }


def _coding(form: str) -> Json:
    system, bar, code = form.rpartition("|")
    return {"system": system, "code": code} if bar and system else {"code": code}


def _components(name: str, result: Result) -> list[Json]:
    """One; of a regression, the gradient and the intercept, which say in `text` what they are."""
    if name == TOTAL:
        return [_component(name, result.total, None, result)]
    if name == REGRESSION:
        return _regression(result)
    unit = None if name in WITHOUT_UNIT else result.unit
    unit = squared(unit) if unit is not None and name == "variance" else unit
    try:
        value = STATISTICS[name](result.sample)
    except (OverflowError, ValueError):  # numbers beyond what a float holds
        value = None
    return [_component(name, value, unit, result)]


def _regression(result: Result) -> list[Json]:
    try:
        line = regression(result.sample)
    except (OverflowError, ValueError):  # numbers beyond what a float holds
        line = None
    if line is None:
        return [_component(REGRESSION, None, None, result)]
    gradient = _component(REGRESSION, line.gradient, daily(result.unit), result)
    intercept = _component(REGRESSION, line.intercept, result.unit, result)
    gradient["code"]["text"] = "gradient: change per day"
    intercept["code"]["text"] = f"intercept: at {instant(line.origin)}"
    return [gradient, intercept]


def _component(name: str, value: Decimal | float | int | None, unit: str | None, result: Result) -> Json:
    component: Json = {"code": {"coding": [{"system": CODES, "code": name}]}}
    if value is None or not math.isfinite(value):
        reason = {"system": ABSENT, "code": "not-a-number" if result.sample.measured else "unknown"}
        return component | {"dataAbsentReason": {"coding": [reason]}}
    written = value if isinstance(value, int) else result.precision.rounded(value)
    return component | {"valueQuantity": quantity(written, unit)}
