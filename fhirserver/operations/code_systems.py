"""CodeSystem/$lookup, $validate-code, $subsumes and $find-matches. https://hl7.org/fhir/R4/codesystem-operations.html"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.sight import check_seen
from fhirserver.interactions.terminology import service
from fhirserver.operations.coded import Values, asked, check_date, rules, said, unknown
from fhirserver.operations.parameters import complex_, given, once, parameters, taken, truth
from fhirserver.operations.registry import operation
from terminology.canonical import Canonical, canonical
from terminology.code_systems import CodeSystem
from terminology.concepts import Concept, Designation, Filter, Property, System
from terminology.service import Service
from terminology.verdicts import Asked, Rules, Verdict, in_code_system

HL7 = "http://hl7.org/fhir/OperationDefinition/CodeSystem-"
LOOKUP = ("code", "system", "version", "coding", "date", "displayLanguage", "property")
VALIDATE = (
    *("url", "codeSystem", "code", "version", "display", "coding", "codeableConcept"),
    *("date", "abstract", "displayLanguage", "system"),
)
SUBSUMES = ("codeA", "codeB", "system", "version", "codingA", "codingB")
MATCHES = 100  # most that are answered
FIND = ("system", "version", "property", "exact", "compositional")


async def _named(known: Service, id_: str | None, url: str | None, version: str | None = None) -> System:
    """The code system that is asked: the one whose resource the operation is called on, or one by its URL."""
    if id_ is None and url is None:
        raise invalid("which code system is meant? system (or url) is missing", "system", code="required")
    named = canonical("CodeSystem", f"CodeSystem/{id_}" if id_ else url or "")
    named = named._replace(version=version or named.version)
    found = await known.system(named if id_ is None else named._replace(version=None))
    if found is None or (id_ is not None and version not in (None, found.version)):
        raise unknown("CodeSystem", named)
    return found


# $lookup


@operation("lookup", "CodeSystem", instance=False, definition=f"{HL7}lookup")
async def lookup(ctx: Context, request: Request, type_: str, _: None) -> Answer:
    """What a code system says of a code. 404 where it has no such code."""
    authorize(ctx.caller, "lookup", type_)
    values = taken("$lookup", given(ctx, request), LOOKUP)
    check_date(ctx, values)
    (meant,) = asked(values, once(values, "system"), once(values, "version"))
    system = await _named(service(ctx), None, meant.system, meant.version)
    concept = await system.concept(meant.code) if system.usable else None
    if concept is None:
        raise _no_code(system, meant.code)
    wanted = frozenset(str(each) for each in values.get("property", ()))
    return Answer(status=200, body=parameters(*_described(system, concept, wanted, once(values, "displayLanguage"))))


def _no_code(system: System, code: str) -> Outcome:
    if not system.usable:
        return Outcome(404, "not-found", f"code system {system.url} is known here without its codes", "system")
    where = f"{system.url}|{system.version}" if system.version else system.url
    return Outcome(404, "not-found", f"{code[:80]!r} is not a code of code system {where}", "code")


def _described(
    system: System, concept: Concept, wanted: frozenset[str], language: str | None
) -> Iterator[tuple[str, str, Any]]:
    """All that is known, or the properties that are wanted; name, version and display in any case."""
    every = not wanted or "*" in wanted
    languages = {name.removeprefix("lang.").lower() for name in wanted if name.startswith("lang.")}
    yield "name", "String", system.name
    yield "version", "String", system.version
    yield "display", "String", concept.shown(language) or concept.code
    if every or "definition" in wanted:
        yield "definition", "String", concept.definition
    for designation in concept.designations:
        if every or "designation" in wanted or (designation.language or "").lower() in languages:
            yield "designation", "part", _designation(designation)
    if every or "inactive" in wanted:
        yield "property", "part", _property(Property("inactive", "Boolean", concept.inactive))
    for name, codes in (("parent", concept.parents), ("child", concept.children)):
        if every or name in wanted:
            for code in codes:
                yield "property", "part", _property(Property(name, "Code", code))
    for each in concept.properties:
        if (every or each.code in wanted) and each.code not in ("parent", "child", "inactive"):
            yield "property", "part", _property(each)


def _designation(designation: Designation) -> list[tuple[str, str, Any]]:
    return [
        ("language", "Code", designation.language),
        ("use", "Coding", designation.use),
        ("value", "String", designation.value),
    ]


def _property(each: Property) -> list[tuple[str, str, Any]]:
    return [("code", "Code", each.code), ("value", each.type, each.value)]


# $validate-code


@operation("validate-code", "CodeSystem", instance=False, definition=f"{HL7}validate-code")
@operation("validate-code", "CodeSystem", instance=True, definition=f"{HL7}validate-code")
async def validate_code(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """Whether a code is in a code system, and by that name."""
    authorize(ctx.caller, "validate-code", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$validate-code", given(ctx, request), VALIDATE)
    check_date(ctx, values)
    known, inline = service(ctx), complex_(values, "codeSystem", "CodeSystem")
    version, url = once(values, "version"), once(values, "url") or once(values, "system")
    system: System | None = None
    if inline is not None:
        system = CodeSystem(inline)
    elif id_ is not None:
        system = await _named(known, id_, None, version)
    elif url is not None:
        url, _, named = url.partition("|")
        version = version or named or None
    codings = asked(values, None, version)
    if system is None or system.url:
        codings = await _of_system(known, codings, url if system is None else system.url)
    verdicts = [await _judged(known, system, each, rules(values)) for each in codings]
    return Answer(status=200, body=parameters(*said(next((v for v in verdicts if v.result), verdicts[0]))))


async def _of_system(known: Service, codings: Sequence[Asked], url: str | None) -> list[Asked]:
    """Those of the code system that is asked, where one is: others in a CodeableConcept say the same in their own."""
    meant = [each._replace(system=each.system or url) for each in codings]
    if any(each.system is None for each in meant):
        raise invalid("which code system is meant? url is missing", "url", code="required")
    if url is None or all(each.system == url for each in meant):
        return meant
    names = await known.names(url)
    found = [each for each in meant if each.system in names]
    if not found:
        others = ", ".join(dict.fromkeys(str(each.system) for each in meant))[:300]
        raise invalid(f"the coding is of {others}, and the code system asked is {url[:200]}", "coding.system")
    return found


async def _judged(known: Service, system: System | None, coding: Asked, rules_: Rules) -> Verdict:
    """By a code system that is given, or the one that the coding names; that must be in the version of the coding."""
    found = system
    if found is None:
        found = await known.system(Canonical("CodeSystem", coding.system or "", coding.version))
    elif coding.version not in (None, found.version):
        found = None
    return await in_code_system(found, coding, rules_)


# $subsumes


@operation("subsumes", "CodeSystem", instance=False, definition=f"{HL7}subsumes")
@operation("subsumes", "CodeSystem", instance=True, definition=f"{HL7}subsumes")
async def subsumes(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """https://hl7.org/fhir/R4/codesystem-operation-subsumes.html"""
    authorize(ctx.caller, "subsumes", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$subsumes", given(ctx, request), SUBSUMES)
    one, other = (_side(values, side) for side in "AB")
    known = service(ctx)
    named = (one.system, other.system, once(values, "system"))
    systems = {await known.url(each) for each in named if each is not None}
    if len(systems) > 1:
        raise invalid(f"both codes are to be of one system; here are {' and '.join(sorted(systems))[:400]}", "codingB")
    system = await _named(known, id_, next(iter(systems), None), once(values, "version"))
    concepts = [await system.concept(each.code) for each in (one, other)]
    for each, concept in zip((one, other), concepts, strict=True):
        if concept is None:
            raise _no_code(system, each.code)
    a, b = (concept.code for concept in concepts if concept is not None)
    return Answer(status=200, body=parameters(("outcome", "Code", await _relation(system, a, b))))


def _side(values: Values, side: str) -> Asked:
    code, coding = once(values, f"code{side}"), complex_(values, f"coding{side}", "Coding")
    if (code is None) == (coding is None):
        raise invalid(f"one of code{side} and coding{side} is expected", f"code{side}", code="required")
    if coding is None:
        return Asked(code or "")
    if "code" not in coding:
        raise invalid(f"coding{side} has no code", f"coding{side}", code="required")
    return Asked(coding["code"], coding.get("system"))


async def _relation(system: System, one: str, other: str) -> str:
    down, up = await system.subsumes(one, other), await system.subsumes(other, one)
    if down and up:
        return "equivalent"
    return "subsumes" if down else "subsumed-by" if up else "not-subsumed"


# $find-matches


@operation("find-matches", "CodeSystem", instance=False, definition=f"{HL7}find-matches")
@operation("find-matches", "CodeSystem", instance=True, definition=f"{HL7}find-matches")
async def find_matches(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """The codes that have all of the properties; with `exact=false`, also those that have some, the best first.

    https://hl7.org/fhir/R4/codesystem-operation-find-matches.html. Compositional systems are not taken apart.
    """
    authorize(ctx.caller, "find-matches", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$find-matches", given(ctx, request), FIND)
    if truth(values, "compositional"):
        raise invalid("compositions are not made here: only codes that are in the code system", "compositional")
    system = await _named(service(ctx), id_, once(values, "system"), once(values, "version"))
    wanted = [_wanted(part) for part in values.get("property", ())]
    if not wanted:
        raise invalid("$find-matches needs at least one property", "property", code="required")
    having = [await system.selected([Filter(each.code, "=", each.text)]) for each in wanted]
    ranks: dict[str, int] = {}
    for codes in having:
        for code in codes:
            ranks[code] = ranks.get(code, 0) + 1
    least = 1 if truth(values, "exact") is False else len(wanted)
    best = sorted((code for code, rank in ranks.items() if rank >= least), key=lambda code: (-ranks[code], code))
    concepts = await system.concepts(best[:MATCHES])
    matches = []
    for code in best[:MATCHES]:
        coding = {"system": system.url, "code": code, "display": concepts[code].display}
        coding = {name: value for name, value in coding.items() if value is not None}
        lacking = [each for each, codes in zip(wanted, having, strict=True) if code not in codes]
        unmatched = [("unmatched", "part", _property(each)) for each in lacking]
        matches.append(("match", "part", [("code", "Coding", coding), *unmatched]))
    return Answer(status=200, body=parameters(*matches))


def _wanted(part: Any) -> Property:
    found = dict(part) if isinstance(part, list) else {}
    value = found.get("value")
    if not isinstance(found.get("code"), str) or value is None or "subproperty" in found:
        raise invalid("a property has a code and a value, in Parameters that are posted", "property")
    return Property(found["code"], "Coding" if isinstance(value, dict) else "String", value)
