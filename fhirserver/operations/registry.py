"""Operations by type, name and level: https://hl7.org/fhir/R4/operations.html

A module registers its operations by decorating them; the CapabilityStatement lists what is here.
"""

from __future__ import annotations

from collections.abc import Callable

from fhirserver.context import Described, Operation, Run

OPERATIONS: dict[tuple[str, str, bool], Operation] = {}


def operation(name: str, *types: str, instance: bool, definition: str | Described) -> Callable[[Run], Run]:
    """Register on types ("" is the system level); `instance`: it runs on one resource.

    `definition` is the canonical URL of what HL7 defines; what is our own is described, and served as it is described.
    """

    def register(run: Run) -> Run:
        for type_ in types:
            if (type_, name, instance) in OPERATIONS:
                raise ValueError(f"${name} is already defined on {type_ or 'the system'}")
            OPERATIONS[type_, name, instance] = Operation(name, instance, definition, run)
        return run

    return register
