"""Observation/$stats: statistics of a subject's measurements. https://hl7.org/fhir/R4/observation-operation-stats.html

A code counts where an observation has it and where a component has it; of a panel, whose own code has no values, each
component gets statistics of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import invalid, too_costly
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.operations.measurements import Stage, having, matching, measurements, one_unit, quantity
from fhirserver.operations.parameters import given, once, taken, whole
from fhirserver.operations.registry import operation
from fhirserver.operations.statistics import SQUARED, STATISTICS, WITHOUT_UNIT
from fhirserver.store.hops import one_budget

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
TOTAL = "total-count"
CONSIDERED = 100_000  # values
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
    values = taken("$stats", given(ctx, request), PARAMETERS)
    subject = once(values, "subject")
    if not subject:
        raise invalid("$stats needs a subject, such as Patient/123", "subject", code="required")
    wanted, codes, period = _statistics(values), _codes(values), _period(values, ctx.now())
    include = once(values, "include")
    if include not in (None, "true", "false"):
        raise invalid(f"include={include[:80]} is neither true nor false", "include")
    sources: list[bytes] = []
    async with one_budget(ctx.store):
        limits = [f"{prefix}{time}" for prefix, time in zip(("ge", "le"), period, strict=True) if time]
        filter_ = await matching(ctx, request, subject, codes, limits)
        results = [result for code in codes for result in await _measured(ctx, filter_, code, once(values, "unit"))]
        totals = [await ctx.store.count(type_, having(filter_, result.code)) for result in results]
        if include == "true":
            most = whole(values, "limit", MOST_SOURCES, MOST_SOURCES)
            sources = [v.body for v in await ctx.store.find_stored(type_, filter_, most)]
    head = {"subject": {"reference": subject}, "effectivePeriod": _effective(period)}
    parameters = [
        b'{"name":"statistics","resource":' + json.encode(_observation(head, result, total, wanted)) + b"}"
        for result, total in zip(results, totals, strict=True)
    ]
    parameters += [b'{"name":"source","resource":' + body + b"}" for body in sources]
    content = b'{"resourceType":"Parameters","parameter":[' + b",".join(parameters) + b"]}"
    return Answer(status=200, body=content if parameters else b'{"resourceType":"Parameters"}')


def _statistics(values: dict[str, list[Any]]) -> list[str]:
    asked = list(dict.fromkeys(name for text in values.get("statistic", ()) for name in str(text).split(",")))
    if not asked:
        raise invalid("$stats needs a statistic, such as average", "statistic", code="required")
    for name in asked:
        if name not in STATISTICS and name != TOTAL:
            known = ", ".join((*STATISTICS, TOTAL))
            raise invalid(f"statistic={name[:80]} is not computed here; {known} are", "statistic", code="not-supported")
    return asked


def _codes(values: dict[str, list[Any]]) -> list[str]:
    """As the index stores them: from `code` with `system`, from `code=system|code`, or from `coding`."""
    system = once(values, "system")
    codes = [f"{system}|{code}" if system and "|" not in code else code for code in map(str, values.get("code", ()))]
    for coding in values.get("coding", ()):
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


class Result(NamedTuple):
    """The values of a code, all in one unit."""

    code: str
    values: list[Decimal]
    unit: str | None


async def _measured(ctx: Context, filter_: Stage, code: str, unit: str | None) -> list[Result]:
    """The code's own values or, of a panel, those of each component."""
    rows = await _rows(ctx, measurements(filter_, [code]))
    if not rows:
        rows = await _rows(ctx, measurements({"$and": [filter_, {"search.code": {"$eq": code}}]}, []))
    by_code: dict[str, list[Json]] = {}
    for row in rows:
        by_code.setdefault(code if code in row["codes"] else row["codes"][0], []).append(row)
    results = []
    for each, measured in (by_code or {code: []}).items():
        chosen = one_unit(list({row.get("unit") for row in measured}), unit if measured else None)
        values = [row["value"].to_decimal() for row in measured if row.get("unit") == chosen]
        results.append(Result(each, values, chosen))
    return results


async def _rows(ctx: Context, stages: Sequence[Stage]) -> list[Json]:
    rows = await ctx.store.aggregate("Observation", [*stages, {"$limit": CONSIDERED + 1}])
    if len(rows) > CONSIDERED:
        raise too_costly(f"$stats considers at most {CONSIDERED:,} values; shorten the period")
    return rows


def _effective(period: tuple[str | None, str | None]) -> Json:
    start, end = period
    return ({"start": start} if start else {}) | ({"end": end} if end else {})


def _observation(head: Mapping[str, Any], result: Result, total: int, wanted: Sequence[str]) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [_coding(result.code)]},
        **{key: value for key, value in head.items() if value},
        "component": [_component(name, result, total) for name in wanted],
    }


def _coding(form: str) -> Json:
    system, bar, code = form.rpartition("|")
    return {"system": system, "code": code} if bar and system else {"code": code}


def _component(name: str, result: Result, total: int) -> Json:
    value = total if name == TOTAL else STATISTICS[name](result.values)
    component: Json = {"code": {"coding": [{"system": CODES, "code": name}]}}
    if value is None:
        reason = {"system": ABSENT, "code": "not-a-number" if result.values else "unknown"}
        return component | {"dataAbsentReason": {"coding": [reason]}}
    return component | {"valueQuantity": quantity(value, _unit(name, result.unit))}


def _unit(name: str, unit: str | None) -> str | None:
    if unit is None or name in WITHOUT_UNIT:
        return None
    system, bar, code = unit.rpartition("|")
    return f"{system}{bar}({code})2" if name in SQUARED else unit
