"""NamingSystem/$preferred-id. https://hl7.org/fhir/R4/namingsystem-operation-preferred-id.html"""

from __future__ import annotations

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.terminology import service
from fhirserver.operations.parameters import given, once, parameters, taken
from fhirserver.operations.registry import operation

TYPES = ("oid", "uuid", "uri", "other")
DEFINITION = "http://hl7.org/fhir/OperationDefinition/NamingSystem-preferred-id"


@operation("preferred-id", "NamingSystem", instance=False, definition=DEFINITION)
async def preferred_id(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """What a system is called, in the kind of identifier that is asked for; OIDs are written plain."""
    authorize(ctx.caller, "preferred-id", type_)
    values = taken("$preferred-id", given(ctx, request), ("id", "type"))
    id_, wanted = once(values, "id"), once(values, "type")
    if id_ is None or wanted is None:
        missing = "id" if id_ is None else "type"
        raise invalid(f"$preferred-id needs id and type; {missing} is missing", missing, code="required")
    if wanted not in TYPES:
        raise invalid(f"type={wanted[:80]} is none of {', '.join(TYPES)}", "type", code="code-invalid")
    found = await service(ctx).naming(id_)
    if not found:
        raise Outcome(404, "not-found", f"no naming system with the identifier {id_[:200]} is known here", "id")
    names = {name for each in found if (name := each.called(wanted)) is not None}
    if len(names) > 1:
        systems = ", ".join(each.name for each in found)[:300]
        raise invalid(f"more than one system has the identifier {id_[:200]}: {systems}", "id", code="multiple-matches")
    if not names:
        raise Outcome(404, "not-found", f"{found[0].name[:200]} has no identifier of type {wanted}", "type")
    return Answer(status=200, body=parameters(("result", "String", names.pop())))
