"""Which interaction a request is: https://hl7.org/fhir/R4/http.html#summary

The one table of URLs, for REST calls and for the entries of batches and transactions alike.
"""

from __future__ import annotations

from difflib import get_close_matches

from fhirserver.context import Context
from fhirserver.fhir.ids import ID
from fhirserver.fhir.outcome import Outcome, invalid, not_found
from fhirserver.interactions import batch, capabilities, histories, jobs, read, search, write
from fhirserver.interactions.exchange import Answer, Request, located
from fhirserver.interactions.own_operations import check_not_own, own_definition, read_own
from fhirserver.interactions.summary import summarized


async def perform(ctx: Context, request: Request, representation: bool = False) -> Answer:
    """Do what the request asks. `representation`: entries of a Bundle come back with their resources."""
    try:
        return await _perform(ctx, request, representation)
    except Outcome as refusal:
        raise refusal.saying(located(request, refusal.issues)) from refusal


async def _perform(ctx: Context, request: Request, representation: bool) -> Answer:
    match request.path:
        case ():
            return await _system(ctx, request, representation)
        case ("metadata",):
            _allow(request, "GET")
            return await capabilities.capabilities(ctx, request)
        case ("_history",):
            _allow(request, "GET")
            return await histories.history(ctx, request, None, None)
        case ("_search",):
            _allow(request, "POST")
            return await search.search_system(ctx, request)
        case ("_jobs",):
            _allow(request, "GET")
            return await jobs.listing(ctx)
        case ("_jobs", id_):
            _allow(request, "GET", "DELETE")
            return await (jobs.status if request.method == "GET" else jobs.cancel)(ctx, id_)
        case (type_, *rest) if type_ in ctx.definitions.resource_types:
            return await _type(ctx, request, type_, tuple(rest))
        case (name,) if name.startswith("$"):
            return await _operate(ctx, request, name, "", None)
        case (name, *_):
            raise Outcome(404, "not-supported", f"{name[:80]} is not a resource type of FHIR R4{_meant(ctx, name)}")
    raise _nothing(request)


async def _system(ctx: Context, request: Request, representation: bool) -> Answer:
    _allow(request, "GET", "POST")
    if request.method == "GET":
        return await search.search_system(ctx, request)
    return await batch.answered(ctx, request, perform, representation)


async def _type(ctx: Context, request: Request, type_: str, rest: tuple[str, ...]) -> Answer:
    match rest:
        case ():
            return await _collection(ctx, request, type_)
        case ("_search",):
            _allow(request, "POST")
            return await search.search_type(ctx, request, type_)
        case ("_history",):
            _allow(request, "GET")
            return await histories.history(ctx, request, type_, None)
        case (name,) if name.startswith("$"):
            return await _operate(ctx, request, name, type_, None)
        case (id_, *below):
            if not ID.fullmatch(id_):
                if request.method in ("PUT", "PATCH"):
                    raise invalid(f"{id_[:80]!r} is not an id: 1 to 64 letters, digits, '-' and '.'", f"{type_}.id")
                raise not_found(f"{type_}/{id_[:80]}")
            return await _instance(ctx, request, type_, id_, tuple(below))
    raise _nothing(request)


async def _collection(ctx: Context, request: Request, type_: str) -> Answer:
    match request.method:
        case "GET":
            return await search.search_type(ctx, request, type_)
        case "POST":
            return await write.create(ctx, request, type_)
        case "PUT":
            return await write.conditional_update(ctx, request, type_)
        case "PATCH":
            return await write.conditional_patch(ctx, request, type_)
        case "DELETE":
            return await write.conditional_delete(ctx, request, type_)
    raise _not_allowed(request, "GET", "POST", "PUT", "PATCH", "DELETE")


async def _instance(ctx: Context, request: Request, type_: str, id_: str, below: tuple[str, ...]) -> Answer:
    match below:
        case ():
            return await _resource(ctx, request, type_, id_)
        case ("_history",):
            _allow(request, "GET")
            return await histories.history(ctx, request, type_, id_)
        case ("_history", version):
            _allow(request, "GET")
            return summarized(ctx, request, await read.vread(ctx, request, type_, id_, version))
        case (name,) if name.startswith("$"):
            return await _operate(ctx, request, name, type_, id_)
        case (member,) | (member, "_search") if member == "*" or member in ctx.definitions.resource_types:
            _allow(request, "POST" if len(below) == 2 else "GET")
            return await search.search_compartment(ctx, request, type_, id_, member)
    raise _nothing(request)


async def _resource(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    if own := own_definition(ctx, type_, id_):
        if request.method != "GET":
            check_not_own(ctx, type_, id_)
        return summarized(ctx, request, read_own(ctx, own))
    match request.method:
        case "GET":
            return summarized(ctx, request, await read.read(ctx, request, type_, id_))
        case "PUT":
            return await write.update(ctx, request, type_, id_)
        case "PATCH":
            return await write.patch(ctx, request, type_, id_)
        case "DELETE":
            return await write.delete(ctx, request, type_, id_)
    raise _not_allowed(request, "GET", "PUT", "PATCH", "DELETE")


async def _operate(ctx: Context, request: Request, name: str, type_: str, id_: str | None) -> Answer:
    """https://hl7.org/fhir/R4/operations.html"""
    operation = ctx.operations.get((type_, name[1:], id_ is not None))
    if operation is None:
        level, other = (f"{type_}/[id]", type_) if id_ is not None else (type_ or "the system", f"{type_}/[id]")
        elsewhere = f"; it is one on {other}" if (type_, name[1:], id_ is None) in ctx.operations else ""
        raise Outcome(404, "not-supported", f"{name} is not an operation on {level}{elsewhere}")
    _allow(request, "GET", "POST")
    answer: Answer = await operation.run(ctx, request, type_, id_)
    return answer


def _meant(ctx: Context, name: str) -> str:
    """`patient`, `Patients`: https://hl7.org/fhir/R4/http.html#general, names have their case"""
    known = {each.lower(): each for each in ctx.definitions.resource_types}
    near = get_close_matches(name[:80].lower(), known, 1, 0.85)
    return f"; did you mean {known[near[0]]}?" if near else ""


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _not_allowed(request, *methods)


def _not_allowed(request: Request, *methods: str) -> Outcome:
    allowed = ", ".join(methods)
    message = f"{request.method} is not possible on /{'/'.join(request.path)}; possible: {allowed}"
    return Outcome(405, "not-supported", message, headers=(("allow", allowed),))


def _nothing(request: Request) -> Outcome:
    return Outcome(404, "not-found", f"nothing is at /{'/'.join(request.path)[:200]}")
