"""Bindings that only the terminology service can judge, and what it says of the values.

https://hl7.org/fhir/R4/terminologies.html#strength. A required binding that is not kept is an error. There may be a
reason for not keeping an extensible one that no program knows, so it is a warning, and a preferred one is information;
but a code that its code system does not have is wrong anywhere. What cannot be answered is said, with what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fhirserver.context import OPERATOR, Context
from fhirserver.fhir.outcome import Issue, Outcome
from fhirserver.interactions.terminology import service
from fhirserver.validation.bindings import WRITTEN, Written
from fhirserver.validation.findings import Question
from fhirserver.validation.kept import Member
from terminology.canonical import Canonical
from terminology.service import Service
from terminology.verdicts import Asked, Rules, Verdict, in_code_system, in_value_set

BREATH = 100  # questions of a large Bundle, between which others get their turn
BARE = frozenset({"code", "string", "uri"})  # values that say no system
SEVERITY = {"required": "error", "extensible": "warning", "preferred": "information"}
UNANSWERED = {"required": "warning", "extensible": "information", "preferred": "information"}
SHOULD = {"required": "must be", "extensible": "should be, unless none of its codes fits,", "preferred": "is best"}


async def answered(ctx: Context, questions: Iterable[Question]) -> list[Issue]:
    """What is wrong with the values. Definitions are nobody's data, so every caller is answered from all of them."""
    known = service(replace(ctx, caller=OPERATOR))
    issues: list[Issue] = []
    for number, question in enumerate(questions, 1):
        issues += await _answer(known, question)
        if number % BREATH == 0:
            await asyncio.sleep(0)
    return issues


async def members(ctx: Context, asked: Mapping[Member, Any]) -> dict[Member, bool | None]:
    """Whether each value is in its value set; None where that cannot be told."""
    known = service(replace(ctx, caller=OPERATOR))
    return {member: await _member(known, member.value_set, value) for member, value in asked.items()}


async def _member(known: Service, value_set: str, value: Any) -> bool | None:
    question = Question("required", value_set, _type(value), value)
    try:
        verdicts = await _verdicts(known, question, _codes(question))
    except Outcome:
        return None
    if any(map(_inside, verdicts)):
        return True
    return None if any(verdict.kind == "not-found" for verdict in verdicts) else False


def _type(value: Any) -> str:
    if not isinstance(value, dict):
        return "code"
    return "Coding" if "code" in value or "system" in value else "CodeableConcept"


async def _answer(known: Service, question: Question) -> list[Issue]:
    asked, strength = [*_codes(question)], question.strength
    if not asked:
        if strength == "preferred" or (question.type not in ("CodeableConcept", "Coding")):
            return []
        said = f"there is no code, and one {SHOULD[strength]} from {question.value_set}"
        return [_issue(question, SEVERITY[strength], "code-invalid", said)]
    try:
        verdicts = await _verdicts(known, question, asked)
    except Outcome as refusal:
        return [_unanswered(question, str(refusal))]
    issues = [each for verdict in verdicts for each in await _of_code(known, question, verdict)]
    if any(map(_inside, verdicts)) or any(each.severity == "error" for each in issues):
        return issues
    open_ = [verdict for verdict in verdicts if verdict.kind == "not-found"]
    if open_:
        return [*issues, _unanswered(question, open_[0].message or "")]
    named = ", ".join(str(each) for each in asked)[:300]
    said = f"{named} is not in {question.value_set}, and a code {SHOULD[strength]} from there"
    return [*issues, _issue(question, SEVERITY[strength], "code-invalid", said)]


async def _verdicts(known: Service, question: Question, asked: Iterable[Asked]) -> list[Verdict]:
    """Raises a 400 Outcome where the value set cannot be read."""
    grammar = WRITTEN.get(question.value_set.partition("|")[0])
    if grammar is not None:
        return [_by_writing(grammar, each) for each in asked]
    value_set, rules = known.named("ValueSet", question.value_set), Rules(infer=question.type in BARE)
    present = (await known.gathered(value_set)).present
    return [await in_value_set(known, value_set, present, each, rules) for each in asked]


def _by_writing(grammar: Written, asked: Asked) -> Verdict:
    """Codes that nobody can list."""
    right = asked.system in (None, grammar.system) and grammar.right(asked.code)
    return Verdict(True, asked) if right else Verdict(False, asked, grammar.said, "code-invalid")


async def _of_code(known: Service, question: Question, verdict: Verdict) -> list[Issue]:
    """What is wrong with one coding, whatever the value set."""
    if verdict.kind == "invalid":
        return [_issue(question, "warning", "invalid", verdict.message or "", "display")]
    if verdict.inactive:
        return [_issue(question, "warning", "business-rule", f"{verdict.asked} is inactive", "inactive-code")]
    asked = verdict.asked
    if verdict.result or asked.system is None:
        return []
    system = await known.system(Canonical("CodeSystem", asked.system, asked.version))
    found = await in_code_system(system, asked, Rules())
    if found.kind == "code-invalid":
        return [_issue(question, "error", "code-invalid", found.message or "", "unknown-code")]
    return []


def _inside(verdict: Verdict) -> bool:
    """Also under another name."""
    return verdict.result or verdict.kind == "invalid"


def _codes(question: Question) -> Iterator[Asked]:
    value: Any = question.value
    if question.type in BARE:
        yield Asked(str(value))
    else:
        for each in value.get("coding", ()) if question.type == "CodeableConcept" else (value,):
            if "code" in each:
                yield Asked(each["code"], each.get("system"), each.get("version"), each.get("display"))


def _unanswered(question: Question, why: str) -> Issue:
    said = f"whether the code is from {question.value_set} ({question.strength}) cannot be told here: {why}"
    return _issue(question, UNANSWERED[question.strength], "not-found", said, "binding-unknown")


def _issue(question: Question, severity: str, code: str, said: str, rule: str = "binding") -> Issue:
    return Issue(severity, code, said, question.expression, rule=rule, profile=question.profile)
