"""What lies at the far end of a chain, as what is at the near end says it: references, ids, and URLs of definitions.

One hop is one search of the store: `far` gives its filter, which has the law of access in it.
https://hl7.org/fhir/R4/search.html#chaining, docs/adr/0004-chains.md
"""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, too_costly
from fhirserver.interactions.hierarchies import Far
from fhirserver.search.canonicals import DEFINITIONS, leading_to, named, namings, referred_to
from fhirserver.search.criteria import Chain, Criterion
from fhirserver.search.filters import counting, path
from fhirserver.search.forms import repeats
from fhirserver.search.mongo import conjunction
from fhirserver.store.hops import matching_definitions, matching_ids, referred_ids, referred_urls

LISTED = 250_000  # ids from one hop


async def references(ctx: Context, far: Far, chain: Chain) -> list[str]:
    """The references that lead to what meets the chain's criterion."""
    found: list[str] = []
    for other, criterion in chain.others:
        room = LISTED - len(found)
        ids = await matching_ids(ctx.store, other, await far(other, criterion), room + 1)
        if len(ids) > room:
            raise too_many(chain)
        found += [f"{other}/{id_}" for id_ in ids]
    return found


async def referred_by(
    ctx: Context, far: Far, type_: str, chain: Chain, most: int, among: Sequence[str] | None = None
) -> list[str]:
    """At most so many of the ids to which what meets the chain's criterion refers.

    `among` some, where the chain's parameter has one value at most.
    """
    ((source, criterion),) = chain.others
    filter_ = counting(await far(source, criterion))
    single = not repeats(ctx.definitions, chain.parameter, source)
    field = f"sort.{chain.parameter.code}" if single else path(chain.parameter)
    if among is not None:
        filter_ = conjunction([filter_, {field: {"$in": [f"{type_}/{id_}" for id_ in among]}}])
    return await referred_ids(ctx.store, source, filter_, field, type_, most)


async def naming(ctx: Context, far: Far, type_: str, chain: Chain) -> list[Criterion]:
    """What names, by URL, the definitions that meet the chain's criterion."""
    found: list[Criterion] = []
    room = DEFINITIONS
    for other, criterion in chain.others:
        if "url" in ctx.registry[other]:
            definitions = await matching_definitions(ctx.store, other, await far(other, criterion), room + 1)
            room -= sum(namings(definition) for definition in definitions)
            if room < 0:
                raise too_many(chain, DEFINITIONS)
            found.append(leading_to(chain.parameter, other, definitions))
    return found


async def named_from(ctx: Context, far: Far, type_: str, chain: Chain) -> list[Criterion]:
    """The definitions that what meets the chain's criterion names by URL."""
    ((source, criterion),) = chain.others
    filter_, field = await far(source, criterion), path(chain.parameter)
    stored = await referred_urls(ctx.store, source, filter_, field, DEFINITIONS + 1)
    if len(stored) > DEFINITIONS or len(named(stored)) > DEFINITIONS:
        raise too_many(chain, DEFINITIONS)
    return [referred_to(ctx.registry, type_, stored)] if "url" in ctx.registry[type_] else []


def too_many(chain: Chain, most: int = LISTED) -> Outcome:
    far = " or ".join(type_ for type_, _ in chain.others[:4])
    way = f"_has:{far}:{chain.parameter.code}" if chain.reverse else f"{chain.parameter.code}.…"
    return too_costly(f"{way} goes through more resources than one search can hold ({most:,}); narrow it")
