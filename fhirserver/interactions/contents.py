"""The contents of documents: the Binaries that a DocumentReference has, or had, as an attachment.

Of a document the last version counts that has it. Which current ones do, their index tells; a version that had what the
next one has no more is marked so in the history. A document that is deleted ends itself, too, and what it secures.
https://hl7.org/fhir/R4/documentreference.html, https://hl7.org/fhir/R4/binary.html#security
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fhirserver.context import Context
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.attachments import CONTENTS, DOCUMENT
from fhirserver.store.history import ended
from fhirserver.store.versions import ENDED, Stored

BINARY = "Binary"
MOST = 100_000
TOLD = 100  # documents of each Binary, in whose records it is told that it was read


Said = tuple[Stored, Sequence[str]]  # a version of a document, and what it has, or was the last to have


class Holding(NamedTuple):
    """A version of a document, and of what it is the last version to say anything, by references: Binaries that it has,
    and itself. `current`: it says that now."""

    document: Stored
    contents: frozenset[str]
    current: bool


async def holding(ctx: Context, ids: Iterable[str], limit: int | None = None) -> list[Holding]:
    """The documents that have these Binaries, or had; some of them where there is a limit."""
    named = [f"{BINARY}/{each}" for each in sorted({*ids})]
    store, most = ctx.store.outside(), MOST + 1 if limit is None else limit
    current = await store.find_beside(DOCUMENT, {f"search.{CONTENTS}": {"$in": named}, "deleted": None}, most, CONTENTS)
    past = await ended(store, DOCUMENT, {ENDED: {"$in": named}}, most)
    return _last(current, past)


async def ended_by_now(ctx: Context, records: Sequence[str], labels: Sequence[str]) -> list[Holding]:
    """What no document has any more, and documents that were deleted, of these records or with these labels then."""
    store = ctx.store.outside()
    places = {"$or": [{"compartments": {"$in": [*records]}}, {"labels": {"$in": [*labels]}}]}
    past = await ended(store, DOCUMENT, {ENDED: {"$gte": ""}, **places}, MOST + 1)
    still = {"_id": {"$in": sorted({each.id for each, _ in past})}, "deleted": None}
    current = await store.find_beside(DOCUMENT, still, MOST + 1, CONTENTS)  # which says nothing of how many these are
    return [each for each in _last(current, past) if not each.current]


def _last(current: Sequence[Said], past: Sequence[Said]) -> list[Holding]:
    if len(current) > MOST or len(past) > MOST:
        raise too_costly(f"more than {MOST:,} documents have, or had, what this is about")
    now = {each: [each.reference, *contents] for each, contents in current}
    last: dict[tuple[str, str], Stored] = {}
    for version, contents in (*past, *now.items()):
        for each in contents:
            known = last.get((version.id, each))
            if known is None or known.version < version.version:
                last[version.id, each] = version
    found: dict[Stored, set[str]] = {}
    for (_, content), version in last.items():
        found.setdefault(version, set()).add(content)
    return [Holding(version, frozenset(contents), version in now) for version, contents in found.items()]


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
    for each in await holding(ctx, ids, TOLD * len(ids)):
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
