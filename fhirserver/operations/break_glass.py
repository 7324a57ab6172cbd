"""Patient/[id]/$break-glass: a practitioner says why, and may open the record of one more patient for some hours.

It is in the ledger before it holds, where the patient sees it too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fhirserver.access.audit import emergency_audited
from fhirserver.access.policy import authorize_emergency
from fhirserver.context import Context, Described, Parameter
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.write import existing
from fhirserver.operations.parameters import given, once, parameters, taken
from fhirserver.operations.registry import operation
from fhirserver.store import emergencies

SHORTEST, LONGEST = 10, 500  # characters of a reason
DEFINITION = Described(
    "healthmate-break-glass",
    "Open a record in an emergency",
    "A practitioner who does not care for a patient opens the record all the same, and says why. It is open to this"
    " account for some hours; an audit event with the reason tells the patient.",
    (
        Parameter("reason", "string", f"Why, in {SHORTEST} to {LONGEST} characters.", min=1),
        Parameter("until", "instant", "How long the record is open.", min=1, use="out"),
    ),
    affects_state=True,
)


@operation("break-glass", "Patient", instance=True, definition=DEFINITION)
async def break_glass(ctx: Context, request: Request, type_: str, id_: str) -> Answer:
    """Parameters: until when."""
    if request.method != "POST":
        message = "$break-glass opens a record, so it is a POST"
        raise Outcome(405, "not-supported", message, headers=(("allow", "POST"),))
    authorize_emergency(ctx.caller, kept=_kept(ctx))
    reason = once(taken("$break-glass", given(ctx, request), ("reason",)), "reason") or ""
    until = await open_record(ctx, id_, reason)
    return Answer(status=200, body=parameters(("until", "Instant", instant(until))))


async def open_record(ctx: Context, id_: str, reason: str) -> datetime:
    """Until when the record of a patient is open to the caller."""
    account, reason = authorize_emergency(ctx.caller, kept=_kept(ctx)), reason.strip()
    if not SHORTEST <= len(reason) <= LONGEST:
        raise invalid(f"reason: say why, in {SHORTEST} to {LONGEST} characters", "reason", code="required")
    existing(await ctx.store.read("Patient", id_), f"Patient/{id_}")
    until = ctx.now() + timedelta(hours=ctx.settings.emergency_hours)
    await emergency_audited(ctx, f"Patient/{id_}", reason)
    await emergencies.begin(ctx.store, account, id_, until)
    ctx.consents.standings.changed()
    ctx.consents.opening.changed()
    return until


def _kept(ctx: Context) -> bool:
    """Whether this server opens records, and accounts for it."""
    return ctx.ledger is not None and ctx.settings.emergency_hours > 0
