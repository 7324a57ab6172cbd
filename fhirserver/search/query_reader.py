"""What one pair of a query string after the other says of a type: criteria, an order, and how to answer.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cached_property

from fhirserver.fhir.outcome import Outcome, in_query, invalid
from fhirserver.search.canonicals import versioned
from fhirserver.search.chains import Chains, is_chain
from fhirserver.search.criteria import LIST, Clause, Criterion, Value, kind
from fhirserver.search.filter_criteria import Filters
from fhirserver.search.forms import boolean, case_matters, repeats
from fhirserver.search.full_text import sought
from fhirserver.search.includes import Include, from_all, including, to_one
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.query import BY_SCORE, CHOICES, INCLUSIONS, ITERATE, ONCE, RESULT, SCORE, SortKey
from fhirserver.search.readers import MAX_LENGTH, VALUES, Typed, Unknown, missing, shown, split, unknown_parameter
from fhirserver.search.text_language import parse as parse_text
from fhirserver.search.uses import check_modifier, check_values

FILTER = "_filter"
NAMED_QUERY = "_query"  # https://hl7.org/fhir/R4/search.html#query: one that is not known is refused, also when lenient
UNMODIFIED = frozenset({FILTER, NAMED_QUERY, "_type"})
MEANT = sorted({*RESULT, FILTER, LIST.code, "_has"} - {"_cursor"})  # by a name that is unknown, beside the parameters
MAX_VALUES = 1000
MAX_ELEMENTS = 1000
MAX_SORT_KEYS = 4


class QueryReader:
    """Collects what the pairs say of a type, one at a time. Raises Unknown or a 400 Outcome for what it cannot read."""

    def __init__(self, type_: str, registry: Registry, base_url: str, *, containers: bool = False) -> None:
        self.type = type_
        self.containers = containers  # are what inclusions start from
        self.registry = registry
        self.base_url = base_url
        self.parameters = registry[type_]
        self.typed = Typed(self.parameters["_id"], base_url, registry.definitions.resource_types)
        self.criteria: list[Criterion] = []
        self.sort: list[SortKey] = []
        self.includes: list[Include] = []
        self.revincludes: list[Include] = []
        self.elements: list[str] = []
        self.once: dict[str, str] = {}
        self.values = 0

    @cached_property  # few searches need it, and it refers back: a cycle that only the collector would find
    def chains(self) -> Chains:
        return Chains(self.registry, self._elsewhere)

    @cached_property
    def filters(self) -> Filters:
        return Filters(self.registry, self.chains, self.typed)

    def read(self, name: str, value: str) -> None:
        code, colon, modifier = name.partition(":")
        if code not in RESULT:
            self.criteria.append(self._criterion(name, value))
        elif not value and code != "_cursor":  # a form sends the fields that were left empty too
            raise Unknown(f"{name}: has no value")
        elif modifier in ITERATE and code in INCLUSIONS:
            self._include(code, value, iterate=True)
        elif colon:
            raise invalid(f"the modifier :{shown(modifier)} is not supported here", code="not-supported")
        elif code in ONCE:
            self._result(code, value)
        else:
            _MANY[code](self, value)

    def _criterion(self, name: str, value: str) -> Criterion:
        if name in UNMODIFIED and (not value or value.isspace()):
            raise Unknown(f"{name}: has no value")
        if name == FILTER:
            return self.filters.read(self.type, value)
        if name == NAMED_QUERY:
            raise invalid(f"{shown(value)} is no query that is known here; there are none", code="not-supported")
        if is_chain(name):
            return self.chains.read(self.type, name, value)
        code, colon, modifier = name.partition(":")
        return self._clause(code, modifier if colon else None, value)

    def order(self) -> tuple[SortKey, ...]:
        worded = any(sought(self.criteria))
        if not worded and any(key.code == SCORE for key in self.sort):
            raise invalid(
                f"_sort: {SCORE} is how well words are matched: it needs _text or _content", in_query("_sort")
            )
        return tuple(self.sort) or ((BY_SCORE,) if worded else ())

    def _clause(self, code: str, modifier: str | None, value: str) -> Criterion:
        parameter = LIST if code == LIST.code else self.parameters.get(code)
        if parameter is None or (kind(parameter), None) not in VALUES:
            if modifier is not None and code in UNMODIFIED:
                raise _no_modifier(modifier)
            beside = MEANT if code.startswith("_") else ()
            raise unknown_parameter(self.type, code, (*self.parameters, *beside))
        typed, modifier, read = self._reading(parameter, modifier)
        if not value or value.isspace():
            raise Unknown(f"{code}: has no value")
        if kind(parameter) == "text" and modifier is None:
            if len(value) > MAX_LENGTH:
                raise invalid(f"a value has at most {MAX_LENGTH} characters", code="too-long")
            return parse_text(value, parameter)
        texts = split(value, ",")
        self.values += len(texts)
        if self.values > MAX_VALUES:
            raise invalid(f"a search has at most {MAX_VALUES} values", code="too-costly")
        if modifier == "missing" and len(texts) > 1:
            raise invalid("is either true or false")
        for text in texts:
            if not text or text.isspace():
                raise invalid("one of its values is empty")
            if len(text) > MAX_LENGTH:
                raise invalid(f"a value has at most {MAX_LENGTH} characters", code="too-long")
        read_values = tuple(read(text, typed) for text in texts)
        check_values(parameter, read_values)
        return versioned(self.registry, self.type, Clause(parameter, modifier, read_values))

    def _elsewhere(self, type_: str, name: str, value: str) -> Criterion:
        """The end of a chain: a criterion about another type, under the limits of this search."""
        reader = QueryReader(type_, self.registry, self.base_url)
        reader.values = self.values
        code, colon, modifier = name.partition(":")
        try:
            return reader._clause(code, modifier if colon else None, value)
        finally:
            self.values = reader.values

    def _reading(
        self, parameter: Parameter, modifier: str | None
    ) -> tuple[Typed, str | None, Callable[[str, Typed], Value]]:
        """How the values are read under this modifier. https://hl7.org/fhir/R4/search.html#modifiers"""
        exact = case_matters(self.registry.definitions, parameter, self.type)
        truth = boolean(self.registry.definitions, parameter, self.type)
        typed = self.typed._replace(parameter=parameter, any_case=not exact, boolean=truth)
        if modifier == "missing" and parameter is not LIST:
            check_modifier(parameter, modifier)
            return typed, modifier, missing
        if parameter.type == "reference" and modifier in self.registry.definitions.resource_types:
            if modifier in self.registry.reference_targets(self.type, parameter.code):
                check_modifier(parameter, "[type]")
                return typed._replace(target=modifier), None, VALUES["reference", None]
        elif read := VALUES.get((kind(parameter), modifier)):
            check_modifier(parameter, modifier)
            return typed, modifier, read
        raise _unknown_modifier(parameter, modifier or "")

    def _result(self, name: str, value: str) -> None:
        if name in self.once:
            raise invalid("stands twice")
        if name in CHOICES and value not in CHOICES[name]:
            raise invalid(f"{shown(value)!r} is none of {', '.join(CHOICES[name])}")
        if name == "_pretty" and value not in ("true", "false"):  # in a Bundle's entry
            raise Unknown(f"_pretty: {shown(value)!r} is neither true nor false")
        if name in ("_count", "_maxresults"):
            _whole_number(value, least=int(name == "_maxresults"))
        self.once[name] = value

    def read_sort(self, value: str) -> None:
        """https://hl7.org/fhir/R4/search.html#sort"""
        for text in value.split(","):
            code = text.removeprefix("-")
            if not code:
                raise invalid("one of its keys is empty")
            if is_chain(code):
                raise invalid(f"{shown(code)} is a chain; a search is sorted by parameters of {self.type} itself")
            parameter = BY_SCORE.parameter if code == SCORE else self.parameters.get(code)
            if parameter is None:
                raise invalid(str(unknown_parameter(self.type, code, self.parameters)))
            if (parameter.type in ("composite", "special") and code != SCORE) or kind(parameter) == "text":
                raise invalid(f"{code} is {kind(parameter)}; it has no order")
            descending = text != code
            largest = descending and code != SCORE and repeats(self.registry.definitions, parameter, self.type)
            key = SortKey(code, parameter, descending, largest)
            if any(other.code == code and other != key for other in self.sort):
                raise invalid(f"{code} stands in it both ways, ascending and descending")
            if key not in self.sort:
                self.sort.append(key)
        if len(self.sort) > MAX_SORT_KEYS:
            raise invalid(f"at most {MAX_SORT_KEYS} keys")

    def read_elements(self, value: str) -> None:
        """https://hl7.org/fhir/R4/search.html#elements"""
        names = value.split(",")
        if not all(_element.fullmatch(name) for name in names):
            raise invalid(f"{shown(value)!r} is not a list of elements")
        self.elements += names
        if len(self.elements) > MAX_ELEMENTS:
            raise invalid(f"a search has at most {MAX_ELEMENTS} of them", code="too-costly")

    def read_include(self, value: str) -> None:
        self._include("_include", value)

    def read_revinclude(self, value: str) -> None:
        self._include("_revinclude", value)

    def _include(self, code: str, value: str, *, iterate: bool = False) -> None:
        """https://hl7.org/fhir/R4/search.html#revinclude; what iterates may start from any type."""
        forward = code == "_include"
        if forward and iterate and value == "*":
            self.includes.extend(from_all(self.registry))
            return
        if forward and value == "*":
            self.includes.extend(including(f"{self.type}:*", self.registry, None))  # of a Binary there are none
            return
        if value == "*" and not iterate and not self.containers:
            self.revincludes.extend(to_one(self.registry, self.type))
            return
        if value == "*":
            reason = "brings what refers to the matches of a type; further on, and of containers, name what is wanted"
            raise invalid(f"* {reason}: Observation:*, Condition:*", code="not-supported")
        toward = None if forward or iterate or self.containers else self.type
        found = including(value, self.registry, toward, iterate)
        if not found:
            known = toward is not None and including(value, self.registry, None)
            reason = f"is no reference to {self.type}" if known else "names no reference known here"
            raise Unknown(f"{code}: {shown(value)} {reason}")
        if toward is not None and found[0].target not in (None, toward):
            sentence = f"{shown(value)} leads to {found[0].target}, which is not what is searched"
            raise Unknown(f"{code}: {sentence}; _revinclude:iterate leads to what was included")
        if forward and not iterate and not self.containers and found[0].source != self.type:
            sentence = f"{shown(value)} starts from {found[0].source}, which is not what is searched"
            raise Unknown(f"{code}: {sentence}; _include:iterate starts from what was included")
        (self.includes if forward else self.revincludes).extend(found)


