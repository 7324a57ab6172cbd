"""$closure: the table of what subsumes what among the codes that a client has met, kept for it bit by bit.

https://hl7.org/fhir/R4/terminology-service.html#closure
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.ids import ID
from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.terminology import service
from fhirserver.operations.parameters import given, once, taken
from fhirserver.operations.registry import operation
from fhirserver.store import closures
from fhirserver.store.closures import Table
from fhirserver.store.resources import Store
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Document
from terminology.canonical import Canonical
from terminology.closures import Entry, Member, entries, groups
from terminology.service import Service

MOST = 1_000  # codes of one request
LOOKED_AT = 20_000  # codes that are looked at again when their code system has changed
DEFINITION = "http://hl7.org/fhir/OperationDefinition/ConceptMap-closure"


@operation("closure", "", "ConceptMap", instance=False, definition=DEFINITION)
async def closure(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """A name alone begins a table; concepts are added, and what is new is told; a version asks for what came since."""
    if request.method != "POST":
        raise Outcome(
            405, "not-supported", "$closure keeps what it is told, so it is a POST", headers=(("allow", "POST"),)
        )
    authorize(ctx.caller, "closure", type_ or None)
    values = taken("$closure", given(ctx, request), ("name", "concept", "version"))
    name, since, concepts = once(values, "name"), once(values, "version"), values.get("concept", [])
    if name is None:
        raise invalid("which closure table is meant? name is missing", "name", code="required")
    if not ID.fullmatch(name):  # it becomes the id of what is answered
        raise invalid(f"invalid closure name {name[:80]!r}: 1 to 64 letters, digits, '-' and '.' are expected", "name")
    if concepts and since is not None:
        raise invalid("concepts are added, or what came since a version is asked for; not both at once", "version")
    whose = (
        ctx.caller.client,
        ctx.caller.user,
        ctx.caller.patient,
    )  # each client has its own tables, for each of its users
    id_ = "/".join([*(each or "" for each in whose), name])
    if concepts:
        return _answer(ctx, name, *await _added(ctx, id_, name, concepts))
    if since is not None:
        return _answer(ctx, name, *await _again(ctx, id_, name, since))
    await closures.begin(ctx.store, id_)
    return _answer(ctx, name, 0, [])


async def _added(ctx: Context, id_: str, name: str, concepts: Sequence[Any]) -> tuple[int, Sequence[Entry]]:
    known = service(ctx)
    await _current(ctx, known, id_, name)
    fresh = await _members(known, concepts)
    editions = {url: await known.edition(Canonical("CodeSystem", url)) for url in {each.system for each in fresh}}

    async def add(store: Store) -> tuple[int, list[Entry]]:
        table = await closures.advance(store, id_)
        if table is None:
            raise _unknown(name)
        found: list[Entry] = []
        for system in editions:
            found += await _added_of(store, table, system, [each for each in fresh if each.system == system])
        if editions.keys() - table.systems.keys():
            await closures.note(store, table, editions)
        return table.version, found

    return await transact(ctx.store, add)


async def _added_of(store: Store, table: Table, system: str, fresh: Sequence[Member]) -> Iterable[Entry]:
    """Of the codes that are new, those that are related to one another and to what is there."""
    above = frozenset[str]().union(*(each.above for each in fresh))
    there = [_member(row) for row in await closures.related(store, table, system, {f.concept for f in fresh}, above)]
    codes = {each.code for each in there}
    new = [each._replace(since=table.version) for each in fresh if each.code not in codes]
    await closures.add(store, table, [each._asdict() | {"above": sorted(each.above)} for each in new])
    return entries([*there, *new], table.version - 1)


async def _again(ctx: Context, id_: str, name: str, since: str) -> tuple[int, Sequence[Entry]]:
    table = await _current(ctx, service(ctx), id_, name)
    if not since.isascii() or not since.isdecimal() or len(since) > 9 or int(since) > table.version:
        raise invalid(f"closure {name} has had no version {since[:40]!r}; 0 stands for its beginning", "version")
    members = [_member(row) for row in await closures.members(ctx.store, table)]
    return table.version, [*entries(members, int(since))]


def _member(row: Document) -> Member:
    return Member(**row | {"above": frozenset(row["above"])})


async def _members(known: Service, concepts: Sequence[Any]) -> list[Member]:
    """The codes of a request with what is above each. All of them must be known here."""
    if len(concepts) > MOST:
        raise too_costly(f"{len(concepts):,} concepts are more than {MOST:,}; give them in several requests")
    found: dict[tuple[str, str], Member] = {}
    for at, coding in enumerate(concepts):
        if not isinstance(coding, dict) or not isinstance(coding.get("code"), str) or "system" not in coding:
            raise invalid("a concept is a Coding with system and code, in Parameters that are posted", f"concept[{at}]")
        url, code = coding["system"], coding["code"]
        if (url, code) in found:
            continue
        try:
            system = await known.code_system(url)
            concept = await system.concept(code)
            if concept is None:
                raise invalid(f"{code[:80]!r} is not a code of code system {url[:200]}", code="not-found")
            if coding.get("version") not in (None, system.version):
                raise invalid(
                    f"the closure is of version {system.version} of {url[:200]}, the one that is current here"
                )
            found[url, code] = Member(url, code, concept.code, await system.above(concept.code), 0)
        except Outcome as refusal:
            raise invalid(str(refusal), f"concept[{at}]", code=refusal.issues[0].code) from refusal
    return [*found.values()]


async def _current(ctx: Context, known: Service, id_: str, name: str) -> Table:
    """The table, if what it says is still so: 422 where a code system has changed since, and its codes with it."""
    table = await closures.read(ctx.store, id_)
    if table is None:
        raise _unknown(name)
    editions = {url: await known.edition(Canonical("CodeSystem", url)) for url in table.systems}
    changed = {url for url in editions if editions[url] != table.systems[url]}
    if changed:
        members = [_member(row) for row in await closures.members(ctx.store, table) if row["system"] in changed]
        if len(members) > LOOKED_AT or not await _hold(known, members):
            which = ", ".join(sorted(changed))[:400]
            said = f"closure {name} must be reinitialized: what subsumes what is not the same any more in {which}"
            raise Outcome(422, "conflict", said, "name")
        await closures.note(ctx.store, table, editions)
    return table


async def _hold(known: Service, members: Iterable[Member]) -> bool:
    """Whether what subsumes these codes is what it was."""
    for each in members:
        system = await known.system(Canonical("CodeSystem", each.system))
        concept = await system.concept(each.code) if system is not None and system.usable else None
        if system is None or concept is None or await system.above(concept.code) != each.above:
            return False
    return True


def _unknown(name: str) -> Outcome:
    return Outcome(404, "not-found", f"closure {name} has not been initialized: send its name alone first", "name")


def _answer(ctx: Context, name: str, version: int, found: Iterable[Entry]) -> Answer:
    said = groups(found)
    resource = {
        "resourceType": "ConceptMap",
        "id": name,
        "version": str(version),
        "name": "ClosureTableUpdates",
        "title": f"Updates for Closure Table {name}",
        "status": "active",
        "experimental": True,
        "date": instant(ctx.now()),
        **({"group": said} if said else {}),
    }
    return Answer(status=200, body=json.encode(resource))
