"""A code in the parameters of a terminology operation, in its three forms: code, Coding, CodeableConcept.

https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.dates import parse
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.operations.parameters import complex_, once, truth
from terminology.verdicts import Asked, Rules, Verdict

Values = dict[str, list[Any]]


def asked(values: Values, system: str | None, version: str | None) -> list[Asked]:
    """What is asked about: one code, or the codings of a CodeableConcept. `system` is what a bare code is of."""
    code, coding = once(values, "code"), complex_(values, "coding", "Coding")
    concept = complex_(values, "codeableConcept", "CodeableConcept")
    given = {"code": code, "coding": coding, "codeableConcept": concept}
    forms = [name for name, form in given.items() if form is not None]
    if len(forms) != 1:
        which = "none of them" if not forms else " and ".join(forms)
        raise invalid(f"one of code, coding and codeableConcept is expected; here is {which}", "code", code="required")
    if code is not None:
        return [Asked(code, system, version, once(values, "display"))]
    if "display" in values:
        raise invalid(f"display goes with code; {forms[0]} has one of its own", "display")
    codings = [coding] if coding is not None else (concept or {}).get("coding", [])
    found = [_of(each, version) for each in codings if "code" in each]
    if not found:
        raise invalid(f"{forms[0]}: there is no code in it", forms[0], code="required")
    return found


def _of(coding: Mapping[str, Any], version: str | None) -> Asked:
    return Asked(coding["code"], coding.get("system"), coding.get("version", version), coding.get("display"))


def check_date(ctx: Context, values: Values) -> None:
    """400 for a day that is over: what was defined then is not known to be what is defined now."""
    text = once(values, "date")
    if text is not None and parse(text).high <= ctx.now() - timedelta(days=1):
        raise invalid(f"date={text}: codes are known as they are now, not as they were", "date", code="not-supported")


def rules(values: Values) -> Rules:
    return Rules(
        truth(values, "inferSystem") is True, truth(values, "abstract") is not False, once(values, "displayLanguage")
    )


def said(verdict: Verdict) -> tuple[tuple[str, str, Any], ...]:
    """A verdict as the parameters of an answer."""
    return (
        ("result", "Boolean", verdict.result),
        ("message", "String", verdict.message),
        ("display", "String", verdict.display),
        ("code", "Code", verdict.asked.code),
        ("system", "Uri", verdict.asked.system),
        ("version", "String", verdict.version),
        ("inactive", "Boolean", verdict.inactive or None),
    )


def unknown(type_: str, url: object) -> Outcome:
    what = {"CodeSystem": "code system", "ValueSet": "value set", "ConceptMap": "concept map"}[type_]
    return Outcome(404, "not-found", f"the {what} {str(url)[:300]} is not known here", "url")
