"""create, update, patch, delete, and their conditional forms. https://hl7.org/fhir/R4/http.html#create"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome, gone, invalid, not_found
from fhirserver.fhir.patch import fhirpath_patch, json_patch
from fhirserver.fhir.references import is_conditional, links, place_of
from fhirserver.interactions.changes import Resource, accepted, deleted, written
from fhirserver.interactions.conditions import MATCHES, check_absent, check_version, criteria, match, matches
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.in_force import unclear
from fhirserver.interactions.integrity import check_references, check_unreferenced
from fhirserver.interactions.lawful import check_naming, check_patched, check_written, permitted, replaced
from fhirserver.interactions.parameters import take, write_all
from fhirserver.interactions.sight import within_reach
from fhirserver.interactions.validation import approved
from fhirserver.search.custom import SEARCH_PARAMETER
from fhirserver.search.query import Query
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Change, Conflict, Stored

ATTEMPTS = 12
PAUSE, LONGEST_PAUSE = 0.01, 0.3  # seconds: at most so long before the second attempt, and before any
_pauses = secrets.SystemRandom()  # which nobody seeds, and which disturbs nobody who does


async def create(ctx: Context, request: Request, type_: str) -> Answer:
    """201; with If-None-Exist 200 and the resource that exists."""
    authorize(ctx.caller, "create", type_)
    resource = accepted(ctx, request.body, type_)
    await approved(ctx, resource)
    if request.if_none_exist is None:
        return await _alone(ctx, type_, lambda bound: _insert(bound, resource, new_id()))
    query = criteria(ctx, type_, request.if_none_exist)

    async def once(bound: Context) -> Answer:
        existing = await match(bound, query, creating=True)
        if existing is None:
            return await _insert(bound, resource, new_id())
        bound.touched(existing.reference, existing.compartments)
        return Answer(status=200, body=existing.body, stored=existing, wrote=True)

    return await _together(ctx, type_, once)


async def update(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """200, or 201 for an id that the client chose. A deleted resource comes back to life."""
    authorize(ctx.caller, "update", type_)
    resource = identified(accepted(ctx, request.body, type_), id_)
    await approved(ctx, resource)
    return await _alone(ctx, type_, lambda bound: _replace(bound, request, resource, id_), id_)


async def patch(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """JSON Patch (a list) or FHIRPath Patch (Parameters) on the current version."""
    authorize(ctx.caller, "patch", type_)

    async def once(bound: Context) -> Answer:
        found = await replaced(bound, type_, id_, "u")
        current = existing(found, f"{type_}/{id_}")
        check_version(request.if_match, current, current.reference)
        answer = await _next_version(bound, await patched(bound, current, request.body), current)
        return await unread(bound, current, answer)

    return await _alone(ctx, type_, once, id_)


async def delete(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """204, also for what is not there: https://hl7.org/fhir/R4/http.html#delete"""
    authorize(ctx.caller, "delete", type_)

    async def once(bound: Context) -> Answer:
        current = await replaced(bound, type_, id_, "d")
        check_version(request.if_match, current, f"{type_}/{id_}")
        if current is None or current.deleted:
            return Answer(status=204, wrote=True, stored=current)
        await check_unreferenced(bound, {current.reference})
        return await _save(bound, lambda now: deleted(now, current), 204, "d")

    return await _alone(ctx, type_, once, id_)


async def conditional_update(ctx: Context, request: Request, type_: str) -> Answer:
    """https://hl7.org/fhir/R4/http.html#cond-update"""
    authorize(ctx.caller, "update", type_)
    resource = accepted(ctx, request.body, type_)
    await approved(ctx, resource)
    query = criteria(ctx, type_, request.pairs)

    async def once(bound: Context) -> Answer:
        id_ = await updated_id(bound, resource, query)
        return await _replace(bound, request, resource | {"id": id_}, id_, named="id" in resource)

    return await _together(ctx, type_, once)


