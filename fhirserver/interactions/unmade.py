"""What is said where lines of the audit ledger have no event: nobody is answered as if nothing were missing.

Whose these lines are cannot be known, so everybody who may see AuditEvents is told the same, whatever was asked. Who
sees all of them is told how many there are. The log and `healthmate audit verify` name them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from fhirserver.access.reach import reach
from fhirserver.context import Context
from fhirserver.fhir.outcome import Issue, Outcome, not_found
from fhirserver.interactions.consenting import sees_all
from fhirserver.search.joined import NOTHING
from fhirserver.store.late import Unmade
from fhirserver.store.schema import AUDIT_EVENT

LACKING = "the audit ledger has lines of which no AuditEvent could be made, so that some may be missing here"
KNOWN = "this AuditEvent could not be made of its line in the audit ledger; the log of the server says which line"
SYSTEM = "urn:healthmate:audit"

log = logging.getLogger(__name__)


async def lacking(ctx: Context, types: Iterable[str], permission: str = "s") -> tuple[Issue, ...]:
    """A warning for who asks for these types, where AuditEvents are missing. To be asked when they were looked for."""
    unmade = _unmade(ctx)
    if not unmade or AUDIT_EVENT not in types or reach(ctx.caller, AUDIT_EVENT, permission) is NOTHING:
        return ()
    said = LACKING
    if await sees_all(ctx, AUDIT_EVENT):
        said = f"{LACKING}: {len(unmade):,}, which `healthmate audit verify` names"
    return (Issue("warning", "incomplete", said),)


async def lacking_tags(ctx: Context, types: Iterable[str]) -> list[dict[str, str]]:
    """The same as tags of a Bundle that has no place for an OperationOutcome."""
    return [{"system": SYSTEM, "code": each.code, "display": each.diagnostics} for each in await lacking(ctx, types)]


async def absent(ctx: Context, type_: str, id_: str, reference: str) -> Outcome:
    """What is not there, or not to be seen, is not found. An event that is known not to have been made is an error."""
    warnings = await lacking(ctx, (type_,), "r")
    if warnings and await sees_all(ctx, type_):
        for each in _unmade(ctx):
            if each.mark.id == id_:
                said = "%s was asked for: no event is made of line %d of audit strand %s: %s"
                log.error(said, reference, each.number, each.strand, each.cause)
                return Outcome(500, "exception", KNOWN)
    refusal = not_found(reference)
    return refusal.saying((*refusal.issues, *warnings)) if warnings else refusal


def _unmade(ctx: Context) -> Sequence[Unmade]:
    late = ctx.store.late.get(AUDIT_EVENT)
    return late.unmade if late is not None else ()
