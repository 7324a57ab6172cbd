"""`_text` and `_content` in the database: what holds a phrase, and how much of what is said it is.

A score is a matter of one resource and one search, whatever else is stored: it does not change while a client pages.
It is the mean over the phrases that are looked for of n / (n + 0.3 + 0.9 · l/50), where n is how often a phrase stands
in the texts of a resource and l how many words these have: the saturation of BM25, with a length that does not move.
https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Phrase, kind
from fhirserver.search.mongo import AFTER_EVERY_LETTER

Json = dict[str, Any]

AVERAGE = 50  # words
DIGITS = 6


def phrase_filter(field: str, phrase: Phrase) -> Json:
    """The words by the index; that they stand in a row is then looked up in what is found."""
    *whole, last = phrase.words
    if not whole:
        return {field: _beginning(last)} if phrase.prefix else {field: {"$in": [last]}}
    every = [{field: {"$all": whole if phrase.prefix else list(phrase.words)}}]
    if phrase.prefix:
        every.append({field: _beginning(last)})
    return {"$and": [*every, {"$expr": {"$gt": [_times(field, phrase), 0]}}]}


def score(criteria: Iterable[Criterion]) -> Json:
    """The expression that computes the score of a document."""
    each = [_part(f"search.{code}", phrase) for code, phrase in sought(criteria)]
    return {"$round": [{"$divide": [{"$add": each}, len(each)]}, DIGITS]}


def sought(criteria: Iterable[Criterion]) -> Iterator[tuple[str, Phrase]]:
    """The phrases that a search is about, and in what; not those that must be absent, or stand in other resources."""
    for criterion in criteria:
        match criterion:
            case Clause(parameter, None, values) if kind(parameter) == "text":
                yield from ((parameter.code, value) for value in values if isinstance(value, Phrase))
            case AllOf(parts) | AnyOf(parts):
                yield from sought(parts)


def _part(field: str, phrase: Phrase) -> Json:
    times, length = _times(field, phrase), {"$size": _said(field)}
    return {"$divide": [times, {"$add": [times, 0.3, {"$multiply": [0.9 / AVERAGE, length]}]}]}


def _times(field: str, phrase: Phrase) -> Json:
    """How often the words stand in a row."""
    said = _said(field)
    *whole, last = phrase.words
    if not whole:
        return {"$size": {"$filter": {"input": said, "as": "word", "cond": _is("$$word", last, phrase.prefix)}}}
    start = {"$eq": [{"$slice": [said, "$$at", len(whole)]}, {"$literal": whole}]}
    end = _is({"$arrayElemAt": [said, {"$add": ["$$at", len(whole)]}]}, last, phrase.prefix)
    places = {"$range": [0, {"$size": said}]}
    return {"$size": {"$filter": {"input": places, "as": "at", "cond": {"$and": [start, end]}}}}


def _said(field: str) -> Json:
    return {"$ifNull": [f"${field}", []]}


def _is(word: Any, wanted: str, prefix: bool) -> Json:
    if not prefix:
        return {"$eq": [word, {"$literal": wanted}]}
    return {
        "$and": [
            {"$gte": [word, {"$literal": wanted}]},
            {"$lt": [word, {"$literal": wanted + AFTER_EVERY_LETTER}]},
        ]
    }


def _beginning(word: str) -> Json:
    return {"$elemMatch": {"$gte": word, "$lt": word + AFTER_EVERY_LETTER}}
