"""The Consents in force, which types are labelled, and what else somebody is, as things are now.

All of it is read once and kept (`fhirserver.consents.kept`), so that the record of somebody who has none costs no round
trip; what changes is told by this process, and by others through a change stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fhirserver.access.narrowing import Party, party
from fhirserver.consents.kept import Consents, Ruling, Standing
from fhirserver.consents.labels import SYSTEM, WITHHELD, form, labelled
from fhirserver.consents.opening import SAYING
from fhirserver.consents.provisions import read
from fhirserver.context import Context
from fhirserver.epochs import KEPT
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Issue
from fhirserver.fhir.references import linked, rewrite
from fhirserver.interactions.memberships import belongs, members, next_turn, teams_of, work_of
from fhirserver.search.filters import criterion_filter
from fhirserver.store import emergencies
from fhirserver.store.hops import together
from fhirserver.store.resources import Store
from fhirserver.store.schema import AUDIT_EVENT, EMERGENCIES, HOT_HISTORY, history_of
from fhirserver.store.versions import BODY, Change, Stored, stored
from fhirserver.store.watching import Listener, Told

BUNDLE, CONSENT = "Bundle", "Consent"
BATCH = 200  # Consents that are compiled before others have their turn
MEMBERSHIPS = ("CareTeam", "Group", "PractitionerRole")
MOST_MEMBERSHIPS = 10_000
FOLLOWED = (CONSENT, *MEMBERSHIPS, *SAYING, EMERGENCIES)
FORMS = tuple(form(SYSTEM, each) for each in WITHHELD)
LABELLED_ONCE = {"belonged": {"$gte": "Patient/", "$lt": "Patient0"}, "labels": {"$in": [*FORMS]}}  # and deleted since


def note(consents: Consents, changes: Sequence[Change]) -> None:
    """This process wrote these."""
    ids = [each.id for each in changes if each.type == CONSENT]
    if ids:
        consents.changed_ids(ids)
    if any(each.type in MEMBERSHIPS for each in changes):
        consents.standings.changed()
    if any(each.type in SAYING for each in changes):
        consents.opening.changed()
    for each in changes:
        if not {*FORMS}.isdisjoint(each.search.get("_security", ())):
            consents.labels.add(each.type)


def listener(ctx: Context) -> Listener:
    """What is kept needs no second look as long as changes are told here."""
    kept = ctx.consents

    async def begin() -> None:
        await known(ctx)  # here, where no request waits for all of them

    parts = (kept, kept.standings, kept.opening, kept.labels)
    return Listener(FOLLOWED, partial(_hear, kept), parts, FORMS, begin=begin)


def _hear(kept: Consents, told: Told) -> None:
    if told.collection == CONSENT:
        kept.changed_ids([told.id])
    if told.collection in (*MEMBERSHIPS, EMERGENCIES):
        kept.standings.changed()
    if told.collection in (*SAYING, EMERGENCIES):
        kept.opening.changed()
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
    """What of a Consent cannot be kept as it is written, for who writes it; of one in a Bundle that is stored, all."""
    if resource["resourceType"] == BUNDLE and any(_consents(resource)):
        said = "Consents in a Bundle that is stored keep nothing back; sent to the base as a transaction, they do"
        return (Issue("warning", "not-supported", said, BUNDLE),)
    if resource["resourceType"] != CONSENT:
        return ()
    found = read(resource, ctx.base_url)
    if found.idle is not None:
        return (Issue("warning", "not-supported", f"this Consent keeps nothing back: {found.idle}", CONSENT),)
    return tuple(Issue("warning", "not-supported", said, path) for path, said in found.unclear)


def unclear_once_done(ctx: Context, resource: dict[str, Any]) -> tuple[Issue, ...]:
    """The same of a batch or transaction, too, that is not sent yet. Whatever id an entry will have, it is one here."""
    if resource["resourceType"] != BUNDLE or resource.get("type") not in ("batch", "transaction"):
        return unclear(ctx, resource)
    entries = enumerate(resource.get("entry", ()))
    named = [(at, each) for at, each in entries if "fullUrl" in each and "resource" in each]
    here = {each["fullUrl"]: linked(each["fullUrl"], each["resource"], str(at)) for at, each in named}
    found = []
    for at, consent in _consents(resource):
        issues = unclear(ctx, rewrite(consent, here, ctx.definitions))
        found += [issue.under(f"{BUNDLE}.entry[{at}].resource") for issue in issues]
    return tuple(found)


def _consents(bundle: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for at, each in enumerate(bundle.get("entry", ())):
        if each.get("resource", {}).get("resourceType") == CONSENT:
            yield at, each["resource"]


async def _standing(ctx: Context) -> Standing:
    """What else the caller is, as far as rules are about that, and what it has open in an emergency."""
    caller, kept = ctx.caller, ctx.consents.standings
    member = caller.fhir_user is not None and ctx.consents.names_members
    who = (caller.user, caller.fhir_user, member)
    found = kept.get(who, ctx.now())
    if found is None:
        epoch, store, none = kept.epoch, ctx.store.outside().commenting(KEPT), (frozenset[str](), None)
        names, until = await _memberships(ctx, store, caller.fhir_user) if member and caller.fhir_user else none
        opened = await emergencies.known(store, caller.user) if caller.user is not None else {}
        found = Standing(names, opened, until)
        kept.keep(who, found, epoch)
    return found


async def asking(ctx: Context) -> Party:
    """The caller as Consents see it."""
    return party(ctx.caller, await _standing(ctx), ctx.now())


async def open_in_emergency(ctx: Context) -> list[str]:
    """The records that the caller has open in an emergency; nothing is looked up of who is no practitioner."""
    return (await asking(ctx)).emergencies if "practitioner" in ctx.caller.roles else []


async def _memberships(ctx: Context, store: Store, person: str) -> tuple[frozenset[str], datetime | None]:
    """Their roles and organizations, the active teams of all of these, and the groups; and when that may change."""
    work = await work_of(ctx, store, person)
    people = [person, *work.roles, *work.organizations]
    teams = await teams_of(ctx, store, people)
    groups = await store.find_stored("Group", {"search.member": {"$in": people}, "deleted": None}, MOST_MEMBERSHIPS)
    bodies = [(each.reference, json.resource(each.body)) for each in groups]
    ours = {name: members(ctx, body, people) for name, body in bodies}
    now = ctx.now()
    present = [name for name, body in bodies if belongs(body, ours[name], now)]
    names = (*people[1:], *(f"CareTeam/{each}" for each in teams.ids), *present)
    periods = [each.get("period", {}) for some in ours.values() for each in some]
    times = [time for time in (work.until, teams.until, next_turn(periods, now)) if time is not None]
    return frozenset(names), min(times, default=None)


async def related_to(ctx: Context, names: Iterable[str]) -> dict[str, frozenset[str]]:
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


async def labelled_types(ctx: Context) -> list[str]:
    """The types of which labels keep something back, or did before it was deleted; of audit events theirs do."""
    if ctx.settings.security_labels != "enforced":
        return []
    stored_types = [each for each in await ctx.store.known_types() if each != AUDIT_EVENT]
    found = await together(ctx.store.outside(), [partial(any_labelled, ctx, each) for each in stored_types])
    return [type_ for type_, yes in zip(stored_types, found, strict=True) if yes]


async def any_labelled(ctx: Context, type_: str) -> bool:
    """Whether labels keep anything of a type back."""
    if ctx.settings.security_labels != "enforced":
        return False
    labels = ctx.consents.labels
    found = labels.known(type_)
    if found is None:
        epoch = labels.epoch
        either_ = {"$or": [criterion_filter(labelled(type_, FORMS), ctx.now()), LABELLED_ONCE]}
        store = ctx.store.outside()
        found = await store[type_].find_one(either_, {"_id": 1}, comment=KEPT) is not None
        if not found and type_ in HOT_HISTORY:  # what the content of a document was last said to be
            marked = {"labels": {"$in": [*FORMS]}}
            found = await store[history_of(type_)].find_one(marked, {"_id": 1}, comment=KEPT) is not None
        if found:
            labels.add(type_)
        else:
            labels.absent(type_, epoch)
    return found
