"""The profiles that are known: StructureDefinitions that are stored, and those that R4 publishes where none is.

What was compiled is used as long as every canonical still means the same stored version, so that what is stored
is in force with the next request, on every server of the database. https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

import pymongo
from pymongo.errors import PyMongoError

from fhirserver.context import OPERATOR, Context
from fhirserver.fhir.outcome import Outcome, too_costly
from fhirserver.interactions.terminology import STRUCTURE_DEFINITION, Stored
from fhirserver.search.criteria import Clause, Token
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query
from fhirserver.store.versions import Document
from fhirserver.validation.kept import Identity, Kept
from fhirserver.validation.profiles import Profile, of_type, published
from terminology.canonical import Candidate, canonical, latest

Supported = Mapping[str, tuple[str, ...]]
MOST_ASKED = 1_000  # by one resource
MOST_KEPT = 10_000
LISTED_SECONDS = 0.5

log = logging.getLogger(__name__)


async def known(ctx: Context, asked: Collection[str]) -> Kept:
    """These canonicals and all that they lead to, as far as they are known. Profiles are nobody's data."""
    if len(asked) > MOST_ASKED:
        raise too_costly(f"it names more than {MOST_ASKED:,} profiles and extensions")
    ctx = replace(ctx, caller=OPERATOR)
    kept, epoch = ctx.profiles.now, ctx.terminology.epoch
    if not ctx.terminology.lasts(kept.epoch):
        if kept.used and await _means(ctx, kept.used) != kept.used:
            kept = Kept()
        kept.epoch, kept.members = epoch, {}
    if len(kept.used) > MOST_KEPT or len(kept.members) > MOST_KEPT:
        kept = Kept(epoch)
    ctx.profiles.now = kept
    ahead = {*asked} - kept.used.keys()
    while ahead:
        epoch = kept.epoch
        found = await _found(ctx, kept, ahead)
        if kept.epoch != epoch:
            continue  # others looked again meanwhile, so this may be of before
        for each in found:
            kept.put(*each)
        ahead = {each for _, profile, _ in found if profile for each in profile.needs} - kept.used.keys()
    return kept


async def supported(ctx: Context) -> Supported:
    """The profiles of resources that are stored and active, by type.

    Of a database that is silent, those of before: who asks what a server can do is not kept waiting.
    """
    listed = ctx.profiles.listed
    if listed is None or not ctx.terminology.lasts(listed[0]):
        epoch = ctx.terminology.epoch
        try:
            with pymongo.timeout(LISTED_SECONDS):
                listed = ctx.profiles.listed = epoch, await _active(replace(ctx, caller=OPERATOR))
        except (PyMongoError, Outcome) as error:
            log.warning("the database does not say which profiles are stored: %s", error)
    return listed[1] if listed else {}


async def _active(ctx: Context) -> Supported:
    parameters = ctx.registry[STRUCTURE_DEFINITION]
    asked = {"status": "active", "kind": "resource", "derivation": "constraint"}
    criteria = tuple([Clause(parameters[name], None, (Token(None, code),)) for name, code in asked.items()])
    stages: list[Document] = [
        {"$match": query_filter(Query(STRUCTURE_DEFINITION, criteria=criteria), ctx.now())},
        {"$limit": MOST_KEPT},
        {"$project": {"url": "$search.url", "type": "$search.type"}},
    ]
    found: dict[str, set[str]] = {}
    for row in await ctx.store.aggregate(STRUCTURE_DEFINITION, stages):
        for type_ in row.get("type", ()):
            found.setdefault(type_, set()).update(row.get("url", ()))
    return {type_: tuple(sorted(urls)) for type_, urls in found.items()}


async def _means(ctx: Context, canonicals: Collection[str]) -> dict[str, Identity]:
    """The stored version that each canonical means."""
    return {url: chosen and chosen.identity(STRUCTURE_DEFINITION) for url, chosen in await _chosen(ctx, canonicals)}


async def _chosen(ctx: Context, canonicals: Collection[str]) -> list[tuple[str, Candidate | None]]:
    wanted = {text: canonical(STRUCTURE_DEFINITION, text) for text in canonicals}
    found = await Stored(ctx).with_urls(STRUCTURE_DEFINITION, {each.url for each in wanted.values()})
    return [(text, latest(each, found.get(each.url, ()))) for text, each in wanted.items()]


async def _found(ctx: Context, kept: Kept, canonicals: Collection[str]) -> list[tuple[str, Profile | None, Identity]]:
    found: list[tuple[str, Profile | None, Identity]] = []
    chosen = await _chosen(ctx, canonicals)
    resources = await Stored(ctx).read(STRUCTURE_DEFINITION, {each.id for _, each in chosen if each is not None})
    for text, each in chosen:
        resource = resources.get(each.id) if each is not None else None
        if each is None or resource is None:
            found.append((text, published().get(text) or of_type(text, ctx.definitions), None))
        else:
            identity = each.identity(STRUCTURE_DEFINITION)[0], resource.version
            profile = kept.compiled(identity) or Profile(resource.resource, ctx.definitions)
            found.append((text, profile, identity))
    return found
