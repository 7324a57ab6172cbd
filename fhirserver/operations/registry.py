"""Operations by type and name: https://hl7.org/fhir/R4/operations.html

A module registers its operations by decorating them; the CapabilityStatement lists what is here.
"""

from __future__ import annotations

from collections.abc import Callable

from fhirserver.context import Operation, Run

OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(name: str, *types: str, instance: bool, definition: str) -> Callable[[Run], Run]:
    """Register on types ("" is the system level); `instance`: it runs on one resource."""

    def register(run: Run) -> Run:
        for type_ in types:
            if (type_, name) in OPERATIONS:
                raise ValueError(f"${name} is already defined on {type_ or 'the system'}")
            OPERATIONS[type_, name] = Operation(name, instance, definition, run)
        return run

    return register
