"""A search as a value: the pairs of a query string, parsed against the parameters of a type.

Values and modifiers that cannot be read are refused; names that are not known are refused or reported, as
`Prefer: handling` says.
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Issue, Outcome, in_query, invalid
from fhirserver.fhir.units import fault
from fhirserver.search.canonicals import versioned
from fhirserver.search.chains import Chains, is_chain
from fhirserver.search.contained import field as contained_key
from fhirserver.search.contained import of_container, unasked
from fhirserver.search.criteria import LIST, Clause, Composite, Criterion, Quantity, Value, clauses, kind
from fhirserver.search.filter_criteria import Filters
from fhirserver.search.forms import boolean, case_matters, repeats
from fhirserver.search.full_text import sought
from fhirserver.search.impossible import impossible
from fhirserver.search.includes import Include, from_all, including, to_one
from fhirserver.search.parameters import Parameter, Registry
from fhirserver.search.readers import (
    MAX_LENGTH,
    VALUES,
    Typed,
    Unfit,
    Unknown,
    missing,
    shown,
    split,
    unknown_parameter,
)
from fhirserver.search.text_language import parse as parse_text
from fhirserver.search.unused import Parts, unused
from fhirserver.search.uses import check_modifier, check_repeats, check_values

FILTER = "_filter"
NAMED_QUERY = "_query"  # https://hl7.org/fhir/R4/search.html#query: one that is not known is refused, also when lenient
UNMODIFIED = frozenset({FILTER, NAMED_QUERY, "_type"})
MAX_PARAMETERS = 200
MAX_VALUES = 1000
MAX_CHARACTERS = 1_000_000
SHORT = 500  # characters of a search that is worth remembering
MAX_SORT_KEYS = 4

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


def parse(
    type_: str,
    pairs: Sequence[tuple[str, str]],
    registry: Registry,
    *,
    strict: bool,
    base_url: str,
    default_count: int,
    max_count: int,
) -> Query:
    """Raises a 400 Outcome that names the parameter."""
    (query,) = parse_each(
        (type_,),
        pairs,
        registry,
        strict=strict,
        base_url=base_url,
        default_count=default_count,
        max_count=max_count,
    )
    return query


def parse_each(
    types: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    registry: Registry,
    *,
    strict: bool,
    base_url: str,
    default_count: int,
    max_count: int,
) -> tuple[Query, ...]:
    """A query for each type, alike but for what the parameters are there: what one of them does not know, none uses.

    Short searches of one type are remembered, for apps ask the same again and again.
    """
    size = _checked_size(pairs)
    read = _parsed if size <= SHORT and len(types) == 1 else _parsed.__wrapped__
    return read(tuple(types), tuple(pairs), registry, strict, base_url, default_count, max_count)


@lru_cache(maxsize=2_000)
def _parsed(
    types: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    registry: Registry,
    strict: bool,
    base_url: str,
    default_count: int,
    max_count: int,
) -> tuple[Query, ...]:
    _check_text(pairs)
    said = dict(pairs)
    contained, kind_ = said.get("_contained", "false") != "false", said.get("_containedType", "container")
    if contained and len(types) > 1:
        sentence = "_contained: contained resources are searched by one type"
        raise invalid(sentence, in_query("_contained"), code="not-supported")
    readers = [_Reader(type_, registry, base_url, containers=contained and kind_ == "container") for type_ in types]
    ignored: list[Issue] = []
    used: list[tuple[str, str]] = []
    names: list[str] = []  # of the criteria
    for name, value in pairs:
        where = in_query(name)
        try:
            _read(readers, name, value)
        except Unknown as unknown:
            if strict or isinstance(unknown, Unfit):
                raise invalid(str(unknown), where, code="not-supported") from unknown
            ignored.append(Issue("warning", "not-supported", f"{unknown}; it was ignored", where))
        except Outcome as refusal:
            raise invalid(f"{name[:80]}: {refusal}", where, code=refusal.issues[0].code) from refusal
        else:
            used.append((name, value))
        if len(readers[0].criteria) > len(names):
            names.append(name)
            ignored += _in_vain(readers, name, strict)
    for reader in readers:
        check_repeats(reader.criteria)
    first = readers[0]
    if contained:
        _check_contained(first, names)
    includes = tuple(dict.fromkeys(each for reader in readers for each in reader.includes))
    revincludes = tuple(dict.fromkeys(each for reader in readers for each in reader.revincludes))
    most = _whole_number(first.once["_maxresults"], least=1) if "_maxresults" in first.once else None
    asked = first.once.get("_count")
    count = default_count if asked is None else _whole_number(asked)
    if count > max_count:
        ignored.append(
            Issue("information", "too-costly", f"_count: a page has at most {max_count} matches", in_query("_count"))
        )
        used = [(name, str(max_count) if name == "_count" else value) for name, value in used]
    summary = first.once.get("_summary", "false")
    unmet = "_containedType" in first.once and not contained
    parts = Parts(first.elements, summary, bool(includes or revincludes), unmet)
    answered = registry.definitions.resource_types if contained else types
    for dropped, sentence in unused(registry.definitions, answered, parts):
        where = in_query(next((name for name, _ in used if name.partition(":")[0] in dropped), "_elements"))
        if strict:
            raise invalid(sentence, where, code="not-supported")
        ignored.append(Issue("warning", "not-supported", f"{sentence}; it was ignored", where))
        used = [pair for pair in used if pair[0].partition(":")[0] not in dropped]
        summary = "false" if "_summary" in dropped else summary
        includes, revincludes = ((), ()) if "_include" in dropped else (includes, revincludes)
    return tuple(
        Query(
            reader.type,
            criteria=tuple(reader.criteria),
            names=tuple(names),
            sort=reader.order(),
            count=min(count, max_count),
            most=most,
            total=first.once.get("_total"),
            includes=includes,
            revincludes=revincludes,
            summary=summary,
            elements=tuple(dict.fromkeys(first.elements)),
            cursor=first.once.get("_cursor"),
            explain=first.once.get("_explain") == "true",
            contained=first.once.get("_contained", "false"),
            contained_type=first.once.get("_containedType", "container"),
            ignored=tuple(ignored),
            used=tuple(pair for pair in used if pair[0] != "_cursor"),
        )
        for reader in readers
    )


def _in_vain(readers: Sequence[_Reader], name: str, strict: bool) -> Iterator[Issue]:
    """What the last criterion asks for and nothing can meet, or not as it is written."""
    last = [(reader.type, reader.criteria[-1]) for reader in readers]
    for sentence in impossible(last):
        if strict:
            raise invalid(f"{name[:80]}: {sentence}", in_query(name), code="value")
        yield Issue("warning", "value", f"{name[:80]}: {sentence}", in_query(name))
    for sentence in _foreign_units(last[0][1]):
        yield Issue("warning", "code-invalid", sentence, in_query(name))


def _check_contained(reader: _Reader, names: Sequence[str]) -> None:
    """Of what is contained, what is known of it alone can be asked; it has no place in an order but its container's."""
    for name, criterion in zip(names, reader.criteria, strict=True):
        if (reason := unasked(criterion)) and not of_container(criterion):
            raise invalid(reason, in_query(name), code="not-supported")
    for key in reader.sort:
        if key.code not in ("_id", "_lastUpdated"):
            sentence = f"_sort: {key.code}: contained resources are sorted by _id or _lastUpdated of what contains them"
            raise invalid(sentence, in_query("_sort"), code="not-supported")


