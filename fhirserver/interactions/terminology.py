"""The codes of value sets and what is below or above a code, from the resources that are present now.

What is stored is looked up in each search: what was compiled is used as long as every canonical it went through still
means the same stored version, so that servers of one database agree. What nobody stored may be published by FHIR R4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fhirserver.access.policy import authorize, restrict
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import invalid, too_costly
from fhirserver.search.criteria import AnyOf, Clause
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query
from fhirserver.store.resources import Document, stored
from terminology.canonical import Candidate, Canonical, canonical, latest
from terminology.code_systems import CodeSystem
from terminology.kept import Compiled, Identity
from terminology.published import published, published_system
from terminology.value_sets import Expansion, Present, expand, needs

MOST_RESOURCES = 500  # value sets and code systems that one value set is made of
MOST_VERSIONS = 5_000  # with the URLs that are asked for at once
Json = dict[str, Any]


async def members(ctx: Context, text: str) -> Expansion:
    """The codes of a value set, named by its canonical URL or as `ValueSet/[id]`. Raises a 400 Outcome."""
    asked = canonical("ValueSet", text.removeprefix(ctx.base_url.rstrip("/") + "/"))
    kept = ctx.terminology.expansion(asked)
    if kept is not None and await _current(ctx, kept.used):
        return kept.expansion
    gathered = _Gathering(ctx)
    await gathered.all_of(asked)
    expansion = expand(asked, Present(gathered.value_sets, gathered.code_systems))
    ctx.terminology.keep(asked, Compiled(gathered.used, expansion))
    return expansion


async def code_system(ctx: Context, url: str) -> CodeSystem:
    """The code system with a URL, latest version. Raises a 400 Outcome where it is not here."""
    asked = Canonical("CodeSystem", url)
    gathered = _Gathering(ctx)
    await gathered.all_of(asked)
    found = gathered.code_systems.get(asked)
    if found is None or not found.usable:
        what = "is not here" if found is None else "is here without its codes"
        raise invalid(f"code system {url[:200]} {what}, so nothing is known to be above or below", code="not-found")
    return found


class _Gathering:
    """A value set or code system with all that it is made of, one level of it after the other."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.used: dict[Canonical, Identity] = {}
        self.value_sets: dict[Canonical, Json] = {}
        self.code_systems: dict[Canonical, CodeSystem] = {}

    async def all_of(self, root: Canonical) -> None:
        ahead = {root}
        while ahead:
            if len(self.used) + len(ahead) > MOST_RESOURCES:
                raise too_costly(f"value set {root} is made of more than {MOST_RESOURCES} value sets and code systems")
            found = await _candidates(self._ctx, ahead)
            fresh: set[Canonical] = set()
            for type_ in ("ValueSet", "CodeSystem"):
                wanted = {asked: found[asked] for asked in ahead if asked.type == type_}
                fresh.update(await self._read(type_, wanted))
            ahead = fresh - self.used.keys()

    async def _read(self, type_: str, wanted: Mapping[Canonical, Candidate | None]) -> list[Canonical]:
        """What these need in turn."""
        chosen = [(f"{type_}/{each.id}", each.stored) for each in wanted.values() if each is not None]
        compiled = {identity: self._ctx.terminology.system(identity) for identity in chosen}
        unread = {reference.partition("/")[2] for (reference, _), system in compiled.items() if system is None}
        documents = {each["_id"]: each for each in await self._ctx.store.read_many(type_, unread)} if unread else {}
        needed: list[Canonical] = []
        for asked, each in wanted.items():
            identity = None if each is None else (f"{type_}/{each.id}", each.stored)
            system = compiled[identity] if identity else None
            document = documents.get(each.id, {}) if each else {}
            self.used[asked] = identity
            if system is not None:
                self.code_systems[asked] = system
            elif "body" in document:
                needed += self._add(asked, document)
            else:
                needed += self._publish(asked)
        return needed

    def _add(self, asked: Canonical, document: Document) -> Iterable[Canonical]:
        version = stored(asked.type, document)
        identity = (version.reference, version.version)
        self.used[asked] = identity
        resource = json.decode(version.body)
        if asked.type == "ValueSet":
            self.value_sets[asked] = resource
            return needs(resource)
        self.code_systems[asked] = CodeSystem(resource)
        self._ctx.terminology.keep(identity, self.code_systems[asked])
        return ()

    def _publish(self, asked: Canonical) -> Iterable[Canonical]:
        if asked.type == "CodeSystem":
            system = published_system(asked)
            if system is not None:
                self.code_systems[asked] = system
            return ()
        value_set = published(asked)
        if value_set is None:
            return ()
        self.value_sets[asked] = value_set
        return needs(value_set)


async def _current(ctx: Context, used: Mapping[Canonical, Identity]) -> bool:
    """Whether everything still means what it meant."""
    found = await _candidates(ctx, used)
    return all(
        used[asked] == (None if chosen is None else (f"{asked.type}/{chosen.id}", chosen.stored))
        for asked, chosen in found.items()
    )


async def _candidates(ctx: Context, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
    """The stored resource that each canonical means, of those that the caller may see."""
    found: dict[Canonical, Candidate | None] = {}
    for type_ in ("ValueSet", "CodeSystem"):
        wanted = [each for each in asked if each.type == type_]
        if wanted:
            candidates = await _with_urls(ctx, type_, {each.url for each in wanted})
            found |= {each: latest(each, candidates.get(each.url, ())) for each in wanted}
    return found


async def _with_urls(ctx: Context, type_: str, urls: Collection[str]) -> dict[str, list[Candidate]]:
    authorize(ctx.caller, "search", type_)
    parameters = ctx.registry[type_]
    ids = {f"{type_}/{id_}": id_ for url in urls for kind, _, id_ in [url.partition("/")] if kind == type_ and id_}
    either = AnyOf((Clause(parameters["url"], None, tuple(urls)), Clause(parameters["_id"], None, tuple(ids.values()))))
    query = restrict(ctx.caller, Query(type_, criteria=(either,)))
    fields = {"version": 1, "updated": 1, "url": "$search.url", "business": "$sort.version", "status": "$sort.status"}
    stages: list[Document] = [
        {"$match": query_filter(query, ctx.now())},
        {"$limit": MOST_VERSIONS + 1},
        {"$project": fields},
    ]
    rows = await ctx.store.aggregate(type_, stages)
    if len(rows) > MOST_VERSIONS:
        raise too_costly(f"there are more than {MOST_VERSIONS:,} versions of the {type_} resources that are asked for")
    found: dict[str, list[Candidate]] = {}
    for row in rows:
        version, status = row.get("business", ""), row.get("status", "")
        for url in (*row.get("url", ()), f"{type_}/{row['_id']}"):
            candidate = Candidate(row["_id"], row["version"], url, version, status, row["updated"])
            found.setdefault(url, []).append(candidate)
    return found
