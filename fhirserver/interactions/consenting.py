"""What Consents and security labels leave to who asks, as things are now: of a type, and of single versions.

Consents are read once and kept, so that the record of somebody who has none costs no round trip
(`fhirserver.consents.kept`). Both answers are the same criterion: the database is asked it of many, and of one it is
told here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.errors import PyMongoError

from fhirserver.access.narrowing import Party, party, shown_to, within
from fhirserver.access.reach import caring
from fhirserver.consents.kept import Consents, Ruling, Standing
from fhirserver.consents.labels import SYSTEM, WITHHELD, form, labelled
from fhirserver.consents.provisions import local, read
from fhirserver.consents.ruling import Asked
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Issue, too_costly
from fhirserver.interactions.cared_for import patients_of
from fhirserver.search.criteria import AllOf, AnyOf, Belonging, CaredFor, Clause, Criterion, Negation, Ready
from fhirserver.search.filters import conjunction, criterion_filter
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either, negated
from fhirserver.search.judged import Judged, meets
from fhirserver.search.parameters import r4_registry
from fhirserver.store import emergencies
from fhirserver.store.hops import matching_ids, values_of
from fhirserver.store.mirror import encoded
from fhirserver.store.resources import BODY, Change, Stored, stored
from fhirserver.store.schema import EMERGENCIES
from fhirserver.store.watching import Told, written

CONSENT, BINARY, DOCUMENT = "Consent", "Binary", "DocumentReference"
CONTENT = "location"  # the parameter of a document that finds the URL of its content
MOST_DOCUMENTS = 100_000
BATCH = 200  # Consents that are compiled before others have their turn
NOBODYS = (f"{DOCUMENT}/", f"{DOCUMENT}/.")  # no id is empty, or a dot
MEMBERSHIPS = ("CareTeam", "Group", "PractitionerRole")
FORMS = tuple(form(SYSTEM, each) for each in WITHHELD)
MOST_MEMBERSHIPS = 10_000
AGAIN_SECONDS = 1.0
LABELLED = b'"security"'
KEPT = "kept"  # says a command to the database of which the answer is kept

log = logging.getLogger(__name__)


# how it is kept


def note(consents: Consents, changes: Sequence[Change]) -> None:
    """This process wrote these."""
    ids = [each.id for each in changes if each.type == CONSENT]
    if ids:
        consents.changed_ids(ids)
    if any(each.type in MEMBERSHIPS for each in changes):
        consents.standings.changed()
    for each in changes:
        if not {*FORMS}.isdisjoint(each.search.get("_security", ())):
            consents.labels.add(each.type)


async def follow(ctx: Context) -> None:
    """Until it is cancelled: what is kept needs no second look as long as changes are told here."""
    kept = ctx.consents
    parts = (kept, kept.standings, kept.labels)
    while True:
        try:
            async for told in written(ctx.store, (CONSENT, *MEMBERSHIPS, EMERGENCIES), FORMS):
                if told is True:
                    for each in parts:
                        each.lost()  # what was read before this began
                    await known(ctx)  # here, where no request waits for all of them
                elif isinstance(told, Told):
                    _hear(kept, told)
                for each in parts:
                    each.heard()
        except PyMongoError as error:
            log.debug("consents are not watched for a while: %s", error)
        for each in parts:
            each.lost()
        await asyncio.sleep(AGAIN_SECONDS)


def _hear(kept: Consents, told: Told) -> None:
    if told.collection == CONSENT:
        kept.changed_ids([told.id])
    if told.collection in (*MEMBERSHIPS, EMERGENCIES):
        kept.standings.changed()
    if not {*FORMS}.isdisjoint(told.labels):
        kept.labels.add(told.collection)


async def known(ctx: Context) -> Consents:
    """The Consents in force, as they are now."""
    kept = ctx.consents
    if kept.present:
        return kept
    epoch, stale = kept.epoch, kept.stale
    store = ctx.store.outside()
    if stale is None:
        active = {"search.status": {"$eq": "active"}, "deleted": None}
        there = store[CONSENT].find(active, {"version": 1}, comment=KEPT)
        found = {each["_id"]: each["version"] async for each in there}
        same = {id_: kept.rulings[id_] for id_, version in found.items() if _is(kept.rulings.get(id_), version)}
        wanted = found.keys() - same.keys()
    else:
        same, wanted = {}, {*stale}
    looked: dict[str, Ruling | None] = {**same, **dict.fromkeys(wanted if stale is not None else ())}
    if wanted:
        there = store[CONSENT].find({"_id": {"$in": sorted(wanted)}}, BODY, batch_size=BATCH, comment=KEPT)
        async for each in there:
            looked[each["_id"]] = None if "deleted" in each else ruling(ctx, stored(CONSENT, each))
    kept.take(looked, epoch, whole=stale is None)
    return kept


def _is(ruling_: Ruling | None, version: int) -> bool:
    return ruling_ is not None and ruling_.version == version


def ruling(ctx: Context, version: Stored) -> Ruling | None:
    found = read(json.resource(version.body), ctx.base_url)
    return Ruling(version.version, found.record, found.rule) if found.record and found.rule else None


def unclear(ctx: Context, resource: dict[str, Any]) -> tuple[Issue, ...]:
    """What of a Consent cannot be kept as it is written, for who writes it."""
    if resource["resourceType"] != CONSENT:
        return ()
    found = read(resource, ctx.base_url)
    if found.idle is not None:
        return (Issue("warning", "not-supported", f"this Consent keeps nothing back: {found.idle}", CONSENT),)
    said = "where that denies, it holds for all; where it permits, for nothing"
    return tuple(Issue("warning", "not-supported", f"{why}; {said}", path) for path, why in found.unclear)


async def _standing(ctx: Context) -> Standing:
    """What else the caller is, as far as rules are about that, and what it has open in an emergency."""
    caller, kept = ctx.caller, ctx.consents.standings
    member = caller.fhir_user is not None and ctx.consents.names_members
    who = (caller.user, caller.fhir_user, member)
    found = kept.get(who)
    if found is None:
        epoch, store = kept.epoch, ctx.store.outside()
        names = await _memberships(ctx, caller.fhir_user) if member and caller.fhir_user else frozenset()
        opened = await emergencies.known(store, caller.user) if caller.user is not None else {}
        found = Standing(names, opened)
        kept.keep(who, found, epoch)
    return found


async def asking(ctx: Context) -> Party:
    """The caller as Consents see it."""
    return party(ctx.caller, await _standing(ctx), ctx.now())


async def _memberships(ctx: Context, person: str) -> frozenset[str]:
    """Active roles and their organizations, the active teams of all of these, and the groups."""
    store = ctx.store.outside()
    active: dict[str, Any] = {"search.practitioner": {"$eq": person}, "search.active": {"$ne": "false"}}
    ids = await matching_ids(store, "PractitionerRole", active, MOST_MEMBERSHIPS)
    roles = [f"PractitionerRole/{each}" for each in ids]
    organizations = await values_of(store, [("PractitionerRole", active, ("organization",))], MOST_MEMBERSHIPS)
    people = [person, *roles, *organizations]
    in_team = {"search.participant": {"$in": people}, "search.status": {"$eq": "active"}}
    teams = await matching_ids(store, "CareTeam", in_team, MOST_MEMBERSHIPS)
    in_group = {"search.member": {"$in": people}, "deleted": None}
    groups = await store.find_stored("Group", in_group, MOST_MEMBERSHIPS)
    present = [each.reference for each in groups if _has(ctx, json.resource(each.body), {*people})]
    return frozenset((*roles, *organizations, *(f"CareTeam/{each}" for each in teams), *present))


def _has(ctx: Context, group: dict[str, Any], people: set[str]) -> bool:
    """Whether any of these is a member of it still."""
    members = [local(each["entity"], ctx.base_url) for each in group["member"] if not each.get("inactive", False)]
    return bool(group.get("active", True)) and not people.isdisjoint(filter(None, members))


async def _related(ctx: Context, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """What resources refer to that rules are about together with that."""
    ids: dict[str, list[str]] = {}
    for name in names:
        type_, _, id_ = name.partition("/")
        if type_ in ctx.registry:
            ids.setdefault(type_, []).append(id_)
    found: dict[str, frozenset[str]] = {}
    for type_, wanted in ids.items():
        codes = [code for code, each in ctx.registry[type_].items() if each.type == "reference"]
        for document in await ctx.store.outside().read_many(type_, wanted, [f"search.{code}" for code in codes]):
            values = document.get("search", {}).values()
            found[f"{type_}/{document['_id']}"] = frozenset(each for some in values for each in some)
    return found


# what is asked


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
    labels = await _any_labelled(ctx, type_)
    if not kept.alike and not labels:
        return EVERYTHING
    who = await asking(ctx)
    related = await _related(ctx, kept.related)
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


async def _any_labelled(ctx: Context, type_: str) -> bool:
    """Whether labels keep anything of a type back."""
    if ctx.settings.security_labels != "enforced":
        return False
    labels = ctx.consents.labels
    found = labels.known(type_)
    if found is None:
        epoch = labels.epoch
        filter_ = criterion_filter(labelled(type_, FORMS), ctx.now())
        found = await ctx.store.outside()[type_].find_one(filter_, {"_id": 1}, comment=KEPT) is not None
        if found:
            labels.add(type_)
        else:
            labels.absent(type_, epoch)
    return found


async def may_be_narrowed(ctx: Context, type_: str) -> bool:
    """Whether anything of a type may be kept from anybody: there are Consents, or labels in it."""
    if (await known(ctx)).alike or await _any_labelled(ctx, type_):
        return True
    return type_ == BINARY and await _any_labelled(ctx, DOCUMENT)


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
    related = await _related(ctx, {name for rule in rules for name in rule.related})
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
