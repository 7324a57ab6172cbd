"""What an evaluation carries: the resource it started from, its variables, and how much work is left to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.fhirpath.elements import Elements, Node
from fhirserver.fhir.fhirpath.error import FhirPathError

MAX_STEPS = 500_000  # of expressions that may come from outside; invariants are not counted
MAX_ITEMS = 200_000


class Hooks(NamedTuple):
    """What only the caller can know; each may be absent, and answer None for "unknown"."""

    resolve: Callable[[str], dict[str, Any] | None] | None = None
    member_of: Callable[[Any, str], bool | None] | None = None
    conforms_to: Callable[[Any, str], bool | None] | None = None


NO_HOOKS = Hooks()


class Scope(msgspec.Struct, gc=False, eq=False):
    """One evaluation. `index` and `total` belong to the innermost function that sets them.

    Invariants make one for every element, hence a struct.
    """

    elements: Elements
    context: Node
    resource: Node
    root: Node
    hooks: Hooks = NO_HOOKS
    variables: Mapping[str, Any] | None = None
    steps: int = sys.maxsize
    index: int = 0
    total: Sequence[Any] = ()
    moment: datetime | None = None

    @property
    def definitions(self) -> Definitions:
        return self.elements.definitions

    def spend(self, steps: int) -> None:
        """An expression from outside must end: http://hl7.org/fhirpath/N1/ sets no bound, a server has to."""
        self.steps -= steps
        if self.steps < 0:
            raise FhirPathError("the evaluation takes too many steps")

    def now(self) -> datetime:
        """The same moment for the whole evaluation: http://hl7.org/fhirpath/N1/#current-date-and-time-functions"""
        if self.moment is None:
            self.moment = datetime.now(UTC)
        return self.moment

    def external(self, name: str) -> list[Any]:
        """%name: http://hl7.org/fhirpath/N1/#environment-variables"""
        if self.variables and name in self.variables:
            value = self.variables[name]
            values = value if isinstance(value, list) else [] if value is None else [value]
            return [self.elements.root(item) if isinstance(item, dict) else item for item in values]
        raise FhirPathError(f"%{name} is not defined")

    def resolve(self, reference: str) -> list[Any]:
        if reference.startswith("#"):
            root = self.root
            if reference == "#":
                return [root]
            contained = root.value.get("contained") if type(root.value) is dict else None
            for resource in contained if type(contained) is list else ():
                if type(resource) is dict and resource.get("id") == reference[1:]:
                    return [self.elements.root(resource)]
            return []
        found = self.hooks.resolve(reference) if self.hooks.resolve else None
        return [] if found is None else [self.elements.root(found)]