async def conditional_patch(ctx: Context, request: Request, type_: str) -> Answer:
    """https://hl7.org/fhir/R4/http.html#patch"""
    authorize(ctx.caller, "patch", type_)
    query = criteria(ctx, type_, request.pairs)

    async def once(bound: Context) -> Answer:
        found = await match(bound, query)
        (current,) = await permitted(bound, [existing(found, "a resource that matches the condition")], "u")
        check_version(request.if_match, current, current.reference)
        answer = await _next_version(bound, await patched(bound, current, request.body), current)
        return await unread(bound, current, answer)

    return await _together(ctx, type_, once, creating=False)


async def conditional_delete(ctx: Context, request: Request, type_: str) -> Answer:
    """One match, or all of them where the server is set to. https://hl7.org/fhir/R4/http.html#3.1.0.7.1"""
    authorize(ctx.caller, "delete", type_)
    query = criteria(ctx, type_, request.pairs)

    async def once(bound: Context) -> Answer:
        changes = [deleted(bound, current) for current in await deletable(bound, query, request.if_match)]
        await check_unreferenced(bound, {f"{type_}/{change.id}" for change in changes})
        written_ = await write_all(bound, changes)
        for each in written_:
            ctx.touched(each.reference, each.compartments)
        return Answer(status=204, wrote=True, stored=written_[0] if len(written_) == 1 else None)

    return await _together(ctx, type_, once, creating=False)


# what single interactions and transactions share


def identified(resource: Resource, id_: str) -> Resource:
    """https://hl7.org/fhir/R4/http.html#update: the body must carry the id of the URL."""
    type_ = resource["resourceType"]
    if resource.get("id") != id_:
        said = f"id {resource['id']!r}" if "id" in resource else "no id; it has to be the same"
        raise invalid(f"the URL says {type_}/{id_}, the body has {said}", f"{type_}.id")
    return resource


def existing(current: Stored | None, reference: str) -> Stored:
    if current is None:
        raise not_found(reference)
    if current.deleted:
        raise gone(current.reference)
    return current


async def patched(ctx: Context, current: Stored, document: Any) -> Resource:
    """The patched resource, valid and still the same one."""
    await check_patched(ctx, current)
    before = json.resource(current.body)
    after = (
        json_patch(before, document)
        if isinstance(document, list)
        else fhirpath_patch(before, document, ctx.definitions)
    )
    resource = identified(accepted(ctx, after, current.type), current.id)
    await approved(ctx, resource)
    return resource


async def updated_id(ctx: Context, resource: Resource, query: Query) -> str:
    """The id that a conditional update writes to."""
    found, named = await match(ctx, query, creating=True), resource.get("id")
    if found is None:
        if named is None:
            return new_id()
        check_naming(ctx, query.type_, named)
        other = await ctx.store.read(query.type_, named)
        if other is not None and not other.deleted:
            raise Outcome(409, "conflict", f"{query.type_}/{named} exists and does not match the condition")
        return str(named)
    if named not in (None, found.id):
        raise invalid(f"the condition matches {found.reference}, the body has id {named!r}", f"{query.type_}.id")
    return found.id


async def deletable(ctx: Context, query: Query, if_match: str | None) -> list[Stored]:
    """What a conditional delete deletes, each at the version that the client has seen."""
    if ctx.settings.conditional_delete == "single":
        found = await match(ctx, query)
        many = [found] if found else []
    else:
        many = await matches(ctx, query, MATCHES + 1)
    if len(many) > MATCHES:
        raise Outcome(412, "too-costly", f"the condition matches more than {MATCHES:,} resources; narrow it")
    many = await permitted(ctx, many, "d")
    for each in many:
        check_version(if_match, each, each.reference)
    return many


async def unread(ctx: Context, current: Stored, answer: Answer) -> Answer:
    """A patch shows nothing of what the caller may change and not read."""
    return answer if await within_reach(ctx, current, "r") else replace(answer, body=b"", warnings=())


