"""Conditions on interactions: the version that must be current, and criteria that must match once.

https://hl7.org/fhir/R4/http.html#concurrency, #ccreate, #cond-update, #3.1.0.7.1
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, in_query, invalid
from fhirserver.interactions.exchange import Pairs, versions_of
from fhirserver.interactions.partial import refuse_lacks, refuse_unfinished
from fhirserver.interactions.resolve import Found, resolve, staying
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query
from fhirserver.search.query_string import parse
from fhirserver.store.budget import Budget
from fhirserver.store.versions import Stored

MATCHES = 1_000
_type = re.compile(r"([^?=&]*)\?")  # `Patient?` before the criteria; a later question mark belongs to a value


def check_version(if_match: str | None, current: Stored | None, reference: str) -> None:
    """412 unless the resource is at the version that the client has seen."""
    if if_match is None:
        return
    wanted = versions_of(if_match, "If-Match")
    exists = current is not None and not current.deleted
    if exists and current is not None and not wanted.isdisjoint(("*", str(current.version))):
        return
    now = f"is at version {current.version}" if exists and current else "does not exist"
    asked = " or ".join(sorted(wanted))
    raise Outcome(412, "conflict", f"If-Match asks for version {asked} of {reference}, which {now}; read it again")


def check_absent(if_none_match: str | None, current: Stored | None, reference: str) -> None:
    """412 for a write that is only meant for what is not here: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2"""
    if if_none_match is None or current is None or current.deleted:
        return
    if not versions_of(if_none_match, "If-None-Match").isdisjoint(("*", str(current.version))):
        raise Outcome(412, "conflict", f"If-None-Match: {reference} is here, at version {current.version}")


def criteria(ctx: Context, type_: str, text: str | Pairs) -> Query:
    """The query of a condition. Here an unknown parameter is always refused: ignoring it would match too much."""
    pairs = _pairs(ctx, type_, text) if isinstance(text, str) else text
    query = parse(
        type_,
        pairs,
        ctx.registry,
        strict=True,
        base_url=ctx.base_url,
        default_count=ctx.settings.default_count,
        max_count=ctx.settings.max_count,
    )
    refuse_unfinished(ctx, query)
    if query.contained != "false":
        sentence = "_contained: a condition is about resources, not about what they contain"
        raise invalid(sentence, in_query("_contained"), code="not-supported")
    if not query.criteria:
        raise Outcome(
            412,
            "processing",
            f"the condition on {type_} names no search parameter, so it would match them all; say which one is meant:"
            f" {type_}/[id], or {type_}?identifier=…",
        )
    return query


def _pairs(ctx: Context, type_: str, text: str) -> Pairs:
    """Of `identifier=…`; `?` and the type, or its URL, may stand before it, as some clients write."""
    named = _type.match(text)
    if named and named[1].removeprefix(f"{ctx.base_url}/") not in ("", type_):
        raise invalid(f"the condition is on {named[1][:80]}, and what is decided by it is a {type_}")
    try:
        return tuple(parse_qsl(text[named.end() if named else 0 :], keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise invalid("the condition is not percent-encoded UTF-8") from error


def claim_key(query: Query) -> str:
    """One text for one condition, however its parts were ordered."""
    return f"{query.type_}?{'&'.join(sorted(f'{name}={value}' for name, value in query.used))}"


async def matches(ctx: Context, query: Query, limit: int = 2, *, deleting: bool = True) -> list[Stored]:
    """What a condition matches now, at most `limit`; `deleting`: what the same transaction deletes, too."""
    authorize(ctx.caller, "search", query.type_)
    async with Budget(ctx.store):
        found = Found()
        query = await resolve(ctx, restrict(ctx.caller, query), found)
        refuse_lacks(found.lacks)
        filter_ = query_filter(query, ctx.now())
        return await ctx.store.find_stored(
            query.type_, filter_ if deleting else staying(ctx, query.type_, filter_), limit
        )


async def match(ctx: Context, query: Query, *, creating: bool = False, deleting: bool = True) -> Stored | None:
    """The one match, None for none. 412 for several: guessing would change the wrong patient's record.

    `creating`: none is claimed, inside a transaction. Of two that are about to create the same thing one is run again,
    and finds what the other created. `deleting`: what the same transaction deletes is matched as well, so that to
    update it too is refused.
    """
    found = await matches(ctx, query, deleting=deleting)
    if len(found) > 1:
        raise Outcome(412, "multiple-matches", f"{claim_key(query)} matches several resources; it must match one")
    if creating and not found:
        await ctx.store.claim(claim_key(query))
    return found[0] if found else None
