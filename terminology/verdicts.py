"""Whether a code may stand where it stands, and what is wrong with it where it may not.

https://hl7.org/fhir/R4/valueset-operation-validate-code.html, https://hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhirserver.fhir.units import fault
from terminology.canonical import Canonical
from terminology.concepts import Concept, Designation, System
from terminology.membership import Code, Held, holds
from terminology.service import Service
from terminology.ucum import Ucum
from terminology.value_sets import Present


class Asked(NamedTuple):
    """A code as somebody wrote it."""

    code: str
    system: str | None = None
    version: str | None = None
    display: str | None = None

    def __str__(self) -> str:
        return self.code[:80] if self.system is None else f"{self.system[:200]}#{self.code[:80]}"


class Rules(NamedTuple):
    """`infer`: a code without a system is taken to be of the one system of the value set that has it."""

    infer: bool = False
    abstract: bool = True
    language: str | None = None


class Verdict(NamedTuple):
    """`kind` is the type of issue where the answer is no, or where there is something to say beside a yes.

    `code-invalid`: it is not there; `invalid`: it is called something else; `not-found`: that cannot be known here.
    """

    result: bool
    asked: Asked
    message: str | None = None
    kind: str | None = None
    display: str | None = None
    version: str | None = None
    inactive: bool = False


async def in_code_system(system: System | None, asked: Asked, rules: Rules) -> Verdict:
    """Whether a code system has a code, by this name."""
    if system is None or not system.usable:
        what = "not known here" if system is None else "known here without its codes"
        named = asked.system if asked.version is None else f"{asked.system}|{asked.version}"
        message = f"the code system {named} is {what}, so its codes cannot be checked"
        return Verdict(False, asked, message, "not-found")
    concept = await system.concept(asked.code)
    if concept is None:
        where = f"{system.url}|{system.version}" if system.version else system.url
        kind = "not-found" if system.content == "fragment" else "code-invalid"
        part = ", of which a fragment is here" if system.content == "fragment" else ""
        return Verdict(False, asked, f"{asked.code[:80]!r} is not a code of {where}{part}{_why(system, asked)}", kind)
    return _named(asked, concept, system.version, rules)


async def in_value_set(service: Service, value_set: Canonical, present: Present, asked: Asked, rules: Rules) -> Verdict:
    """Whether a value set holds a code, by this name. Raises a 400 Outcome where the value set cannot be read."""
    if asked.system is None:
        if not rules.infer:
            return Verdict(False, asked, f"{asked} names no system", "code-invalid")
        systems, unknown = await _inferred(value_set, present, asked.code)
        if not systems and unknown is not None:
            return _refused(None, value_set, asked, unknown, known=False)
        if len(systems) != 1:
            why = f"of several systems in it: {', '.join(systems[:5])}" if systems else "not in it"
            return Verdict(False, asked, f"value set {value_set}: {asked} is {why}", "code-invalid")
        asked = asked._replace(system=systems[0])
    system, present, other = await _versioned(service, present, asked)
    url = system.url if system is not None else await service.url(asked.system or "")
    concept = None if system is None else await system.concept(asked.code)
    found = await holds(value_set, Code(url, asked.code), present)
    if not found.answer and concept is not None and concept.code != asked.code:
        found = await holds(value_set, Code(url, concept.code), present)  # as the code system spells it
    if not found.answer:
        return _refused(system, value_set, asked, found, known=concept is not None)
    verdict = _named(asked, _told(asked.code, concept, found), system.version if system else None, rules)
    return verdict if other is None else verdict._replace(message="; ".join(filter(None, (verdict.message, other))))


async def _versioned(service: Service, present: Present, asked: Asked) -> tuple[System | None, Present, str | None]:
    """The code system in the version of the code, for the value set too; else another one, and a word about that."""
    usual = await service.system(Canonical("CodeSystem", asked.system or ""))
    if asked.version is None or usual is None or asked.version == usual.version:
        return usual, present, None
    system = await service.system(Canonical("CodeSystem", asked.system or "", asked.version))
    if system is not None:
        return system, present.using(system), None
    named = f"version {asked.version[:80]} of {usual.url} is not known here"
    return usual, present, f"{named}: version {usual.version} was asked" if usual.usable else named


def _why(system: System, asked: Asked) -> str:
    """What a grammar says of a text that is none of its codes."""
    return f": {fault(asked.code)}" if isinstance(system, Ucum) else ""


async def any_in_value_set(
    service: Service, value_set: Canonical, present: Present, codings: Sequence[Asked], rules: Rules
) -> Verdict:
    """Of a CodeableConcept: one of its codings must be in the value set."""
    verdicts = [await in_value_set(service, value_set, present, each, rules) for each in codings]
    good = next((each for each in verdicts if each.result), None)
    if good is not None:
        return good
    if len(verdicts) == 1:
        return verdicts[0]
    message = "; ".join(dict.fromkeys(each.message or "" for each in verdicts))
    known = [each for each in verdicts if each.kind != "not-found"]
    return (known or verdicts)[0]._replace(message=message)


def _refused(system: System | None, value_set: Canonical, asked: Asked, found: Held, *, known: bool) -> Verdict:
    if found.answer is None:
        missing = ", ".join(str(each) for each in found.missing) or str(value_set)
        message = f"whether {asked} is in value set {value_set} depends on what is not here: {missing}"
        return Verdict(False, asked, message, "not-found")
    message = f"{asked} is not in value set {value_set}"
    if system is not None and system.usable and not known:
        message += f", and {system.url} has no such code{_why(system, asked)}"
    return Verdict(False, asked, message, "code-invalid")


def _told(code: str, concept: Concept | None, found: Held) -> Concept:
    """With the names that the value set gives it, which come first."""
    concept = concept or Concept(code)
    if found.listed is None:
        return concept
    given = tuple(
        Designation(each.get("value", ""), each.get("language"), each.get("use"))
        for each in found.listed.get("designation", ())
    )
    own = () if concept.display is None else (Designation(concept.display),)
    display = found.listed.get("display") or concept.display
    return concept._replace(display=display, designations=(*given, *concept.designations, *own))


def _named(asked: Asked, concept: Concept, version: str | None, rules: Rules) -> Verdict:
    shown = concept.shown(rules.language)
    verdict = Verdict(True, asked, display=shown, version=version, inactive=concept.inactive)
    if concept.abstract and not rules.abstract:
        message = f"{asked} is abstract: it groups other codes and is not for use itself"
        return verdict._replace(result=False, message=message, kind="code-invalid")
    if asked.display is not None and shown is not None and not concept.is_called(asked.display):
        names = ", ".join(repr(each) for each in dict.fromkeys((shown, *concept.names())))
        message = f"{asked} is called {names[:400]}, not {asked.display[:200]!r}"
        return verdict._replace(result=False, message=message, kind="invalid")
    if concept.inactive:
        return verdict._replace(message=f"{asked} is inactive", kind="business-rule")
    return verdict


async def _inferred(value_set: Canonical, present: Present, code: str) -> tuple[list[str], Held | None]:
    """The systems of which the value set holds the code; where there is none, what would have to be known for that."""
    found, unknown = [], None
    for url in _systems(present):
        held = await holds(value_set, Code(url, code), present)
        if held.answer:
            found.append(url)
        elif held.answer is None:
            unknown = held
    if not found and unknown is None:
        await holds(value_set, Code("", code), present)  # raises where a part of it is not here
    return found, unknown


def _systems(present: Present) -> Iterable[str]:
    """Of all parts of the value sets that are present."""
    urls: dict[str, None] = {}
    for each in present.value_sets.values():
        urls |= dict.fromkeys(present.url(part.system) for part in each.includes if part.system is not None)
        if not each.composed and each.listed is not None:
            urls |= dict.fromkeys(each.listed)
    return urls
