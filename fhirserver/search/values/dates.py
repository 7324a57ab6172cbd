"""Points and periods of time, half-open. https://hl7.org/fhir/R4/search.html#date"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fhirserver.fhir.dates import EARLIEST, LATEST, parse
from fhirserver.fhir.outcome import Outcome

Json = dict[str, Any]


def date(text: str) -> list[Json]:
    try:
        low, high, _ = parse(text)
    except Outcome:  # validation may be off; what is no date is not found by date
        return []
    return [{"lo": low, "hi": high}]


def period(value: Json) -> list[Json]:
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return []
    try:
        low = EARLIEST if start is None else parse(start).low
        high = LATEST if end is None else parse(end).high
    except Outcome:
        return []
    return [{"lo": low, "hi": high}] if low < high else []


def timing(value: Json) -> list[Json]:
    """The outer limits only: https://hl7.org/fhir/R4/search.html#date"""
    spans = [span for event in value.get("event") or () if event is not None for span in date(event)]
    bounds = (value.get("repeat") or {}).get("boundsPeriod")
    if bounds:
        spans += period(bounds)
    if not spans:
        return []
    return [{"lo": min(span["lo"] for span in spans), "hi": max(span["hi"] for span in spans)}]


def earliest(spans: list[Json]) -> datetime:
    first: datetime = min(span["lo"] for span in spans) if len(spans) > 1 else spans[0]["lo"]
    return first


def latest(spans: list[Json]) -> datetime:
    last: datetime = max(span["lo"] for span in spans)
    return last
