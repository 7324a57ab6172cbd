"""The contents of documents: the Binaries that a DocumentReference has, or had, as an attachment.

Of a document the last version counts that has it. Which current ones do, their index tells; a version that had what the
next one has no more is marked so in the history. A document that is deleted ends itself, too, and what it secures.
https://hl7.org/fhir/R4/documentreference.html, https://hl7.org/fhir/R4/binary.html#security
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import too_costly
from fhirserver.fhir.references import parse
from fhirserver.store.history import ended
from fhirserver.store.versions import Stored

BINARY, DOCUMENT = "Binary", "DocumentReference"
CONTENT = "location"  # the search parameter that finds the URL of a content
MOST = 100_000


class Holding(NamedTuple):
    """A version of a document, and the Binaries of which it is the last one to say anything, by references; with the
    document itself."""

    document: Stored
    contents: frozenset[str]


async def holding(ctx: Context, ids: Iterable[str]) -> list[Holding]:
    """The documents that have these Binaries, or had."""
    named = [f"{BINARY}/{each}" for each in sorted({*ids})]
    places: list[Any] = [*named, *(f"{ctx.base_url}/{each}" for each in named)]
    places += [re.compile(f"^{re.escape(each)}/_history/") for each in places]
    store = ctx.store.outside()
    current = await store.find_stored(DOCUMENT, {f"search.{CONTENT}": {"$in": places}, "deleted": None}, MOST + 1)
    return _last(ctx, current, await ended(store, DOCUMENT, named, MOST + 1))


async def ended_by_now(ctx: Context) -> list[Holding]:
    """The same of all that no document has any more, and of the documents that were deleted."""
    store = ctx.store.outside()
    past = await ended(store, DOCUMENT, None, MOST + 1)
    still = {"_id": {"$in": sorted({each.id for each, _ in past})}, "deleted": None}
    live = await store.find_stored(DOCUMENT, still, MOST + 1)  # which says nothing of how many these are
    return [each for each in _last(ctx, live, past) if each.document not in live]


def _last(ctx: Context, current: Sequence[Stored], past: Sequence[tuple[Stored, Sequence[str]]]) -> list[Holding]:
    if len(current) > MOST or len(past) > MOST:
        raise too_costly(f"more than {MOST:,} documents have, or had, what this is about")
    versions = [*past, *((each, [each.reference, *_contents_of(ctx, each)]) for each in current)]
    last: dict[tuple[str, str], Stored] = {}
    for version, contents in versions:
        for each in contents:
            known = last.get((version.id, each))
            if known is None or known.version < version.version:
                last[version.id, each] = version
    found: dict[Stored, set[str]] = {}
    for (_, content), version in last.items():
        found.setdefault(version, set()).add(content)
    return [Holding(version, frozenset(contents)) for version, contents in found.items()]


def _contents_of(ctx: Context, version: Stored) -> list[str]:
    return contents_in(ctx, ctx.indexer.entry(json.resource(version.body)).search)


def contents_in(ctx: Context, search: Mapping[str, Any]) -> list[str]:
    """The Binaries here that a document has as attachments by its index values, by references."""
    return [each for url in search.get(CONTENT, ()) if (each := content_at(ctx, url)) is not None]


def content_at(ctx: Context, url: str) -> str | None:
    """The Binary here that a URL is of, whatever version it names."""
    literal = parse(url.removeprefix(f"{ctx.base_url}/"))
    return f"{BINARY}/{literal.id}" if literal is not None and (literal.base, literal.type) == (None, BINARY) else None


async def told_of_contents(ctx: Context) -> None:
    """The content of a document is read as a Binary, which says by itself of nobody whose it is: the trail does."""
    nobodys = ctx.trail.touched.get("", []) if ctx.trail is not None else []
    ids = {id_ for type_, _, id_ in (each.partition("/") for each in nobodys) if type_ == BINARY}
    if ctx.trail is None or not ids:
        return
    whose = await _records_with(ctx, ids)
    ctx.trail.touched[""] = [each for each in nobodys if each not in whose]
    ctx.trail.beside = {record for records in whose.values() for record in records}.difference(ctx.trail.touched)
    for reference in nobodys:
        for record in whose.get(reference, ()):
            ctx.touched(reference, [record])


async def _records_with(ctx: Context, ids: set[str]) -> Mapping[str, set[str]]:
    """The patients in whose records a Binary is as the content of a document, or secured by one."""
    found: dict[str, set[str]] = {}
    for each in await holding(ctx, ids):
        for content in each.contents:
            found.setdefault(content, set()).update(_patients(each.document))
    store = ctx.store.outside()
    binaries = await store.read_stored(BINARY, ids)
    documents = await securing(ctx, binaries)
    for binary in binaries:
        for each_ in {*binary.compartments}.intersection(documents):
            found.setdefault(binary.reference, set()).update(_patients(documents[each_]))
    return {content: records for content, records in found.items() if records}


def _patients(document: Stored) -> list[str]:
    return [each for each in document.compartments if each.startswith("Patient/")]


async def securing(ctx: Context, binaries: Sequence[Stored]) -> dict[str, Stored]:
    """The documents with which some Binaries are to be seen, by reference; of a deleted one its last version before."""
    places = {place for each in binaries for place in each.compartments if place.startswith(f"{DOCUMENT}/")}
    if not places:
        return {}
    store = ctx.store.outside()
    there = await store.read_stored(DOCUMENT, {each.partition("/")[2] for each in places})
    last = await store.past(DOCUMENT, [(each.id, each.version - 1) for each in there if each.deleted])
    return {each.reference: each for each in (*there, *last) if not each.deleted}