def check_links(ctx: Context, resource: Resource) -> None:
    """A conditional reference is for transactions, which resolve it; stored as it is, it would lead nowhere."""
    for text in links(resource):
        if is_conditional(text, ctx.definitions):
            message = f"the conditional reference {text[:200]} is resolved in a transaction only; send one"
            raise invalid(message, place_of(text, resource, ctx.definitions), code="not-supported")


# steps


async def _insert(ctx: Context, resource: Resource, id_: str) -> Answer:
    check_links(ctx, resource)
    await check_references(ctx, {resource["resourceType"]: resource})
    return await _save(ctx, lambda now: written(now, resource, id_), 201, "c")


async def _replace(ctx: Context, request: Request, resource: Resource, id_: str, *, named: bool = True) -> Answer:
    type_ = resource["resourceType"]
    current = await replaced(ctx, type_, id_, "u")
    if current is None and named:
        check_naming(ctx, type_, id_)
    check_version(request.if_match, current, f"{type_}/{id_}")
    check_absent(request.if_none_match, current, f"{type_}/{id_}")
    if current is None:
        return await _insert(ctx, resource, id_)
    return await _next_version(ctx, resource, current)


async def _next_version(ctx: Context, resource: Resource, current: Stored) -> Answer:
    check_links(ctx, resource)
    await check_references(ctx, {resource["resourceType"]: resource})
    if current.deleted:
        authorize(ctx.caller, "create", current.type)
    return await _save(
        ctx, lambda now: written(now, resource, current.id, current), 201 if current.deleted else 200, "u"
    )


async def _save(ctx: Context, made: Callable[[Context], Change], status: int, permission: str) -> Answer:
    """One atomic write; of a search parameter, in a transaction with what it changes.

    It is indexed by the rules of now, not of when the request began, and these are in use until it is stored.
    """
    ctx = ctx.fresh()
    with ctx.indexer.in_use():
        change = made(ctx)
        if change.body is not None:
            await check_written(ctx, change, permission)
        if change.type == SEARCH_PARAMETER:
            (stored,) = await write_all(ctx, [change])
        else:
            stored = await ctx.store.write(change)
        ctx.touched(stored.reference, change.places)
    warnings = unclear(ctx, change.resource) if change.body is not None else ()
    return Answer(status=status, body=change.body or b"", stored=stored, wrote=True, warnings=warnings)


async def _alone(ctx: Context, type_: str, once: Callable[[Context], Awaitable[Answer]], id_: str = "") -> Answer:
    """One write of one resource; a search parameter and what it changes are written in one transaction."""
    if type_ == SEARCH_PARAMETER:
        return await _together(ctx, type_, once)
    return await (_retried(lambda: once(ctx), f"{type_}/{id_}") if id_ else once(ctx))


async def _together(
    ctx: Context, type_: str, once: Callable[[Context], Awaitable[Answer]], *, creating: bool = True
) -> Answer:
    """Decide and write in one transaction, so that what was decided upon still holds when it is written.

    `creating`: it may be the first of its type.
    """
    if ctx.store.session is not None:
        return await once(ctx)
    if creating:
        await ctx.store.ensure(type_)
    ctx = ctx.fresh()
    try:
        with ctx.indexer.in_use():
            answer = await transact(ctx.store, lambda store: once(replace(ctx, store=store)))
    except Conflict as error:
        raise _contended(type_) from error
    if type_ == SEARCH_PARAMETER:
        await take(ctx)
    return answer


async def _retried(once: Callable[[], Awaitable[Answer]], reference: str) -> Answer:
    """Read, decide, write; somebody else may write in between, then again."""
    for attempt in range(ATTEMPTS):
        try:
            return await once()
        except Conflict:
            await asyncio.sleep(_pauses.uniform(0, min(PAUSE * 2**attempt, LONGEST_PAUSE)))
    raise _contended(reference)


def _contended(reference: str) -> Outcome:
    return Outcome(409, "conflict", f"{reference} is being changed by others all the time; try again")
