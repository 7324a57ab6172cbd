"""ValueSet/$validate-code. https://hl7.org/fhir/R4/valueset-operation-validate-code.html"""

from __future__ import annotations

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.terminology import service
from fhirserver.operations.coded import Values, asked, rules, said, unknown
from fhirserver.operations.parameters import complex_, given, once, parameters, taken
from fhirserver.operations.registry import operation
from terminology.canonical import Canonical
from terminology.service import Service
from terminology.value_sets import Present, ValueSet
from terminology.verdicts import any_in_value_set

HL7 = "http://hl7.org/fhir/OperationDefinition/ValueSet-"
VALIDATE = (
    *("url", "valueSet", "valueSetVersion", "code", "system", "systemVersion", "display", "coding"),
    *("codeableConcept", "date", "abstract", "displayLanguage", "inferSystem"),
)
INLINE = "the value set of this request"


async def meant(known: Service, values: Values, id_: str | None) -> tuple[Canonical, Present]:
    """The value set that is asked, with all that it is made of: by id, by URL, or as it came with the request."""
    inline, url = complex_(values, "valueSet", "ValueSet"), once(values, "url")
    ways = [way for way in (id_, url, inline) if way is not None]
    if len(ways) != 1:
        how = "no value set is named" if not ways else "more than one value set is named"
        raise invalid(f"{how}: one of url, valueSet and ValueSet/[id] is expected", "url", code="required")
    if inline is not None:
        asked_ = Canonical("ValueSet", inline.get("url", INLINE), inline.get("version"))
        return asked_, (await known.inline(ValueSet(inline), asked_)).present
    named = known.named("ValueSet", f"ValueSet/{id_}" if id_ else url or "")
    named = named._replace(version=once(values, "valueSetVersion") or named.version)
    present = (await known.gathered(named)).present
    if named not in present.value_sets:
        raise unknown("ValueSet", named)
    return named, present


@operation("validate-code", "ValueSet", instance=False, definition=f"{HL7}validate-code")
@operation("validate-code", "ValueSet", instance=True, definition=f"{HL7}validate-code")
async def validate_code(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """Whether a code is in a value set, and by that name."""
    authorize(ctx.caller, "validate-code", type_)
    values = taken("$validate-code", given(ctx, request), VALIDATE)
    codings = asked(values, once(values, "system"), once(values, "systemVersion"))
    chosen = rules(values)
    if "code" in values and "system" not in values and not chosen.infer:
        raise invalid("a code needs its system; or let it be found, by inferSystem=true", "system", code="required")
    known = service(ctx)
    value_set, present = await meant(known, values, id_)
    verdict = await any_in_value_set(known, value_set, present, codings, chosen)
    return Answer(status=200, body=parameters(*said(verdict)))
