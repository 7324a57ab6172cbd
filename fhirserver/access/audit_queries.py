"""Whom a query is about, as far as it says: for the events of who only counted, and who looked for several at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import parse_qsl

from fhirserver.search.compartments import SOMEBODY
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, Clause, Criterion, Reference, kind
from fhirserver.search.parameters import r4_registry
from fhirserver.search.query import RESULT, Query

PERSONS = frozenset({"Patient", "Person", "RelatedPerson"})
OF_NOBODY = frozenset({"date", "number", "quantity", "token", "uri"})  # types of parameters that name no person
NAMING = frozenset({"_id", "identifier"})  # though they are tokens
WORDS = frozenset({"_content", "_filter", "_text"})


def patients_named(queries: Iterable[Query]) -> list[str]:
    """The patients whom queries name, or to the record of one of whom they keep, as `Patient/1`."""
    return list(dict.fromkeys(each for query in queries for each in _of_query(query)))


def _of_query(query: Query) -> Iterator[str]:
    yield from _patients([query.compartment or ""])
    for number, criterion in enumerate(query.criteria):
        yield from _named(query, criterion, asked=number < len(query.names))


def _named(query: Query, criterion: Criterion, *, asked: bool) -> Iterator[str]:
    """`asked`: by the client; what it may see beside that is of many patients, most of whom are not meant."""
    match criterion:
        case AllOf(parts) | AnyOf(parts) if asked:
            for part in parts:
                yield from _named(query, part, asked=asked)
        case Belonging((reference,)):
            yield from _patients([reference])
        case Clause(parameter, None, values) if asked and query.type_ == "Patient" and kind(parameter) == "id":
            yield from (f"Patient/{value}" for value in values)
        case Clause(_, None, values) if asked:
            yield from _patients(form for value in values if isinstance(value, Reference) for form in value.forms)


def _patients(references: Iterable[str]) -> Iterator[str]:
    here = (each for each in references if each.startswith(SOMEBODY) and each != SOMEBODY)
    return (each for each in here if each.count("/") == 1)


def may_name_others(path: Sequence[str], query: str) -> bool:
    """Whether a query may say of somebody else than whom it found that they were asked for.

    It names alternatives, or who is not meant, where persons are named or what is theirs alone; or asks for words, or
    over a chain, of which one cannot tell.
    """
    type_ = next((each for each in reversed(path) if each in r4_registry()), None)
    return any(_names_others(type_, name, value) for name, value in parse_qsl(query, keep_blank_values=True))


def _names_others(type_: str | None, name: str, value: str) -> bool:
    code, _, modifier = name.partition(":")
    if code in RESULT or code == "_type":
        return False
    if code in WORDS or "." in name or code == "_has":
        return True
    known = r4_registry()[type_].get(code) if type_ is not None and type_ not in PERSONS else None
    if known is not None and known.type in OF_NOBODY and code not in NAMING:
        return False
    return "," in value or modifier.startswith("not")
