"""Where the terminology service finds what is stored: its definitions and their versions, by canonical URL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.epochs import KEPT
from fhirserver.fhir import json
from fhirserver.fhir.ids import URIS
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Reference, Token
from fhirserver.search.filters import query_filter
from fhirserver.search.query import Query
from fhirserver.store.versions import Document, stored
from fhirserver.store.watching import Listener
from terminology.canonical import Candidate, Canonical, latest
from terminology.code_systems import CONTENT
from terminology.naming import URNS, plain
from terminology.published import published_definition, published_name
from terminology.releases import releases
from terminology.releases.release import Release
from terminology.releases.schema import RELEASES
from terminology.service import Read, Service

MOST_VERSIONS = 5_000  # with the URLs that are asked for at once
KINDS = ("ValueSet", "CodeSystem", "ConceptMap", "NamingSystem")
STRUCTURE_DEFINITION = "StructureDefinition"  # found in the same way, for validation
FOLLOWED = (*KINDS, STRUCTURE_DEFINITION)
SUPPLEMENTS = "Supplements"
IMPLIES = "resource.valueSet"  # in the mirror, with an index of its own
SAID: Document = {"business": "$sort.version", "status": "$sort.status"}
IMPLYING: Document = SAID | {"implies": f"${IMPLIES}"}
SUPPLEMENTING: Document = SAID | {"names": "$search.supplements"}
WHOLE: Document = {"$in": ["complete", {"$ifNull": ["$search.content-mode", []]}]}
MOST_MAPS = 100  # from one system


def service(ctx: Context) -> Service:
    """For who asks. Definitions are about nobody: whoever has a token may use all of them, so that what is compiled can
    be shared. To read them as resources is another matter.
    """
    authorize(ctx.caller, "terminology", None)
    return Service(Stored(ctx), ctx.terminology, ctx.base_url)


class Stored:
    """A `terminology.service.Source`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx if ctx.store.session is None else replace(ctx, store=ctx.store.outside())

    async def candidates(self, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
        found: dict[Canonical, Candidate | None] = {}
        for type_ in KINDS:
            wanted = [each for each in asked if each.type == type_]
            if wanted:
                names = {each.url: published_name(each) or each.url for each in wanted}
                candidates = await self.with_urls(type_, {*names, *names.values()})
                meant = {each: candidates[each.url] or candidates[names[each.url]] for each in wanted}
                found |= {each: latest(_versioned(each), many) for each, many in meant.items()}
        implied = [each for each in found if each.type == "ValueSet" and found[each] is None]
        found |= await self._implied([each for each in implied if published_definition(each) is None])
        found |= await self._supplements([each for each in asked if each.type == SUPPLEMENTS])
        systems = [each for each in found if each.type == "CodeSystem"]
        if systems:
            large = await releases.candidates(self._ctx.store.database, systems)
            found |= {each: chosen for each, chosen in large.items() if not _whole(found[each])}
        return found

    async def release(self, key: str) -> Release | None:
        return await releases.release(self._ctx.store.database, key, self._ctx.store.search_ms)

    async def maps(self, sources: Collection[str], targets: Collection[str]) -> list[Canonical]:
        ctx = self._ctx
        parameters = ctx.registry["ConceptMap"]
        asked = [Clause(parameters["source-system"], None, tuple(sources))]
        if targets:
            asked.append(Clause(parameters["target-system"], None, tuple(targets)))
        query = Query("ConceptMap", criteria=tuple(asked))
        found: Document = {"$match": query_filter(query, ctx.now())}
        stages: list[Document] = [found, {"$limit": MOST_MAPS + 1}, {"$project": {"_id": 1}}]
        rows = await ctx.store.aggregate("ConceptMap", stages)
        if len(rows) > MOST_MAPS:
            raise too_costly(f"more than {MOST_MAPS} concept maps are from {min(sources)[:200]}; name one by its url")
        return [Canonical("ConceptMap", f"ConceptMap/{row['_id']}") for row in rows]

    async def _implied(self, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
        """All of a code system is the value set that it names, also where nobody stored that."""
        found: dict[Canonical, Candidate | None] = {}
        for each in asked:
            versions = {"$gte": f"{each.url}|", "$lt": f"{each.url}}}"}
            implies = {"$or": [{IMPLIES: each.url}, {IMPLIES: versions}]}
            present = query_filter(Query("CodeSystem"), self._ctx.now())
            stages = [{"$match": {"$and": [implies, present]}}, *_projected(IMPLYING)]
            rows = await self._ctx.store.aggregate("CodeSystem", stages, KEPT)
            found[each] = latest(each, [_whole_of(row, each.url) for row in rows])
        return found

    async def _supplements(self, asked: Collection[Canonical]) -> dict[Canonical, Candidate | None]:
        """All that there are of a code system, as one."""
        if not asked:
            return {}
        parameters = self._ctx.registry["CodeSystem"]
        of_these = Clause(parameters["supplements"], None, (Reference(tuple(each.url for each in asked)),))
        is_one = Clause(parameters["content-mode"], None, (Token(None, "supplement"),))
        rows = await self._rows("CodeSystem", AllOf((of_these, is_one)), SUPPLEMENTING)
        current = sorted((row for row in rows if row.get("status") != "retired"), key=lambda row: str(row["_id"]))
        return {each: _together([row for row in current if each.url in row.get("names", ())]) for each in asked}

    async def read(self, type_: str, ids: Collection[str]) -> dict[str, Read]:
        if type_ == SUPPLEMENTS:
            return {together: read for together in ids if (read := await self._read_together(together)) is not None}
        documents = await self._ctx.store.read_many(type_, ids)
        versions = [stored(type_, document) for document in documents if "body" in document]
        return {each.id: Read(each.version, json.resource(each.body)) for each in versions}

    async def _read_together(self, ids: str) -> Read | None:
        found = await self.read("CodeSystem", ids.split(","))
        resources = [found[id_].resource for id_ in sorted(found)]
        return Read(sum(each.version for each in found.values()), {"supplement": resources}) if resources else None

    async def named(self, identifier: str) -> list[Canonical]:
        found = await self._rows("NamingSystem", _has_names(self._ctx, {identifier}), {})
        return [Canonical("NamingSystem", f"NamingSystem/{row['_id']}") for row in found]

    async def with_urls(self, type_: str, urls: set[str]) -> dict[str, list[Candidate]]:
        """By URL, or as `[type]/[id]`; by an OID or UUID where that is the name of nothing else."""
        ids = {id_ for url in urls for kind, _, id_ in [url.partition("/")] if kind == type_ and id_}
        by_id = Clause(self._ctx.registry[type_]["_id"], None, tuple(ids))
        fields: Document = SAID | {"names": NAMES[type_], "identifiers": "$search.identifier"}
        if type_ == "CodeSystem":
            fields["whole"] = WHOLE
        rows = await self._rows(type_, AnyOf((by_id, *FINDING[type_](self._ctx, type_, urls))), fields)
        found: dict[str, list[Candidate]] = {}
        for url in urls:
            chosen = [row for row in rows if _is_named(row, type_, url)] or [row for row in rows if _has(row, url)]
            found[url] = [_candidate(row, url) for row in chosen]
        return found

    async def _rows(self, type_: str, criterion: Criterion, fields: Document) -> list[Document]:
        ctx = self._ctx
        query = Query(type_, criteria=(criterion,))
        stages: list[Document] = [{"$match": query_filter(query, ctx.now())}, *_projected(fields)]
        rows = await ctx.store.aggregate(type_, stages, KEPT)
        if len(rows) > MOST_VERSIONS:
            raise too_costly(
                f"there are more than {MOST_VERSIONS:,} versions of the {type_} resources that are asked for"
            )
        return rows


def _projected(fields: Document) -> list[Document]:
    return [{"$limit": MOST_VERSIONS + 1}, {"$project": {"version": 1, "updated": 1} | fields}]


def _whole_of(row: Document, url: str) -> Candidate:
    version = row["implies"].partition("|")[2] or row.get("business", "")
    return _candidate(row, url)._replace(implied=True, version=version)


def _together(rows: Sequence[Document]) -> Candidate | None:
    """It is another one whenever one of them is."""
    if not rows:
        return None
    ids, versions = ",".join(row["_id"] for row in rows), sum(row["version"] for row in rows)
    return _candidate(rows[0], "")._replace(id=ids, stored=versions)


def _has_urls(ctx: Context, type_: str, urls: Collection[str]) -> Iterator[Criterion]:
    parameters = ctx.registry[type_]
    yield Clause(parameters["url"], None, tuple(urls))
    if urns := tuple([Token(URIS, url) for url in urls if url != plain(url)]):
        yield Clause(parameters["identifier"], None, urns)


def _names_systems(ctx: Context, _: str, urls: Collection[str]) -> Iterator[Criterion]:
    kind = Clause(ctx.registry["NamingSystem"]["kind"], None, (Token(None, "codesystem"),))
    yield AllOf((kind, _has_names(ctx, urls)))


def _has_names(ctx: Context, names: Collection[str]) -> Criterion:
    values = {*names, *map(plain, names)} | {urn + each for each in map(plain, names) for urn in URNS.values()}
    return Clause(ctx.registry["NamingSystem"]["value"], "exact", tuple(sorted(values)))


FINDING = dict.fromkeys(FOLLOWED, _has_urls) | {"NamingSystem": _names_systems}
NAMES = dict.fromkeys(FOLLOWED, "$search.url") | {"NamingSystem": "$search.value:exact"}


def _is_named(row: Document, type_: str, url: str) -> bool:
    names = row.get("names", ())
    if type_ == "NamingSystem":
        names = [plain(each) for each in names]
        return plain(url) in names or url == f"{type_}/{row['_id']}"
    return url in names or url == f"{type_}/{row['_id']}"


def _has(row: Document, url: str) -> bool:
    return f"{URIS}|{url}" in row.get("identifiers", ())


def _candidate(row: Document, url: str) -> Candidate:
    version, status = row.get("business", ""), row.get("status", "")
    return Candidate(row["_id"], row["version"], url, version, status, row["updated"], whole=row.get("whole", True))


async def known_systems(ctx: Context) -> list[Candidate]:
    """The code systems that are stored with their codes, at most so many, and the releases."""
    here = {"$or": [{"search.content-mode": each} for each in CONTENT]}
    present = query_filter(Query("CodeSystem"), ctx.now())
    fields = SAID | {"names": NAMES["CodeSystem"], "whole": WHOLE}
    rows = await ctx.store.aggregate("CodeSystem", [{"$match": {"$and": [here, present]}}, *_projected(fields)])
    stored = [_candidate(row, url) for row in rows for url in row.get("names", ())]
    return [*await releases.all_of_them(ctx.store.database), *stored]


def _versioned(asked: Canonical) -> Canonical:
    """A naming system has none: the version is that of the code system it leads to."""
    return asked._replace(version=None) if asked.type == "NamingSystem" else asked


def _whole(found: Candidate | None) -> bool:
    """A release goes before a resource without concepts, or with some of them."""
    return found is not None and found.whole


def listener(ctx: Context) -> Listener:
    """What is compiled needs no second look as long as changes are told here."""
    kept = ctx.terminology
    return Listener((*FOLLOWED, RELEASES), lambda _: kept.changed(), [kept])
