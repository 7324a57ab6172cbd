"""ValueSet/$validate-code and $expand. https://hl7.org/fhir/R4/valueset-operations.html"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.sight import check_seen
from fhirserver.interactions.terminology import service
from fhirserver.operations.coded import Values, asked, check_date, rules, said, unknown
from fhirserver.operations.parameters import complex_, given, once, parameters, taken, truth
from fhirserver.operations.registry import operation
from terminology.canonical import Canonical, canonical
from terminology.expansions import PARAMETERS, Named, Wanted, contains, expansion
from terminology.pins import Pins
from terminology.service import Service
from terminology.value_sets import Present, ValueSet
from terminology.verdicts import any_in_value_set

HL7 = "http://hl7.org/fhir/OperationDefinition/ValueSet-"
VALIDATE = (
    *("url", "valueSet", "valueSetVersion", "code", "system", "systemVersion", "display", "coding"),
    *("codeableConcept", "date", "abstract", "displayLanguage", "inferSystem"),
)
SAID = ("url", "version", "name", "title", "status", "experimental", "date", "publisher", "description", "identifier")
UNCLOSED = {"url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed", "valueBoolean": True}
MOST_FILTER = 200  # characters
INLINE = "the value set of this request"


async def meant(known: Service, values: Values, id_: str | None, pins: Pins | None = None) -> tuple[Canonical, Present]:
    """The value set that is asked, with all that it is made of: by id, by URL, or as it came with the request."""
    inline, url = complex_(values, "valueSet", "ValueSet"), once(values, "url")
    ways = [way for way in (id_, url, inline) if way is not None]
    if len(ways) != 1:
        how = "no value set is named" if not ways else "more than one value set is named"
        raise invalid(f"{how}: one of url, valueSet and ValueSet/[id] is expected", "url", code="required")
    if inline is not None:
        asked_ = Canonical("ValueSet", inline.get("url", INLINE), inline.get("version"))
        return asked_, (await known.inline(ValueSet(inline), asked_, pins)).present
    named = known.named("ValueSet", f"ValueSet/{id_}" if id_ else url or "")
    named = named._replace(version=once(values, "valueSetVersion") or named.version)
    present = (await known.gathered(named, pins)).present
    if named not in present.value_sets:
        raise unknown("ValueSet", named)
    return named, present


@operation("validate-code", "ValueSet", instance=False, definition=f"{HL7}validate-code")
@operation("validate-code", "ValueSet", instance=True, definition=f"{HL7}validate-code")
async def validate_code(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """Whether a code is in a value set, and by that name."""
    authorize(ctx.caller, "validate-code", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$validate-code", given(ctx, request), VALIDATE)
    check_date(ctx, values)
    codings = asked(values, once(values, "system"), once(values, "systemVersion"))
    chosen = rules(values)
    if "code" in values and "system" not in values and not chosen.infer:
        raise invalid("a code needs its system; or let it be found, by inferSystem=true", "system", code="required")
    known = service(ctx)
    value_set, present = await meant(known, values, id_)
    verdict = await any_in_value_set(known, value_set, present, codings, chosen)
    return Answer(status=200, body=parameters(*said(verdict)))


@operation("expand", "ValueSet", instance=False, definition=f"{HL7}expand")
@operation("expand", "ValueSet", instance=True, definition=f"{HL7}expand")
async def expand(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """The value set with its codes. https://hl7.org/fhir/R4/valueset-operation-expand.html"""
    authorize(ctx.caller, "expand", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$expand", given(ctx, request), PARAMETERS)
    wanted = _wanted(values)
    check_date(ctx, values)
    asked_, present = await meant(service(ctx), values, id_, _pins(values))
    found = await expansion(asked_, present, wanted)
    source = present.value_sets[asked_].resource
    said = {name: source[name] for name in SAID if name in source}
    if truth(values, "includeDefinition") and "compose" in source:
        said["compose"] = source["compose"]
    echoed = [*_echoed(values), *(_parameter("version", "Uri", each) for each in found.used if "|" in each)]
    answer = {
        "resourceType": "ValueSet",
        "status": "active",
        **said,
        "expansion": {
            "identifier": f"urn:uuid:{uuid4()}",
            "timestamp": instant(ctx.now()),
            **({"extension": [UNCLOSED]} if found.unclosed else {"total": found.total}),
            **({"offset": wanted.offset} if wanted.count is not None or wanted.offset else {}),
            **({"parameter": echoed} if echoed else {}),
            **({"contains": listed} if (listed := contains(found.members, wanted)) else {}),
        },
    }
    return Answer(status=200, body=json.encode(answer))


def _wanted(values: Values) -> Wanted:
    filter_ = once(values, "filter")
    if filter_ is not None and (not filter_.strip() or len(filter_) > MOST_FILTER):
        raise invalid(f"filter: some words are expected, at most {MOST_FILTER} characters", "filter")
    count, offset = _number(values, "count"), _number(values, "offset") or 0
    designations = tuple(_designation(str(each)) for each in values.get("designation", ()))
    paged = count is not None or offset > 0
    return Wanted(
        filter_,
        offset,
        count,
        truth(values, "includeDesignations") is True or bool(designations),
        designations,
        once(values, "displayLanguage"),
        truth(values, "activeOnly") is True,
        truth(values, "excludeNested") is False and filter_ is None and not paged,
        truth(values, "excludeNotForUI") is True,
        tuple(canonical("CodeSystem", str(each)) for each in values.get("exclude-system", ())),
    )


def _pins(values: Values) -> Pins | None:
    named = ("system-version", "check-system-version", "force-system-version")
    if not any(name in values for name in named):
        return None
    return Pins(*(dict(_pin(name, str(each)) for each in values.get(name, ())) for name in named))


def _pin(name: str, text: str) -> tuple[str, str]:
    url, _, version = text.partition("|")
    if not url or not version:
        raise invalid(f"{name}={text[:200]}: a code system and its version are expected, as [url]|[version]", name)
    return url, version


def _designation(token: str) -> Named:
    """`designation=urn:ietf:bcp:47|de`, or the language alone; with another system it is a use."""
    system, bar, code = token.rpartition("|")
    return Named(None, code) if not bar or system == "urn:ietf:bcp:47" else Named(system, code)


def _number(values: Values, name: str) -> int | None:
    text = once(values, name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise invalid(f"{name}={text[:80]} is not a whole number from 0", name)
    return int(text)


def _echoed(values: Values) -> Iterator[dict[str, Any]]:
    """What was asked, but for the value set itself."""
    for name, many in values.items():
        if name not in ("url", "valueSet", "valueSetVersion"):
            for value in many:
                if value in ("true", "false"):
                    yield _parameter(name, "Boolean", value == "true")
                elif name in ("count", "offset"):
                    yield _parameter(name, "Integer", int(value))
                else:
                    yield _parameter(name, "String", value)


def _parameter(name: str, type_: str, value: object) -> dict[str, Any]:
    return {"name": name, f"value{type_}": value}