_MANY: Mapping[str, Callable[[QueryReader, str], None]] = {
    "_sort": QueryReader.read_sort,
    "_elements": QueryReader.read_elements,
    "_include": QueryReader.read_include,
    "_revinclude": QueryReader.read_revinclude,
}

_element = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,127}")
_whole = re.compile(r"[0-9]{1,9}")


def _whole_number(text: str, least: int) -> int:
    if not _whole.fullmatch(text) or int(text) < least:
        raise invalid(f"{shown(text)!r} is not a whole number from {least} to 999999999")
    return int(text)


def _no_modifier(modifier: str) -> Outcome:
    return invalid(f"the modifier :{shown(modifier)} is not supported here; it takes none", code="not-supported")


def _unknown_modifier(parameter: Parameter, modifier: str) -> Outcome:
    """Without it the search would be another one, so it is refused, also when lenient."""
    if parameter is LIST:
        return _no_modifier(modifier)
    known = ["missing", *(each for type_, each in VALUES if type_ == kind(parameter) and each)]
    if parameter.type == "reference":
        known += parameter.targets[:8]
    near = get_close_matches(modifier[:64], known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(f':{each}' for each in known)}"
    return invalid(f"the modifier :{shown(modifier)} is not supported here; {hint}", code="not-supported")