def _foreign_units(criterion: Criterion) -> Iterator[str]:
    """What is no unit of UCUM is not refused, for records hold such units too."""
    for clause in clauses(criterion):
        for value in clause.values:
            for part in value.parts if isinstance(value, Composite) else (value,):
                if isinstance(part, Quantity) and part.foreign is not None:
                    sentence = f"{clause.parameter.code}, unit {shown(part.foreign)!r}: {fault(part.foreign)}"
                    yield f"{sentence}; it was compared with the same unit only"


def _read(readers: Sequence[_Reader], name: str, value: str) -> None:
    """All must understand what is asked of a resource, and alike; an inclusion may start from one type only."""
    if len(readers) == 1:
        readers[0].read(name, value)
        return
    code = name.partition(":")[0]
    if code == "_sort":
        for key in value.split(","):
            if refusal := _unlike(readers, key.removeprefix("-")):
                raise invalid(refusal)
    elif refusal := _unlike(readers, code):
        raise Unknown(refusal)
    before = [len(reader.criteria) for reader in readers]
    unknown: list[Unknown] = []
    for reader in readers:
        try:
            reader.read(name, value)
        except Unknown as error:
            unknown.append(error)
    if unknown and (code not in INCLUSIONS or len(unknown) == len(readers)):
        for reader, length in zip(readers, before, strict=True):
            del reader.criteria[length:]
        raise unknown[0]


