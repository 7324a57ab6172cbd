"""Invariants as expressions, and those that were published with a slip of the pen.

https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from __future__ import annotations

from typing import NamedTuple

from fhirserver.fhir.definitions import Constraint, Definitions
from fhirserver.fhir.fhirpath import Expression, compile_expression


class Correction(NamedTuple):
    expression: str
    reason: str


# bdl-8 and ras-2 are often listed here too: they answer nothing where their element is absent, and an empty answer
# passes (see Expression.holds), so they need no correction.
CORRECTIONS: dict[str, Correction] = {
    "tim-9": Correction(
        "offset.empty() or (when.exists() and when.where($this in ('C' | 'CM' | 'CD' | 'CV')).empty())",
        "Timing.repeat.when repeats, and `in` takes a single item",
    ),
    "que-7": Correction(
        "operator = 'exists' implies (answer is boolean)",
        "the answer is a FHIR.boolean, and Boolean names the System type",
    ),
    "hasComponentifValueStringEmpty": Correction(  # of IPS, on results of radiology
        "component.exists() or value.ofType(string).exists()",
        "value[x] is `value` in FHIRPath: https://hl7.org/fhir/R4/fhirpath.html#polymorphism",
    ),
}


def invariant(constraint: Constraint, definitions: Definitions) -> Expression:
    """The expression of a constraint, corrected where the published one cannot work."""
    correction = CORRECTIONS.get(constraint.key)
    return compile_expression(correction.expression if correction else constraint.expression, definitions)
