"""A search as a value: what to find, in which order, and how to answer. `query_string` makes it of what is typed.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Issue
from fhirserver.search.contained import field as contained_key
from fhirserver.search.criteria import Criterion
from fhirserver.search.includes import Include
from fhirserver.search.parameters import Parameter

# https://hl7.org/fhir/R4/search.html#return
ONCE = frozenset(
    {
        "_count",
        "_maxresults",
        "_cursor",
        "_total",
        "_summary",
        "_contained",
        "_containedType",
        "_explain",
        "_format",
        "_pretty",
    }
)
INCLUSIONS = frozenset({"_include", "_revinclude"})
ITERATE = frozenset({"iterate", "recurse"})  # the second is what STU3 called it
RESULT = ONCE | INCLUSIONS | {"_sort", "_elements"}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "_total": ("none", "estimate", "accurate"),
    "_summary": ("true", "text", "data", "count", "false"),
    "_contained": ("false", "true", "both"),
    "_containedType": ("container", "contained"),
    "_explain": ("true", "false"),
}


class SortKey(NamedTuple):
    """`largest`: descending, a resource may have several values, of which the largest comes first."""

    code: str
    parameter: Parameter
    descending: bool
    largest: bool = False


# https://hl7.org/fhir/R4/search.html#sort; the most relevant first is `-_score`, which is how a search for words is
# sorted where it does not say
SCORE = "_score"
BY_SCORE = SortKey(SCORE, Parameter(SCORE, "special", "", (), ""), descending=True)


@dataclass(frozen=True, slots=True)
class Query:
    """What to find (what meets all criteria), and how to answer. `total` is None where the client does not say.

    `most` is how many matches all pages together have at most (`_maxresults`, docs/search.md).
    `contained` and `contained_type` are what the client says; `inside` is the type of contained resources, where these
    are the matches themselves. `names` are those of the first criteria, as the client wrote them.
    `ignored` is what was not used and why, `used` the pairs that were, as they were written. `partial`: not every
    resource is indexed for what is asked, so that nobody can say how many match. `kept` is what was made of it before.
    """

    type_: str
    criteria: tuple[Criterion, ...] = ()
    names: tuple[str, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = 20
    most: int | None = None
    total: str | None = None
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    summary: str = "false"
    elements: tuple[str, ...] = ()
    cursor: str | None = None
    explain: bool = False
    compartment: str | None = None
    contained: str = "false"
    contained_type: str = "container"
    inside: str | None = None
    ignored: tuple[Issue, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
    partial: bool = False
    kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def place(self) -> str:
        """Where its matches stand among those of other types: what a type contains comes after what is of it."""
        return self.type_ if self.inside is None else f"{self.type_}{contained_key(self.inside)}"

    @property
    def scored(self) -> bool:
        """Whether the most relevant come first."""
        return any(key.code == SCORE for key in self.sort)
