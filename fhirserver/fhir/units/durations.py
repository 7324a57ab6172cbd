"""The units of FHIRPath: those of UCUM, and calendar durations in words. http://hl7.org/fhirpath/N1/#time-valued-quantities"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from fhirserver.fhir.units.amounts import Canonical, canonical
from fhirserver.fhir.units.grammar import NoUnit

_WORDS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR = {word + ending: word for word in _WORDS for ending in ("", "s")}
_DURATIONS = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}


@lru_cache(4096)
def canonical_unit(unit: str) -> Canonical:
    """Of a unit of FHIRPath, a calendar duration too. One of its own for what is unknown, or on a scale."""
    word = CALENDAR.get(unit)
    try:
        found = canonical(_DURATIONS.get(word, "") if word else unit)
    except NoUnit:
        return Canonical(Fraction(1), ((word or unit, 1),))
    return found if found.scale is None else Canonical(Fraction(1), ((unit, 1),))
