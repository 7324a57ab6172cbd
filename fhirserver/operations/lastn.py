"""Observation/$lastn: the newest observations of each code. https://hl7.org/fhir/R4/observation-operation-lastn.html

Of several subjects, of which R4 says nothing, they are the newest of each, as in HAPI. Grouped and cut on index values.
Only what is answered is read, and what has a text for a code: the index folds texts, and R4 does not. What was entered
in error is among them unless `status` is asked for, as R4 says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import bundle, entry
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Issue, invalid, operation_outcome, too_costly
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.links import page_url
from fhirserver.interactions.search import filter_of, parsed
from fhirserver.interactions.sight import seen
from fhirserver.interactions.sizes import fitting
from fhirserver.interactions.summary import Part, trim
from fhirserver.operations.parameters import given, left_out, once, whole
from fhirserver.operations.registry import operation
from fhirserver.search.query import RESULT, Query
from fhirserver.store.blobs import size_of, unpack
from fhirserver.store.budget import Budget
from fhirserver.store.versions import Document, Stored, stored

CONSIDERED = 100_000  # observations whose codes are compared
TEXTS = 10_000  # of them with a text for a code
ANSWERED = 5_000
MOST = 1_000
PARTS = frozenset({"_elements", "_summary"})
SUBJECTS = frozenset({"patient", "subject"})
CODED = frozenset({"category"})


class Seen(NamedTuple):
    """What grouping needs to know of an observation: its codes, or its text where there are none, and whose it is."""

    id: str
    time: datetime | None
    names: frozenset[str]
    subject: str = ""


@operation(
    "lastn",
    "Observation",
    instance=False,
    definition="http://hl7.org/fhir/OperationDefinition/Observation-lastn",
)
async def lastn(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """A searchset of the `max` newest of each subject and code (1 where not said), newest first; ties are included."""
    authorize(ctx.caller, "lastn", type_)
    most, pairs, ignored = _asked(ctx, request)
    query = parsed(ctx, request, type_, pairs)
    _check_asked([name for name, _ in query.used])
    async with Budget(ctx.store):
        rows = await _rows(ctx, await filter_of(ctx, query))
        texts = await _texts(ctx, [row["_id"] for row in rows if not _codes(row)])
        chosen = newest((Seen(row["_id"], row.get("time"), _names(row, texts), _subject(row)) for row in rows), most)
        if len(chosen) > ANSWERED:
            raise too_costly(f"$lastn answers with at most {ANSWERED:,} observations; lower max, or narrow it")
        documents = await ctx.store.read_many(type_, (each.id for each in chosen))
        now = await seen(ctx, [stored(type_, document) for document in documents], "s")
    versions = {version.id: version for version in now if not version.deleted}
    found = [versions[each.id] for each in chosen if each.id in versions]
    if fitting([size_of(each.packed) for each in found], ctx.settings.max_response_bytes) < len(found):
        allowed = f"{ctx.settings.max_response_bytes:,} bytes"
        raise too_costly(f"these observations take more than {allowed}; lower max, or narrow it, by code or date say")
    links = [("self", page_url(ctx.base_url, "/".join(request.path), (*query.used, ("max", str(most)))))]
    entries = _entries(ctx, query, found, (*ignored, *query.ignored))
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=len(found), links=links)
    return Answer(status=200, body=body)


def _asked(ctx: Context, request: Request) -> tuple[int, Pairs, tuple[Issue, ...]]:
    """`max`, what is searched, and what was left out."""
    most: list[str] = []
    pairs: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    for name, given_ in given(ctx, request):
        value = once({name: [given_]}, name) or ""
        if name.partition(":")[0] in RESULT - PARTS or (name, value) == ("_summary", "count"):
            left.append((name, f"$lastn answers all groups at once; it has no {name[:80]}"))
        elif name != "max":
            pairs.append((name, value))
        elif value:
            most.append(value)
        else:
            left.append((name, "max: has no value"))
    return whole({"max": [*most]}, "max", 1, MOST), tuple(pairs), (*request.ignored, *left_out(request, left))


def _entries(ctx: Context, query: Query, found: Iterable[Stored], issues: Sequence[Issue]) -> Iterator[bytes]:
    part = Part(query.summary, frozenset(query.elements))
    for version in found:
        body = version.body if part.whole else trim(ctx.definitions, version.body, part)
        yield entry(f"{ctx.base_url}/{version.reference}", body, mode="match")
    if issues:
        yield entry(None, json.encode(operation_outcome([*issues])), mode="outcome")


def _check_asked(names: Sequence[str]) -> None:
    """What is searched by must name whose observations, and of which kind: what was ignored does not count."""
    heads = {name.partition(".")[0].partition(":")[0] for name in names}
    if heads.isdisjoint(SUBJECTS):
        raise invalid("$lastn needs a patient or a subject", "patient", code="required")
    if not any(head in CODED or "code" in head.split("-") for head in heads):
        raise invalid("$lastn needs a category or a code", "code", code="required")


async def _rows(ctx: Context, filter_: Document) -> list[Document]:
    fields = {
        "time": "$sort.date",
        "codes": "$search.code",
        "subject": "$search.subject",
        "known": "$search.subject:identifier",
    }
    rows = await ctx.store.aggregate(
        "Observation", [{"$match": filter_}, {"$limit": CONSIDERED + 1}, {"$project": fields}]
    )
    if len(rows) > CONSIDERED:
        raise too_costly(f"$lastn compares at most {CONSIDERED:,} observations; narrow it, by code or date say")
    return rows


async def _texts(ctx: Context, ids: Sequence[str]) -> dict[str, str]:
    """What observations without a coded code say instead, to the letter."""
    if len(ids) > TEXTS:
        raise too_costly(f"$lastn compares at most {TEXTS:,} observations without a coded code; narrow it, by date say")
    documents = await ctx.store.read_many("Observation", ids) if ids else []
    codes = {each["_id"]: json.resource(unpack(each["body"])).get("code", {}) for each in documents if "body" in each}
    return {id_: code["text"] for id_, code in codes.items() if "text" in code}


def _codes(row: Document) -> frozenset[str]:
    """The codings, out of all the forms in which they are found: `system|code`, or `|code` where it has no system."""
    forms = [form for form in row.get("codes", ()) if "|" in form and not form.endswith(("|", " "))]
    return frozenset(form for form in forms if not any(other.endswith(f"|{form}") for other in forms))


def _names(row: Document, texts: dict[str, str]) -> frozenset[str]:
    return _codes(row) or frozenset(f"text:{text}" for text in [texts.get(row["_id"])] if text is not None)


def _subject(row: Document) -> str:
    """A reference, or the identifier that stands for one."""
    subject: str = next(iter(row.get("subject") or row.get("known") or ()), "")
    return subject


def newest(observations: Iterable[Seen], most: int) -> list[Seen]:
    """The `most` newest of each group and what is as new as the last of them; undated ones are the oldest."""
    chosen: list[Seen] = []
    for group in groups(observations):
        group.sort(key=_age)
        last = _age(group[min(most, len(group)) - 1])[0]
        chosen += (each for each in group if _age(each)[0] <= last)
    return sorted(chosen, key=_age)


def _age(seen: Seen) -> tuple[float, str]:
    return (-seen.time.timestamp() if seen.time else float("inf")), seen.id


def groups(observations: Iterable[Seen]) -> Iterator[list[Seen]]:
    """Those of a subject that share a coding, or share one with something that does: translations are the same code."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def leading(subject: str, code: str) -> tuple[str, str]:
        name = subject, code
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    every = list(observations)
    for one in every:
        first, *others = one.names or ("",)
        for other in others:
            leader[leading(one.subject, other)] = leading(one.subject, first)
    found: dict[tuple[str, str], list[Seen]] = {}
    for one in every:
        found.setdefault(leading(one.subject, next(iter(one.names), "")), []).append(one)
    yield from found.values()
