"""Observation/$lastn: the newest observations of each code. https://hl7.org/fhir/R4/observation-operation-lastn.html

Grouped and cut on index values; only what is answered is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.bundles import bundle, entry
from fhirserver.fhir.outcome import invalid, too_costly
from fhirserver.interactions.changes import new_id
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.links import page_url
from fhirserver.interactions.search import filter_of, parsed
from fhirserver.operations.parameters import given, once, whole
from fhirserver.operations.registry import operation
from fhirserver.search.query import RESULT
from fhirserver.store.hops import one_budget
from fhirserver.store.resources import stored

CONSIDERED = 100_000  # observations whose codes are compared
MOST = 1_000
SUBJECTS = frozenset({"patient", "subject"})
CODED = frozenset({"category"})


class Seen(NamedTuple):
    """What grouping needs to know of an observation: its codes, or its text where there are none."""

    id: str
    time: datetime | None
    names: frozenset[str]


@operation(
    "lastn",
    "Observation",
    instance=False,
    definition="http://hl7.org/fhir/OperationDefinition/Observation-lastn",
)
async def lastn(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """A searchset of the `max` newest of each code (1 where not said), the newest first; ties are included."""
    authorize(ctx.caller, "lastn", type_)
    values = given(ctx, request)
    most = whole({"max": [value for name, value in values if name == "max"]}, "max", 1, MOST)
    pairs = tuple((name, once({name: [value]}, name) or "") for name, value in values if name != "max")
    for name, _value in pairs:
        if name.partition(":")[0] in RESULT:
            raise invalid(f"$lastn answers all groups at once; it has no {name[:80]}", name[:80], code="not-supported")
    _check_asked([name for name, _ in pairs])
    query = parsed(ctx, request, type_, pairs)
    async with one_budget(ctx.store):
        filter_ = await filter_of(ctx, query)
        fields = {"time": "$sort.date", "codes": "$search.code", "texts": "$search.code:text"}
        rows = await ctx.store.aggregate(type_, [{"$match": filter_}, {"$limit": CONSIDERED + 1}, {"$project": fields}])
        if len(rows) > CONSIDERED:
            raise too_costly(f"$lastn compares at most {CONSIDERED:,} observations; narrow it, by code or date say")
        chosen = newest(map(_seen, rows), most)
        documents = await ctx.store.read_many(type_, (each.id for each in chosen))
    versions = {document["_id"]: stored(type_, document) for document in documents}
    found = [versions[each.id] for each in chosen if each.id in versions and not versions[each.id].deleted]
    entries = [entry(f"{ctx.base_url}/{version.reference}", version.body, mode="match") for version in found]
    used = (*query.used, ("max", str(most)))
    links = [("self", page_url(ctx.base_url, "/".join(request.path), used))]
    body = bundle("searchset", entries, id_=new_id(), updated=ctx.now(), total=len(found), links=links)
    return Answer(status=200, body=body)


def _check_asked(names: Sequence[str]) -> None:
    """The request must name whose observations, and of which kind."""
    heads = {name.partition(".")[0].partition(":")[0] for name in names}
    if heads.isdisjoint(SUBJECTS):
        raise invalid("$lastn needs a patient or a subject", "patient", code="required")
    if not any(head in CODED or "code" in head.split("-") for head in heads):
        raise invalid("$lastn needs a category or a code", "code", code="required")


def _seen(row: dict[str, Any]) -> Seen:
    codes = frozenset(form for form in row.get("codes", ()) if "|" in form and not form.endswith("|"))
    return Seen(row["_id"], row.get("time"), codes or frozenset(f"text:{text}" for text in row.get("texts", ())))


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
    """Those that share a coding, or share one with something that does: translations are the same code."""
    leader: dict[str, str] = {}

    def leading(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    every = list(observations)
    for seen in every:
        first, *others = seen.names or ("",)
        for other in others:
            leader[leading(other)] = leading(first)
    found: dict[str, list[Seen]] = {}
    for seen in every:
        found.setdefault(leading(next(iter(seen.names), "")), []).append(seen)
    yield from found.values()