def _unlike(readers: Sequence[_Reader], code: str) -> str | None:
    """A name that means a date in one type and a text in another has no values and no order that they share."""
    types: dict[str, str] = {}
    for reader in readers:
        if parameter := reader.parameters.get(code):
            types.setdefault(parameter.type, reader.type)
    if len(types) < 2:
        return None
    said = " and ".join(f"a {each} of {type_}" for each, type_ in types.items())
    return f"{code} is {said}; a search of several types needs one that they share"


def _checked_size(pairs: Sequence[tuple[str, str]]) -> int:
    """How many characters there are."""
    if len(pairs) > MAX_PARAMETERS:
        raise invalid(f"a search has at most {MAX_PARAMETERS} parameters; this one has {len(pairs)}", code="too-costly")
    size = sum([len(name) + len(value) for name, value in pairs])
    if size > MAX_CHARACTERS:
        raise invalid(f"a search has at most {MAX_CHARACTERS:,} characters", code="too-long")
    return size


def _check_text(pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        if "\0" in name + value or _surrogate.search(name + value):
            raise invalid(f"{shown(name)}: a NUL or half a surrogate pair is no text", in_query(name))


class _Reader:
    """Collects what the pairs say, one at a time."""

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
            raise unknown_parameter(self.type, code, self.parameters)
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
        reader = _Reader(type_, self.registry, self.base_url)
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
            value = f"{self.type}:*"
        elif value == "*" and not iterate and not self.containers:
            self.revincludes.extend(to_one(self.registry, self.type))
            return
        elif value == "*":
            reason = "brings what refers to the matches of a type; further on, and of containers, name what is wanted"
            raise invalid(f"* {reason}: Observation:*, Condition:*", code="not-supported")
        toward = None if forward or iterate or self.containers else self.type
        found = including(value, self.registry, toward, iterate)
        if not found:
            raise Unknown(f"{code}: {shown(value)} names no reference known here")
        if forward and not iterate and not self.containers and found[0].source != self.type:
            sentence = f"{shown(value)} starts from {found[0].source}, which is not what is searched"
            raise Unknown(f"{code}: {sentence}; _include:iterate starts from what was included")
        (self.includes if forward else self.revincludes).extend(found)


_MANY: Mapping[str, Callable[[_Reader, str], None]] = {
    "_sort": _Reader.read_sort,
    "_elements": _Reader.read_elements,
    "_include": _Reader.read_include,
    "_revinclude": _Reader.read_revinclude,
}

_surrogate = re.compile(r"[\ud800-\udfff]")
_element = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,127}")
_whole = re.compile(r"[0-9]{1,9}")


def _whole_number(text: str, least: int = 0) -> int:
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
    near = get_close_matches(modifier[:64], known, 3) or known
    sentence = f"the modifier :{shown(modifier)} is not supported here; did you mean {' or '.join(near)}?"
    return invalid(sentence, code="not-supported")
