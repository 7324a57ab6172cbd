"""What a search asks: values as they are compared, and what is asked of them.

`readers` makes the values of what a client types. https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from fhirserver.fhir.units import UCUM, base
from fhirserver.search.parameters import Parameter
from fhirserver.search.values.tokens import any_case

# What is on a List; no element of the resource says so. https://hl7.org/fhir/R4/search.html#list
LIST = Parameter("_list", "special", "", ("Resource",), "")
_kinds = {"_id": "id", "_lastUpdated": "instant", "_text": "text", "_content": "text", "_list": "list"}


class Token(NamedTuple):
    """`system|code`. A `system` of None was not said, one of "" is said to be absent; a `code` of None is any.

    `any_case`: where its system does not tell codes apart by their case, or nobody knows.
    """

    system: str | None
    code: str | None
    any_case: bool = False

    @property
    def form(self) -> str:
        """As the index stores it."""
        return self.code or "" if self.system is None else f"{self.system}|{self.code or ''}"

    @property
    def forms(self) -> tuple[str, ...]:
        """Those by which it is found: of a system where case does not matter, the one that all spellings share."""
        code = any_case(self.system, self.code) if self.any_case and self.code else None
        if code is None:
            return (self.form,)
        if self.system is None:  # also of systems that tell codes apart by their case
            return self.form, code
        return (f"{self.system}|{code}",)


class Codes(NamedTuple):
    """Tokens as the index stores them: what a value set means, or what is above or below a code."""

    forms: tuple[str, ...]


class Dates(NamedTuple):
    """A prefix and the instants low ≤ t < high."""

    prefix: str
    low: datetime
    high: datetime


class Number(NamedTuple):
    """A prefix, the number and its implicit range low ≤ n < high: half a unit of the last digit either way."""

    prefix: str
    value: Decimal
    low: Decimal
    high: Decimal


class Quantity(NamedTuple):
    """A number in a unit: `system|code`, or a code or printed unit, or any (None)."""

    number: Number
    unit: str | None

    @property
    def foreign(self) -> str | None:
        """The unit, where it is said to be one of UCUM and is none."""
        system, _, code = (self.unit or "").rpartition("|")
        return code if system == UCUM and base(code) is None else None


class Reference(NamedTuple):
    """The stored references that answer the one typed: several where only an id was given."""

    forms: tuple[str, ...]


class Near(NamedTuple):
    """A place in degrees, and how many metres around it."""

    latitude: float
    longitude: float
    metres: float


class Phrase(NamedTuple):
    """Words in a row; `prefix`: the last is how a word begins."""

    words: tuple[str, ...]
    prefix: bool = False


class Composite(NamedTuple):
    """One value for each component."""

    parts: tuple[Value, ...]


Value = str | bool | Token | Codes | Dates | Number | Quantity | Reference | Composite | Near | Phrase


class Clause(NamedTuple):
    """One parameter and the values of which any may match. The modifier `:[type]` is already in its references."""

    parameter: Parameter
    modifier: str | None
    values: tuple[Value, ...]


class Chain(NamedTuple):
    """Resources that refer by `parameter` to what meets a criterion; `reverse`: that such others refer to by it.

    `others` is a criterion for each type at the far end. Any may be met, and its values are those of that type.
    """

    parameter: Parameter
    others: tuple[tuple[str, Criterion], ...]
    reverse: bool = False


# As tuples, all of some and any of them would be equal, and what one led to would be taken for the other's.
@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Criterion, ...]


class Negation(NamedTuple):
    """All other resources, those without a value too."""

    part: Criterion


class Within(NamedTuple):
    """One element of a composite parameter of which `part` is true: its clauses are about the components."""

    parameter: Parameter
    part: Criterion


class Contained(NamedTuple):
    """What contains a resource of a type of which `part` is true; `by`: and refers to it by this parameter."""

    type_: str
    part: Criterion
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Belonging:
    """What is in one of these compartments; where none is named, what is in no patient's."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReferredFrom:
    """What resources in one of these compartments refer to. Like a chain, it is resolved before it is a filter."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaredFor:
    """What is in the records of the patients of a practitioner. Resolved before it is a filter.

    With those that are open to an `account` in an emergency, where one is named.
    `organizations`: also of the patients of the organizations where the practitioner works. `patient`: it is all or
    nothing, as that patient is one of them or not.
    """

    practitioner: str
    account: str | None
    organizations: bool
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class EntrustedTo:
    """What is in the records that the record itself entrusts to a person, for a permission of cruds.

    `person` is a reference, `RelatedPerson/1`. Resolved before it is a filter; `patient` as of `CaredFor`.
    """

    person: str
    permission: str
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class Consented:
    """What Consents and labels leave to who asks, for a permission of cruds. Resolved before it is a filter."""

    permission: str


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A filter that was made before and is kept: what is large, and the same for many searches."""

    filter: dict[str, Any]


Criterion = (
    Clause
    | Chain
    | AllOf
    | AnyOf
    | Negation
    | Within
    | Contained
    | Belonging
    | ReferredFrom
    | CaredFor
    | EntrustedTo
    | Consented
    | Ready
)


def clauses(criterion: Criterion) -> Iterator[Clause]:
    """All that a criterion is made of, at the ends of its chains too."""
    match criterion:
        case Clause():
            yield criterion
        case Chain(others=others):
            for _, other in others:
                yield from clauses(other)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from clauses(part)
        case Negation(part) | Within(part=part) | Contained(part=part):
            yield from clauses(part)


def kind(parameter: Parameter) -> str:
    """The parameter's type, or what is particular to `_id`, `_lastUpdated`, `_text` and `_content`."""
    return _kinds.get(parameter.code, parameter.type)


# What only value sets, code systems, lists and hierarchies can say: resolved into equality before it is a filter.
RESOLVED = frozenset(
    {
        *(("token", modifier) for modifier in ("in", "not-in", "above", "below")),
        *(("reference", modifier) for modifier in ("above", "below")),
        ("list", None),
    }
)
