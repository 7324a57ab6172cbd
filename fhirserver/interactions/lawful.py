"""What may be written: the resource as it was and as it will be must both be within the caller's reach.

Who sees a part of the data only cannot choose ids: whether one is taken would tell of what it does not see.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from fhirserver.access.policy import authorize, beyond
from fhirserver.access.reach import SHARED, keeps_to_records, looking_up, opens, reach, sees_what_is_named
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import not_found
from fhirserver.interactions.in_force import open_in_emergency
from fhirserver.interactions.lifting import check_lifting, check_permitting
from fhirserver.interactions.referred import named_by, shared_in, shown_by
from fhirserver.interactions.sight import current_all, held_within, within_reach
from fhirserver.search.compartments import SOMEBODY
from fhirserver.search.criteria import Criterion
from fhirserver.search.joined import EVERYTHING, NOTHING
from fhirserver.store.versions import Change, Stored

NO_ACCOUNT = ""  # to which nothing is open in an emergency
DOES = {"c": "create", "u": "update", "d": "delete"}


async def replaced(ctx: Context, type_: str, id_: str, permission: str) -> Stored | None:
    """What a write is about: the current version, as far as the caller sees it. 403 for what it only sees."""
    found = await found_by_id(ctx, type_, [id_], permission)
    return next(iter(await permitted(ctx, [*found.values()], permission)), None)


async def found_by_id(ctx: Context, type_: str, ids: Sequence[str], permission: str) -> dict[str, Stored]:
    """The current versions that the caller sees, or reaches without seeing them. Nothing else takes longer for that."""
    found: dict[str, Stored] = {}
    ways: dict[Criterion, str] = {}
    for asked in ("s", "r", permission):  # consents and labels leave no more to change than to see
        ways.setdefault(reach(ctx.caller, type_, asked), asked)
    for criterion, each in ways.items():
        left = [id_ for id_ in ids if id_ not in found]
        if left and criterion != NOTHING:
            found |= await current_all(ctx, type_, left, each)
    return found


async def permitted(ctx: Context, found: Sequence[Stored], permission: str) -> list[Stored]:
    """Those of what was found that may be written. 403 where one is only seen: it is no secret.

    To see what is in several records it is enough to reach one of them, to change it is not.
    """
    kept = []
    for each in found:
        if await _beyond(ctx, each, permission, _records(each)) is None:
            await check_lifting(ctx, each)
            kept.append(each)
        elif await _sees(ctx, each):
            said = f"the scopes of this access token do not reach {DOES[permission]} of {each.reference}"
            raise beyond(said + await _hint(ctx, each.type, permission, _records(each)))
    return kept


async def _hint(ctx: Context, type_: str, permission: str, records: Sequence[str]) -> str:
    if not opens(type_, permission) or {*records}.isdisjoint(await open_in_emergency(ctx)):
        return ""
    return (
        f"; an emergency opens a record for a while, and is no reason to write a {type_}, which may open it for longer"
    )


async def _check_outlasting(ctx: Context, before: Stored, version: Stored) -> None:
    """403 for a change that shows for good what the caller sees in an emergency only: a label taken off, a move."""
    if {*_records(before)}.isdisjoint(await open_in_emergency(ctx)):
        return
    ordinary = replace(ctx, caller=ctx.caller._replace(user=NO_ACCOUNT), trail=None)
    if not await _sees(ordinary, before) and await _sees(ordinary, version):
        said = f"{before.reference} is shown because of an emergency, and this change would show it when that is over"
        raise beyond(f"{said}: leave its labels, codes and patient as they are, so that it is kept back as it was")


async def check_patched(ctx: Context, current: Stored) -> None:
    """403 for a patch of what the caller may change and not see: whether a patch fits tells what is there."""
    if not await _sees(ctx, current):
        said = f"a patch tells what is in {current.reference}, which this access token may not see"
        raise beyond(f"{said}: it needs r or s too; an update needs u alone")


async def _sees(ctx: Context, version: Stored) -> bool:
    return await within_reach(ctx, version, "r") or await within_reach(ctx, version, "s")


def check_naming(ctx: Context, type_: str, id_: str) -> None:
    """404 for a resource that is not there, under an id of the client's choice, unless it sees all there are."""
    authorize(ctx.caller, "create", type_)
    if any(reach(ctx.caller, type_, permission) != EVERYTHING for permission in "cu"):
        raise not_found(f"{type_}/{id_}")


