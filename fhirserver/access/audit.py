"""What a request did, in the ledger before its answer leaves; where it cannot be kept, the request fails.

What is kept then is a line that says all that the event will (`audit_lines`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from fhirserver.access.audit_events import (
    DONE,
    Deed,
    Resource,
    account_event,
    author_of,
    emergency_event,
    interaction_of,
    outcome_of,
    query_of,
)
from fhirserver.access.audit_lines import Line, text_of
from fhirserver.access.audit_queries import may_name_others
from fhirserver.context import Context, Trail
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome
from smart_auth.server import Happening

NAMED = 20  # resources that one event names


class Asked(NamedTuple):
    """A request as it came: `bundle` is the type of the Bundle in its body, `searches` the URLs of those in that."""

    method: str
    path: tuple[str, ...]
    query: str
    bundle: str | None
    request_id: str
    searches: tuple[str, ...] = ()


class Answered(Protocol):
    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=Answered)


async def audited(ctx: Context, asked: Asked, run: Callable[[], Awaitable[A]]) -> A:
    """What a request is answered, once its events are kept; whatever else it ends in, they are kept before that.

    One for each patient whose data it touched, or one about nobody's.
    """
    try:
        answer = await run()
    except Exception as error:
        await _keep(ctx, asked, error.status if isinstance(error, Outcome) else 500)
        raise
    await _keep(ctx, asked, answer.status)
    return answer


async def _keep(ctx: Context, asked: Asked, status: int) -> None:
    if ctx.ledger is None or ctx.caller.open or ctx.caller.stranger:
        return
    interaction = interaction_of(asked.method, asked.path, asked.bundle)
    if interaction is not None:
        site, now = ctx.settings.base_url, ctx.now()
        lines = [
            text_of(Line(new_id(), now, site, deed, author_of(ctx.caller, deed.about), asked.request_id))
            for deed in _deeds(ctx.trail, asked, interaction, status)
        ]
        await ctx.ledger.add(lines)


def _deeds(trail: Trail | None, asked: Asked, interaction: str, status: int) -> Iterator[Deed]:
    """What was written or read is named; of searches the query says it, and of what failed the request."""
    touched = trail.touched if trail is not None else {}
    pattern = DONE[interaction][1]
    query = None
    if pattern in ("Query", None) and (asked.path or asked.query):
        query = query_of("/".join(asked.path), asked.query)
    for url in asked.searches:  # whoever was found is named below, and must not read whom else was asked for
        yield Deed(interaction, outcome_of(status), (), query_of(*url.partition("?")[::2]), None)
    patients = [each for each in touched if each]
    found = len({*patients}.difference(trail.beside)) if trail is not None else 0
    several = found > 1 or (bool(patients) and may_name_others(asked.path, asked.query))
    if several and query is not None and asked.query:
        # whom else was asked for is not for each of them to read
        yield Deed(interaction, outcome_of(status), (), query, None)
        query = query_of("/".join(asked.path), "") or None
    for patient in patients or [""]:
        references = tuple(dict.fromkeys(touched.get(patient, ()))) if pattern != "Query" else ()
        if not references and query is None and len(asked.path) > 1:
            references = ("/".join(asked.path[:2]),)
        emergency = trail is not None and patient in trail.emergencies
        said = len(references) if query is None else NAMED  # the query says the rest
        for at in range(0, max(said, 1), NAMED):
            named = references[at : at + NAMED]
            yield Deed(interaction, outcome_of(status), named, query, patient or None, emergency)


async def emergency_audited(ctx: Context, patient: str, reason: str) -> None:
    """Keep the event of a record that is opened in an emergency, where the patient sees it."""
    recorded, site = instant(ctx.now()), ctx.settings.base_url
    await _alone(ctx, emergency_event(author_of(ctx.caller, patient), patient, reason, recorded=recorded, site=site))


async def account_audited(ctx: Context, happening: Happening) -> None:
    """Keep the event of what happened to an account."""
    recorded, site = instant(ctx.now()), ctx.settings.base_url
    await _alone(ctx, account_event(happening, recorded=recorded, site=site))


async def _alone(ctx: Context, resource: Resource) -> None:
    """An event that is like no other."""
    if ctx.ledger is not None:
        await ctx.ledger.add([text_of(Line(new_id(), ctx.now(), ctx.settings.base_url, resource))])
