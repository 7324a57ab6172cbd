"""UCUM: is this a unit, what is it in base units, how much is it in another, which of two is more. https://ucum.org/ucum

All of it is pure. A code is parsed (`grammar`), worked out in base units (`amounts`), and put in words (`names`);
`conversions` is what others ask. What is no unit of UCUM is comparable with itself only.
"""

from fhirserver.fhir.units.amounts import Base, Canonical, base, canonical
from fhirserver.fhir.units.conversions import (
    KEPT,
    SAME,
    Amount,
    Conversion,
    canonicalise,
    compare,
    conversion,
    convert,
    fault,
)
from fhirserver.fhir.units.durations import CALENDAR, canonical_unit
from fhirserver.fhir.units.grammar import LONGEST, NoUnit
from fhirserver.fhir.units.names import name, symbol
from fhirserver.fhir.units.table import UCUM

__all__ = [
    "CALENDAR",
    "KEPT",
    "LONGEST",
    "SAME",
    "UCUM",
    "Amount",
    "Base",
    "Canonical",
    "Conversion",
    "NoUnit",
    "base",
    "canonical",
    "canonical_unit",
    "canonicalise",
    "compare",
    "conversion",
    "convert",
    "fault",
    "name",
    "symbol",
]
