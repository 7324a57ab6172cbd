"""The pairs of a query string as queries, one for each type that is searched.

Values and modifiers that cannot be read are refused; names that are not known are refused or reported, as
`Prefer: handling` says, and so is what nothing can match.
https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.outcome import Issue, Outcome, in_query, invalid
from fhirserver.fhir.units import fault
from fhirserver.search.contained import of_container, unasked
from fhirserver.search.criteria import Composite, Criterion, Quantity, clauses
from fhirserver.search.impossible import impossible
from fhirserver.search.parameters import Registry
from fhirserver.search.query import INCLUSIONS, Query
from fhirserver.search.query_reader import QueryReader
from fhirserver.search.readers import Unfit, Unknown, shown
from fhirserver.search.unused import Parts, unused
from fhirserver.search.uses import check_repeats

MAX_PARAMETERS = 200
MAX_CHARACTERS = 1_000_000
SHORT = 500  # characters of a search that is worth remembering
_surrogate = re.compile(r"[\ud800-\udfff]")


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
    reading = _Reading(_readers(types, pairs, registry, base_url), strict)
    reading.read(pairs)
    count = reading.page(default_count, max_count)
    reading.drop_unused(registry.definitions, types)
    return tuple(reading.query(reader, count) for reader in reading.readers)


def _readers(
    types: Sequence[str], pairs: Sequence[tuple[str, str]], registry: Registry, base_url: str
) -> list[QueryReader]:
    """One for each type; what is contained is searched by one type."""
    said = {name: value for name, value in pairs if value}
    contained = said.get("_contained", "false") != "false"
    if contained and len(types) > 1:
        sentence = "_contained: contained resources are searched by one type"
        raise invalid(sentence, in_query("_contained"), code="not-supported")
    containers = contained and said.get("_containedType", "container") == "container"
    return [QueryReader(type_, registry, base_url, containers=containers) for type_ in types]


class _Reading:
    """The pairs of one search, as all of its types understand them: what is used, what is not, and why."""

    def __init__(self, readers: Sequence[QueryReader], strict: bool) -> None:
        self.readers = readers
        self.strict = strict
        self.names: list[str] = []  # of the criteria
        self.used: list[tuple[str, str]] = []
        self.ignored: list[Issue] = []
        self.once = readers[0].once

    @property
    def contained(self) -> bool:
        return self.once.get("_contained", "false") != "false"

    def read(self, pairs: Sequence[tuple[str, str]]) -> None:
        first = self.readers[0]
        for name, value in pairs:
            where = in_query(name)
            try:
                _read(self.readers, name, value)
            except Unknown as unknown:
                if self.strict or isinstance(unknown, Unfit):
                    raise invalid(str(unknown), where, code="not-supported") from unknown
                self.ignored.append(Issue("warning", "not-supported", f"{unknown}; it was ignored", where))
            except Outcome as refusal:
                raise invalid(f"{name[:80]}: {refusal}", where, code=refusal.issues[0].code) from refusal
            else:
                self.used.append((name, value))
            if len(first.criteria) > len(self.names):
                self.names.append(name)
                self.ignored += _in_vain(self.readers, name, self.strict)
        for reader in self.readers:
            check_repeats(reader.criteria)
        if self.contained:
            _check_contained(first, self.names)
        self.elements = list(dict.fromkeys(first.elements))
        self.summary = self.once.get("_summary", "false")
        self.includes = tuple(dict.fromkeys(each for reader in self.readers for each in reader.includes))
        self.revincludes = tuple(dict.fromkeys(each for reader in self.readers for each in reader.revincludes))

    def page(self, default: int, most: int) -> int:
        """How many matches a page has."""
        count = int(self.once.get("_count", default))
        if count > most:
            sentence = f"_count: a page has at most {most} matches"
            self.ignored.append(Issue("information", "too-costly", sentence, in_query("_count")))
            self.used = [(name, str(most) if name == "_count" else value) for name, value in self.used]
        return min(count, most)

    def drop_unused(self, definitions: Definitions, types: Sequence[str]) -> None:
        inclusions = bool(self.includes or self.revincludes)
        unmet = "_containedType" in self.once and not self.contained
        answered = definitions.resource_types if self.contained else types
        parts = Parts(self.readers[0].elements, self.summary, inclusions, unmet)
        for sentence, dropped, element in unused(definitions, answered, parts):
            where = in_query(next((name for name, _ in self.used if name.partition(":")[0] in dropped), "_elements"))
            if self.strict:
                raise invalid(sentence, where, code="not-supported")
            self.ignored.append(Issue("warning", "not-supported", f"{sentence}; it was ignored", where))
            self.elements = [each for each in self.elements if each != element]
            self.used = [pair for pair in self.used if pair[0].partition(":")[0] not in dropped]
            self.summary = "false" if "_summary" in dropped else self.summary
            if "_include" in dropped:
                self.includes = self.revincludes = ()

    def query(self, reader: QueryReader, count: int) -> Query:
        return Query(
            reader.type,
            criteria=tuple(reader.criteria),
            names=tuple(self.names),
            sort=reader.order(),
            count=count,
            most=int(self.once["_maxresults"]) if "_maxresults" in self.once else None,
            total=self.once.get("_total"),
            includes=self.includes,
            revincludes=self.revincludes,
            summary=self.summary,
            elements=tuple(self.elements),
            cursor=self.once.get("_cursor"),
            explain=self.once.get("_explain") == "true",
            contained=self.once.get("_contained", "false"),
            contained_type=self.once.get("_containedType", "container"),
            ignored=tuple(self.ignored),
            used=tuple(pair for pair in self.used if pair[0] != "_cursor"),
        )


def _in_vain(readers: Sequence[QueryReader], name: str, strict: bool) -> Iterator[Issue]:
    """What the last criterion asks for and nothing can meet, or not as it is written."""
    last = [(reader.type, reader.criteria[-1]) for reader in readers]
    for sentence in impossible(last):
        if strict:
            raise invalid(f"{name[:80]}: {sentence}", in_query(name), code="value")
        yield Issue("warning", "value", f"{name[:80]}: {sentence}", in_query(name))
    for sentence in _foreign_units(last[0][1]):
        yield Issue("warning", "code-invalid", sentence, in_query(name))


def _check_contained(reader: QueryReader, names: Sequence[str]) -> None:
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


def _read(readers: Sequence[QueryReader], name: str, value: str) -> None:
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


def _unlike(readers: Sequence[QueryReader], code: str) -> str | None:
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
