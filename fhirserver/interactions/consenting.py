"""What Consents and security labels leave to who asks, as things are now: of a type, and of single versions.

Both answers are the same criterion: the database is asked it of many, and of one it is told here. The content of a
document is left with the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhirserver.access.narrowing import Party, accounts, shown_to, within
from fhirserver.access.reach import caring, opens, reach
from fhirserver.consents.kept import Consents
from fhirserver.consents.labels import WITHHELD, confidential
from fhirserver.consents.ruling import Asked, hides_whole
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import too_costly
from fhirserver.interactions.contents import BINARY, ended_by_now, holding, securing
from fhirserver.interactions.in_force import (
    FORMS,
    LABELLED_ONCE,
    any_labelled,
    asking,
    known,
    labelled_types,
    related_to,
)
from fhirserver.interactions.opening import patients_of
from fhirserver.search.attachments import CONTENTS, DOCUMENT
from fhirserver.search.compartments import SOMEBODY
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, CaredFor, Clause, Criterion, Negation, Ready, Reference
from fhirserver.search.filters import criterion_filter
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.judged import Judged, meets
from fhirserver.search.mongo import conjunction
from fhirserver.search.parameters import r4_registry
from fhirserver.store.hops import matching_ids, matching_places, values_of
from fhirserver.store.mirror import encoded
from fhirserver.store.schema import AUDIT_EVENT
from fhirserver.store.versions import Document, Stored

MOST_DOCUMENTS = 100_000
NOBODYS = (f"{DOCUMENT}/", f"{DOCUMENT}/.")  # no id is empty, or a dot
NO_RECORDS = ("Patient/ ", "Patient/.")
MOST_WITHHELD = 100_000
LABELLED = b'"security"'


async def narrowing(ctx: Context, type_: str, permission: str) -> Criterion:
    """What is left to the caller of a type. The content of a document is left with the document, and what audit events
    say of a record with all of it.

    For whom the caller cares is still to be resolved.
    """
    if ctx.caller.open:
        return EVERYTHING
    found = await _of_type(ctx, type_, permission)
    if type_ == BINARY:
        return conjoined(found, await _with_documents(ctx))
    return conjoined(found, await _accounting(ctx)) if accounts(type_, permission) else found


async def narrowed(ctx: Context, type_: str) -> Criterion:
    """What is left to the caller to read of a type, ready to be a filter."""
    return await resolved(ctx, await narrowing(ctx, type_, "r"), type_)


async def _with_documents(ctx: Context) -> Criterion:
    """The Binaries that no document has, or had, for content which is kept from the caller."""
    kept = await _kept_documents(ctx)
    if kept is None:
        return EVERYTHING
    # whatever is kept back, the database is asked the same: the question tells nothing, nor how long it takes
    secured = Belonging((*NOBODYS, *(each for each in kept if each.startswith(NOBODYS[0]))))
    ids = tuple(each.removeprefix(f"{BINARY}/") for each in kept if each.startswith(f"{BINARY}/"))
    return Negation(AnyOf((Clause(r4_registry()[BINARY]["_id"], None, ids), secured)))


async def _kept_documents(ctx: Context) -> list[str] | None:
    """The documents kept from the caller, and the Binaries that are their contents, or were the last time that they
    had such, by references; None where no document may be kept from the caller.
    """
    kept_back = negated(await narrowed(ctx, DOCUMENT))
    if kept_back == NOTHING:
        return None
    store = ctx.store.outside()
    filter_ = conjunction([criterion_filter(kept_back, ctx.now()), {"deleted": None}])
    documents = await matching_ids(store, DOCUMENT, filter_, MOST_DOCUMENTS + 1)
    contents = await values_of(store, [(DOCUMENT, filter_, (CONTENTS,))], MOST_DOCUMENTS + 1)
    if len(documents) > MOST_DOCUMENTS or len(contents) > MOST_DOCUMENTS:
        raise too_costly(f"more than {MOST_DOCUMENTS:,} documents are kept from this caller, with their contents")
    ended = await ended_by_now(ctx, await _narrowing_records(ctx), FORMS)
    held = await left(ctx, [(each.document, each.document) for each in ended], "r")
    gone = {content for each, yes in zip(ended, held, strict=True) if not yes for content in each.contents}
    ids = [each.removeprefix(f"{BINARY}/") for each in gone if each.startswith(f"{BINARY}/")]
    gone -= {f"{BINARY}/{each}" for each in await contents_left(ctx, BINARY, ids)}
    own: list[str] = []
    if ctx.caller.own is not None:
        theirs: Document = {"compartments": f"Patient/{ctx.caller.own}", "deleted": None}
        own = await values_of(store, [(DOCUMENT, theirs, (CONTENTS,))], MOST_DOCUMENTS)
    return sorted({*(f"{DOCUMENT}/{each}" for each in documents), *contents, *gone}.difference(own))


async def _narrowing_records(ctx: Context) -> list[str]:
    """The records of which Consents may keep some document from the caller."""
    kept, who = await known(ctx), await asking(ctx)
    asked, special = Asked(DOCUMENT, "r", ctx.now(), {}), {record for record, _ in who.special}
    found: set[str] = set()
    for rule, records in kept.alike.items():
        hidden = hides_whole(rule, who.usual, asked) != NOTHING
        found.update(records if hidden else special.intersection(records))
    return sorted(found)


async def _accounting(ctx: Context) -> Criterion:
    """The audit events that tell nothing of what labels and documents keep from the caller: of no record in which
    that is, or was before it was deleted, and naming nothing of it that is in no record.
    """
    types, documents = await labelled_types(ctx), await _kept_documents(ctx)
    if not types and documents is None:
        return EVERYTHING
    withheld = [each for type_ in types for each in await _withheld(ctx, type_)]
    if len(withheld) > MOST_WITHHELD:
        raise too_costly(f"labels keep more than {MOST_WITHHELD:,} resources from this caller, with what names them")
    records = dict.fromkeys(record for _, found in withheld for record in found)
    named = [reference for reference, found in withheld if not found]
    named += [each for each in documents or () if each.startswith(f"{BINARY}/")]
    of_these = Belonging((*NO_RECORDS, *records))
    naming = Clause(r4_registry()[AUDIT_EVENT]["entity"], None, (Reference((*NO_RECORDS, *named)),))
    own = NOTHING if ctx.caller.own is None else within([f"Patient/{ctx.caller.own}"], AUDIT_EVENT)
    return either([own, Negation(AnyOf((of_these, naming)))])


async def _withheld(ctx: Context, type_: str) -> list[tuple[str, list[str]]]:
    """What labels keep from the caller of a type, or did before it was deleted, with the records that it is in."""
    store = ctx.store.outside()
    hidden = conjoined(confidential(type_, WITHHELD), negated(await narrowed(ctx, type_)))
    filter_ = conjunction([criterion_filter(hidden, ctx.now()), {"deleted": None}])
    found = await matching_places(store, type_, filter_, MOST_WITHHELD + 1)
    there = [(f"{type_}/{id_}", records_among(f"{type_}/{id_}", places)) for id_, places in found]
    deleted = {each.id: each for each in await store.find_stored(type_, LABELLED_ONCE, MOST_WITHHELD + 1)}
    last = await store.past(type_, [(each.id, each.version - 1) for each in deleted.values()])
    kept = await left(ctx, [(deleted[each.id], each) for each in last], "r")
    gone = [deleted[each.id] for each, yes in zip(last, kept, strict=True) if not yes]
    return there + [(each.reference, records_of(each)) for each in gone]


async def _of_type(ctx: Context, type_: str, permission: str) -> Criterion:
    kept = await known(ctx)
    labels = await any_labelled(ctx, type_)
    if not kept.alike and not labels:
        return EVERYTHING
    who = await _acting(ctx, type_, permission)
    related = await related_to(ctx, kept.related)
    trusted = caring(ctx.caller, type_, urgent=not opens(type_, permission))
    key = (who, trusted, type_, permission, labels, frozenset(related.items()))
    known_ = kept.worked_out(key, ctx.now())
    if known_ is None:
        asked = [Asked(type_, each, ctx.now(), related) for each in _permissions(permission)]
        known_ = conjoined(*(shown_to(kept.alike, who, each, trusted, labels=labels) for each in asked))
        if known_ not in (EVERYTHING, NOTHING) and not (labels and isinstance(trusted, (AnyOf, CaredFor))):
            filter_ = criterion_filter(known_, ctx.now())  # nothing of it is left to be resolved
            known_ = Ready({"$and": [encoded(filter_)]})
        kept.work_out(key, known_, kept.until(ctx.now()))
    if who.emergencies and ctx.trail is not None:
        ctx.trail.opened(_lifted(kept, who, labels))
    return known_


async def _acting(ctx: Context, type_: str, permission: str) -> Party:
    """The caller as Consents see it: without its emergencies, where what it writes would outlast them."""
    who = await asking(ctx)
    return who.ordinary() if opens(type_, permission) else who


def _permissions(permission: str) -> tuple[str, ...]:
    """Who changes something has to see it; a search shows what a read does."""
    return (permission, "r") if permission in "ud" else ("r",) if permission == "s" else (permission,)


def _lifted(kept: Consents, who: Party, labels: bool) -> list[str]:
    """The records open in an emergency of which something may be seen that could not be otherwise."""
    return [record for record in who.emergencies if labels or record in kept.by_record]


async def may_be_narrowed(ctx: Context, type_: str) -> bool:
    """Whether anything of a type may be kept from anybody: there are Consents, or labels in it."""
    if (await known(ctx)).alike or await any_labelled(ctx, type_):
        return True
    if type_ == AUDIT_EVENT:
        return bool(await labelled_types(ctx))
    return type_ == BINARY and await any_labelled(ctx, DOCUMENT)


async def narrowed_for_caller(ctx: Context, type_: str) -> bool:
    """The same, where it is asked for a caller that is held to Consents and labels at all."""
    return not ctx.caller.open and await may_be_narrowed(ctx, type_)


async def sees_all(ctx: Context, type_: str) -> bool:
    """Whether the caller may read all that there is of a type now. Earlier versions may be kept back all the same."""
    return reach(ctx.caller, type_, "r") is EVERYTHING and not await narrowed_for_caller(ctx, type_)


async def contents_left(ctx: Context, type_: str, ids: Iterable[str]) -> set[str]:
    """Of these ids those that, if they are of Binaries, are not the content of a document kept from the caller.

    A document that has it no more keeps it back where none that the caller sees has it now; none does in their record.
    """
    wanted = {*ids}
    if type_ != BINARY or not await may_be_narrowed(ctx, BINARY):
        return wanted
    found = await holding(ctx, wanted)
    held = await left(ctx, [(each.document, each.document) for each in found], "r")
    own = {f"Patient/{ctx.caller.own}"} if ctx.caller.own is not None else set[str]()
    shown, hidden, ended, theirs = set[str](), set[str](), set[str](), set[str]()
    for each, yes in zip(found, held, strict=True):
        if each.current and not own.isdisjoint(each.document.compartments):
            theirs |= each.contents
        elif yes:
            shown |= each.contents if each.current else set()
        else:
            (hidden if each.current else ended).update(each.contents)
    gone = (hidden | (ended - shown)) - theirs
    return {each for each in wanted if f"{BINARY}/{each}" not in gone}


async def left(ctx: Context, versions: Sequence[tuple[Stored, Stored]], permission: str) -> list[bool]:
    """Which of some versions are left to the caller. Beside each is what says what it is about.

    Of a deleted one that is its last version before.
    """
    kept = await known(ctx)
    events = any(accounts(version.type, permission) for version, _ in versions)
    shown = await _accounting(ctx) if events else EVERYTHING
    return [
        await _left(ctx, kept, version, said, permission)
        and (shown == EVERYTHING or version.type != AUDIT_EVENT or _met(ctx, shown, version))
        for version, said in versions
    ]


def _met(ctx: Context, criterion: Criterion, version: Stored) -> bool:
    search = ctx.indexer.entry(json.resource(version.body)).search
    return meets(criterion, Judged(version.id, version.compartments, version.updated, search))


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
    who = await _acting(ctx, version.type, permission)
    related = await related_to(ctx, {name for rule in rules for name in rule.related})
    whose = caring(ctx.caller, version.type, urgent=not opens(version.type, permission))
    trusted = await resolved(ctx, whose, version.type) if labels else EVERYTHING
    judged = Judged(version.id, version.compartments, said.updated, search)

    def held(party_: Party) -> bool:
        asked = [Asked(version.type, each, now, related) for each in _permissions(permission)]
        return all(meets(shown_to(rules, party_, each, trusted, labels=labels), judged) for each in asked)

    found = held(who)
    if found and ctx.trail is not None and not {*who.emergencies}.isdisjoint(records) and not held(who.ordinary()):
        ctx.trail.opened(records)
    return found


async def _context_left(ctx: Context, binary: Stored) -> bool:
    """Whether the document is left that a Binary is to be seen with: https://hl7.org/fhir/R4/binary.html#security"""
    documents = (await securing(ctx, [binary])).values()
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
    return records_among(version.reference, version.compartments)


def records_among(reference: str, compartments: Iterable[str]) -> list[str]:
    if reference.startswith("Patient/"):
        return [reference]
    return [each for each in compartments if each.startswith("Patient/") and each != SOMEBODY]
