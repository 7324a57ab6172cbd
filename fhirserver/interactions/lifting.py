"""Nobody lifts what is denied to them, or permits what they are not shown themselves.

A Consent is changed by its patient, by administrators, and by those to whom it denies nothing, now or at another time.
What is labelled is permitted by those who see it. Who is on a team or in a group that a Consent names is not said by
its members. docs/consent.md
"""

from __future__ import annotations

from fhirserver.access.narrowing import denied, may_permit
from fhirserver.access.policy import beyond
from fhirserver.access.reach import caring
from fhirserver.consents.provisions import too_large
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.consenting import resolved
from fhirserver.interactions.in_force import CONSENT, asking, known, ruling
from fhirserver.store.versions import Change, Stored

TEAMS = ("CareTeam", "Group")
OF_A_RECORD = "Observation"  # a type of which each resource is in somebody's record


async def check_lifting(ctx: Context, current: Stored) -> None:
    """403 for a change of what denies something to the caller, or of who is meant by it."""
    if ctx.caller.open or current.deleted:
        return
    if current.type in TEAMS and ctx.caller.user is not None:
        await _check_team(ctx, current.reference)
    found = ruling(ctx, current) if current.type == CONSENT else None
    if found is not None and denied(found.rule, found.record, await asking(ctx), ctx.now()):
        said = f"{current.reference} denies something to this caller, so it is for others to change"
        raise beyond(f"{said}: the patient, an administrator, or somebody to whom it denies nothing")


async def _check_team(ctx: Context, team: str) -> None:
    kept, who = await known(ctx), await asking(ctx)
    if who.keeper or team not in kept.actors:
        return
    records = {record for rule, about in kept.alike.items() if team in rule.names for record in about}
    if records != {who.own}:
        raise beyond(f"consents name {team}, so it is for administrators to say who belongs to it")


async def check_permitting(ctx: Context, change: Change) -> None:
    """422 for a Consent that is too large to be kept to, 403 for one that permits what the caller is not shown."""
    if change.type != CONSENT or change.body is None:
        return
    large = too_large(change.resource.get("provision", {}))
    if large is not None:
        said = f"{large}, and every search of the record would ask for all of them; say it in several Consents"
        raise Outcome(422, "too-costly", said, "Consent.provision")
    found = None if ctx.caller.open else ruling(ctx, change.stored)
    if found is None:
        return
    trusted = await resolved(ctx, caring(ctx.caller, OF_A_RECORD, urgent=False), OF_A_RECORD)
    if not may_permit(found.rule, found.record, await asking(ctx), trusted, ctx.now()):
        raise beyond(
            "this Consent permits, by a security label, what is not shown to this caller: it is for others to write"
        )