async def check_written(ctx: Context, change: Change, permission: str, arriving: Set[str] = frozenset()) -> None:
    """403 for what would be beyond reach, in any of the records that it would be in, or would bring it within reach.

    `arriving` is what is created with it.
    """
    version, before = change.stored, change.previous
    records = _records(version)
    if change.type == "Patient":  # to whom it is linked, and was not before
        linked = {each for each in version.compartments if each.startswith("Patient/")}
        records += sorted(linked.difference(records, before.compartments if before else ()))
    place = await _beyond(ctx, version, permission, records)
    if place is not None:
        whose = "somebody who is not a patient here" if place == SOMEBODY else place
        where = f", in the record of {whose}" if place else ""
        said = f"the scopes of this access token do not reach {DOES[permission]} of such a {change.type}{where}"
        said += ", or a consent of the patient or a security label is against it"
        raise beyond(said + await _hint(ctx, change.type, permission, records))
    await check_permitting(ctx, change)
    if before is not None and not before.deleted:
        await _check_outlasting(ctx, before, version)
    keeps = keeps_to_records(ctx.caller, change.type, permission)
    shown = {type_ for type_ in SHARED if keeps or sees_what_is_named(ctx.caller, type_)}
    if shown:
        await _check_named(ctx, change, records, arriving, shown)


async def _check_named(
    ctx: Context, change: Change, records: Sequence[str], arriving: Set[str], shown: Set[str]
) -> None:
    """What a record refers to can be seen with it: so who sees it by nothing else cannot add to that, not even a guess.

    `shown` are the types of which that is so. Everybody may name who they are themselves.
    """
    added = {type_: ids for type_, ids in shared_in(ctx, change.type, change.search).items() if type_ in shown}
    if change.previous is not None and not change.previous.deleted and added:
        before = shared_in(ctx, change.type, ctx.indexer.entry(json.resource(change.previous.body)).search)
        added = {type_: ids - before.get(type_, set()) for type_, ids in added.items()}
    added = {type_: {id_ for id_ in ids if f"{type_}/{id_}" not in arriving} for type_, ids in added.items()}
    if not any(added.values()):
        return
    known = await named_by(ctx, records) if records else {}
    for type_, ids in added.items():
        left = ids - await shown_by(ctx, records, known, type_)
        there = await ctx.store.read_stored(type_, left)
        own = {each.id for each in there if not {*records}.isdisjoint(each.compartments)}
        own |= {id_ for id_ in left if f"{type_}/{id_}" == ctx.caller.fhir_user}
        for id_ in sorted(left - own - await _looked_up(ctx, type_, left - own)):
            raise beyond(f"{type_}/{id_} is not known to this record, so that this app cannot refer to it")


async def _looked_up(ctx: Context, type_: str, ids: Set[str]) -> set[str]:
    """Those that the caller sees whatever records refer to."""
    looking, found = replace(ctx, caller=looking_up(ctx.caller)), set[str]()
    for permission in "rs":
        if ids and reach(looking.caller, type_, permission) != NOTHING:
            found |= (await current_all(looking, type_, sorted(ids), permission)).keys()
    return found


def _records(version: Stored) -> list[str]:
    """The patients whose records a resource is in; a patient is in its own."""
    if version.type == "Patient":
        return [version.reference]
    return [each for each in version.compartments if each.startswith("Patient/")]


async def _beyond(ctx: Context, version: Stored, permission: str, records: Sequence[str]) -> str | None:
    """The first of these records that is beyond reach; nothing where it is all within, "" where it is in none."""
    if ctx.caller.open:
        return None
    parts = [_within(version, each) for each in records] or [version]
    held = await held_within(ctx, version.type, parts, permission)
    return next((place for place, met in zip(records or [""], held, strict=True) if not met), None)


def _within(version: Stored, record: str) -> Stored:
    """As if it were in this record alone."""
    if version.type == "Patient":
        return version._replace(id=record.removeprefix("Patient/"))
    return version._replace(compartments=(record,))
