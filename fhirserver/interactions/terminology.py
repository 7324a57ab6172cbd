"""Where the terminology service finds what is stored: its definitions and their versions, by canonical URL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from pymongo.errors import PyMongoError

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.criteria import AnyOf, Clause
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query
from fhirserver.store.resources import Document, stored
from fhirserver.store.watching import changes
from terminology.canonical import Candidate, Canonical, latest
from terminology.releases import releases
from terminology.releases.release import Release
from terminology.releases.schema import RELEASES
from terminology.service import Read, Service

MOST_VERSIONS = 5_000  # with the URLs that are asked for at once
KINDS = ("ValueSet", "CodeSystem", "ConceptMap")
MOST_MAPS = 100  # from one system
AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


def service(ctx: Context) -> Service:
    """For who asks. Terminology is open to a caller as a whole or not at all, so what is compiled can be shared."""
    for type_ in KINDS:
        authorize(ctx.caller, "search", type_)
    return Service(_Stored(ctx), ctx.terminology, ctx.base_url)


class _Stored:
    """A `terminology.service.Source`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def candidates(self, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
        found: dict[Canonical, Candidate | None] = {}
        for type_ in KINDS:
            wanted = [each for each in asked if each.type == type_]
            if wanted:
                candidates = await self._with_urls(type_, {each.url for each in wanted})
                found |= {each: latest(each, candidates.get(each.url, ())) for each in wanted}
        systems = [each for each in found if each.type == "CodeSystem"]
        if systems:
            large = await releases.candidates(self._ctx.store.database, systems)
            found |= {each: chosen for each, chosen in large.items() if not _whole(found[each])}
        return found

    async def release(self, key: str) -> Release | None:
        return await releases.release(self._ctx.store.database, key, self._ctx.store.search_ms)

    async def maps(self, systems: tuple[str, str | None]) -> list[Canonical]:
        ctx, (source, target) = self._ctx, systems
        parameters = ctx.registry["ConceptMap"]
        asked = [Clause(parameters["source-system"], None, (source,))]
        if target is not None:
            asked.append(Clause(parameters["target-system"], None, (target,)))
        query = restrict(ctx.caller, Query("ConceptMap", criteria=tuple(asked)))
        found: Document = {"$match": query_filter(query, ctx.now())}
        stages: list[Document] = [found, {"$limit": MOST_MAPS + 1}, {"$project": {"_id": 1}}]
        rows = await ctx.store.aggregate("ConceptMap", stages)
        if len(rows) > MOST_MAPS:
            raise too_costly(f"more than {MOST_MAPS} concept maps are from {source[:200]}; name one by its url")
        return [Canonical("ConceptMap", f"ConceptMap/{row['_id']}") for row in rows]

    async def read(self, type_: str, ids: Collection[str]) -> dict[str, Read]:
        documents = await self._ctx.store.read_many(type_, ids)
        versions = [stored(type_, document) for document in documents if "body" in document]
        return {each.id: Read(each.version, json.resource(each.body)) for each in versions}

    async def _with_urls(self, type_: str, urls: Collection[str]) -> dict[str, list[Candidate]]:
        ctx = self._ctx
        parameters = ctx.registry[type_]
        ids = {f"{type_}/{id_}": id_ for url in urls for kind, _, id_ in [url.partition("/")] if kind == type_ and id_}
        named = Clause(parameters["_id"], None, tuple(ids.values()))
        query = Query(type_, criteria=(AnyOf((Clause(parameters["url"], None, tuple(urls)), named)),))
        fields: dict[str, Any] = {"version": 1, "updated": 1, "url": "$search.url"}
        fields |= {"business": "$sort.version", "status": "$sort.status"}
        if type_ == "CodeSystem":
            fields["whole"] = {"$in": ["complete", {"$ifNull": ["$search.content-mode", []]}]}
        stages: list[Document] = [
            {"$match": query_filter(restrict(ctx.caller, query), ctx.now())},
            {"$limit": MOST_VERSIONS + 1},
            {"$project": fields},
        ]
        rows = await ctx.store.aggregate(type_, stages)
        if len(rows) > MOST_VERSIONS:
            raise too_costly(
                f"there are more than {MOST_VERSIONS:,} versions of the {type_} resources that are asked for"
            )
        found: dict[str, list[Candidate]] = {}
        for row in rows:
            version, status = row.get("business", ""), row.get("status", "")
            for url in (*row.get("url", ()), f"{type_}/{row['_id']}"):
                whole = row.get("whole", True)
                candidate = Candidate(row["_id"], row["version"], url, version, status, row["updated"], whole=whole)
                found.setdefault(url, []).append(candidate)
        return found


def _whole(found: Candidate | None) -> bool:
    """A release goes before a resource without concepts, or with some of them."""
    return found is not None and found.whole


async def follow(ctx: Context) -> None:
    """Until it is cancelled: what is compiled needs no second look as long as changes are told here."""
    kept = ctx.terminology
    while True:
        try:
            async for changed in changes(ctx.store, (*KINDS, RELEASES)):
                if changed:
                    kept.changed()
                kept.heard()
        except PyMongoError as error:
            log.debug("value sets and code systems are not watched for a while: %s", error)
        kept.lost()
        await asyncio.sleep(AGAIN_SECONDS)
