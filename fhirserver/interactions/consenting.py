"""What Consents and security labels leave to who asks, as things are now: of a type, and of single versions.

Both answers are the same criterion: the database is asked it of many, and of one it is told here. The content of a
document is left with the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhirserver.access.narrowing import Party, shown_to, within
from fhirserver.access.reach import caring
from fhirserver.consents.kept import Consents
from fhirserver.consents.ruling import Asked
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import too_costly
from fhirserver.interactions.cared_for import patients_of
from fhirserver.interactions.in_force import FORMS, any_labelled, asking, known, related_to
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, CaredFor, Clause, Criterion, Negation, Ready
from fhirserver.search.filters import conjunction, criterion_filter
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.judged import Judged, meets
from fhirserver.search.parameters import r4_registry
from fhirserver.store.hops import matching_ids, values_of
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import Stored

BINARY, DOCUMENT = "Binary", "DocumentReference"
CONTENT = "location"  # the parameter of a document that finds the URL of its content
MOST_DOCUMENTS = 100_000
NOBODYS = (f"{DOCUMENT}/", f"{DOCUMENT}/.")  # no id is empty, or a dot
LABELLED = b'"security"'


async def narrowing(ctx: Context, type_: str, permission: str) -> Criterion:
    """What is left to the caller of a type. The content of a document is left with the document.

    For whom the caller cares is still to be resolved.
    """
    if ctx.caller.open:
        return EVERYTHING
    found = await _of_type(ctx, type_, permission)
    return conjoined(found, await _with_documents(ctx)) if type_ == BINARY else found


async def narrowed(ctx: Context, type_: str) -> Criterion:
    """What is left to the caller to read of a type, ready to be a filter."""
    return await resolved(ctx, await narrowing(ctx, type_, "r"), type_)


async def _with_documents(ctx: Context) -> Criterion:
    """The Binaries that no document has for content which is kept from the caller."""
    kept_back = negated(await narrowed(ctx, DOCUMENT))
    if kept_back == NOTHING:
        return EVERYTHING
    store = ctx.store.outside()
    filter_ = conjunction([criterion_filter(kept_back, ctx.now()), {"deleted": None}])
    documents = await matching_ids(store, DOCUMENT, filter_, MOST_DOCUMENTS + 1)
    contents = await values_of(store, [(DOCUMENT, filter_, (CONTENT,))], MOST_DOCUMENTS + 1)
    if len(documents) > MOST_DOCUMENTS or len(contents) > MOST_DOCUMENTS:
        raise too_costly(f"more than {MOST_DOCUMENTS:,} documents are kept from this caller, with their contents")
    ids = tuple(each for value in contents if (each := _binary(ctx, value)) is not None)
    # whatever is kept back, the database is asked the same: the question tells nothing, nor how long it takes
    secured = Belonging((*NOBODYS, *(f"{DOCUMENT}/{each}" for each in documents)))
    return Negation(AnyOf((Clause(r4_registry()[BINARY]["_id"], None, ids), secured)))


def _binary(ctx: Context, url: str) -> str | None:
    """Its id, of the URL of a Binary here."""
    type_, _, id_ = url.removeprefix(f"{ctx.base_url}/").partition("/")
    return id_ if type_ == BINARY else None


async def _of_type(ctx: Context, type_: str, permission: str) -> Criterion:
    kept = await known(ctx)
    labels = await any_labelled(ctx, type_)
    if not kept.alike and not labels:
        return EVERYTHING
    who = await asking(ctx)
    related = await related_to(ctx, kept.related)
    trusted = caring(ctx.caller, type_)
    key = (who, trusted, type_, permission, labels, frozenset(related.items()))
    known_ = kept.worked_out(key, ctx.now())
    if known_ is None:
        asked = [Asked(type_, each, ctx.now(), related) for each in _permissions(type_, permission)]
        known_ = conjoined(*(shown_to(kept.alike, who, each, trusted, labels=labels) for each in asked))
        if known_ not in (EVERYTHING, NOTHING) and not (labels and isinstance(trusted, (AnyOf, CaredFor))):
            filter_ = criterion_filter(known_, ctx.now())  # nothing of it is left to be resolved
            known_ = Ready({"$and": [encoded(filter_)]})
        kept.work_out(key, known_, kept.until(ctx.now()))
    if who.emergencies and ctx.trail is not None:
        ctx.trail.opened(_lifted(kept, who, labels))
    return known_


def _permissions(type_: str, permission: str) -> tuple[str, ...]:
    """Who changes something has to see it; Consents are seen anyway."""
    return (permission, "r") if permission in "ud" else ("r",) if permission == "s" else (permission,)


def _lifted(kept: Consents, who: Party, labels: bool) -> list[str]:
    """The records open in an emergency of which something may be seen that could not be otherwise."""
    return [record for record in who.emergencies if labels or record in kept.by_record]


async def may_be_narrowed(ctx: Context, type_: str) -> bool:
    """Whether anything of a type may be kept from anybody: there are Consents, or labels in it."""
    if (await known(ctx)).alike or await any_labelled(ctx, type_):
        return True
    return type_ == BINARY and await any_labelled(ctx, DOCUMENT)


async def contents_left(ctx: Context, type_: str, ids: Iterable[str]) -> set[str]:
    """Of these ids those that, if they are of Binaries, are not the content of a document kept from the caller."""
    if type_ != BINARY or not await may_be_narrowed(ctx, BINARY):
        return {*ids}
    wanted = sorted({*ids})
    places = [place for each in wanted for place in (f"{BINARY}/{each}", f"{ctx.base_url}/{BINARY}/{each}")]
    named = {f"search.{CONTENT}": {"$in": places}, "deleted": None}
    documents = await ctx.store.find_stored(DOCUMENT, named, MOST_DOCUMENTS)
    held = await left(ctx, [(each, each) for each in documents], "r")
    gone: set[str | None] = set()
    for document, yes in zip(documents, held, strict=True):
        if not yes:
            entry = ctx.indexer.entry(json.resource(document.body))
            gone.update(_binary(ctx, value) for value in entry.search.get(CONTENT, ()))
    return {*wanted} - gone


async def left(ctx: Context, versions: Sequence[tuple[Stored, Stored]], permission: str) -> list[bool]:
    """Which of some versions are left to the caller. Beside each is what says what it is about.

    Of a deleted one that is its last version before.
    """
    kept = await known(ctx)
    return [await _left(ctx, kept, version, said, permission) for version, said in versions]


async def _left(ctx: Context, kept: Consents, version: Stored, said: Stored, permission: str) -> bool:
    records = records_of(version)
    if version.type == BINARY and not await _context_left(ctx, version):
        return False
    if said.deleted or (ctx.caller.own is not None and f"Patient/{ctx.caller.own}" in records):
        return True
    body, rules = said.body, kept.alike_in(records)
    labels = ctx.settings.security_labels == "enforced" and LABELLED in body
    if not rules and not labels:
        return True
    search = ctx.indexer.entry(json.resource(body)).search
    labels = labels and not {*FORMS}.isdisjoint(search.get("_security", ()))
    if not rules and not labels:
        return True
    now = ctx.now()
    who = await asking(ctx)
    related = await related_to(ctx, {name for rule in rules for name in rule.related})
    trusted = await resolved(ctx, caring(ctx.caller, version.type), version.type) if labels else EVERYTHING
    judged = Judged(version.id, version.compartments, said.updated, search)

    def held(party_: Party) -> bool:
        asked = [Asked(version.type, each, now, related) for each in _permissions(version.type, permission)]
        return all(meets(shown_to(rules, party_, each, trusted, labels=labels), judged) for each in asked)

    found = held(who)
    if found and ctx.trail is not None and not {*who.emergencies}.isdisjoint(records) and not held(who.ordinary()):
        ctx.trail.opened(records)
    return found


async def _context_left(ctx: Context, binary: Stored) -> bool:
    """Whether the document is left that a Binary is to be seen with: https://hl7.org/fhir/R4/binary.html#security"""
    ids = [each.partition("/")[2] for each in binary.compartments if each.startswith(f"{DOCUMENT}/")]
    documents = await ctx.store.read_stored(DOCUMENT, ids) if ids else []
    return all(await left(ctx, [(each, each) for each in documents], "r"))


async def resolved(ctx: Context, criterion: Criterion, type_: str) -> Criterion:
    """With the patients that somebody cares for."""
    match criterion:
        case CaredFor():
            return within([f"Patient/{each}" for each in await patients_of(ctx, criterion)], type_)
        case AnyOf(parts):
            return either([await resolved(ctx, part, type_) for part in parts])
        case AllOf(parts):
            return conjoined(*[await resolved(ctx, part, type_) for part in parts])
    return criterion


def records_of(version: Stored) -> list[str]:
    """The patients whose records a resource is in; a patient is in its own."""
    if version.type == "Patient":
        return [version.reference]
    return [each for each in version.compartments if each.startswith("Patient/")]
