"""ConceptMap/$translate. https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.sight import check_seen
from fhirserver.interactions.terminology import service
from fhirserver.operations.coded import Values, asked, unknown
from fhirserver.operations.parameters import complex_, given, once, parameters, taken, truth
from fhirserver.operations.registry import operation
from terminology.canonical import Canonical
from terminology.concept_maps import NEGATIVE, ConceptMap, Match, Other, Question, translate
from terminology.service import Service

TRANSLATE = (
    *("url", "conceptMap", "conceptMapVersion", "code", "system", "version", "source", "coding", "codeableConcept"),
    *("target", "targetsystem", "dependency", "reverse"),
)
INLINE = "the concept map of this request"
Written = tuple[str, str, Any]


@dataclass(frozen=True, slots=True)
class Meant:
    """The maps that are asked, in their order, with those in which they go on."""

    asked: Sequence[Canonical]
    maps: dict[Canonical, ConceptMap]


@operation(
    "translate",
    "ConceptMap",
    instance=False,
    definition="http://hl7.org/fhir/OperationDefinition/ConceptMap-translate",
)
@operation(
    "translate",
    "ConceptMap",
    instance=True,
    definition="http://hl7.org/fhir/OperationDefinition/ConceptMap-translate",
)
async def translated(ctx: Context, request: Request, type_: str, id_: str | None) -> Answer:
    """What a code is in another system, by one map, or by all that are here from its system."""
    authorize(ctx.caller, "translate", type_)
    await check_seen(ctx, type_, id_)
    values = taken("$translate", given(ctx, request), TRANSLATE)
    codings = asked(values, once(values, "system"), once(values, "version"))
    known = service(ctx)
    names = {each.system: await known.names(each.system) for each in codings}
    target = await known.names(once(values, "targetsystem"))
    meant = await _meant(known, values, id_, [*filter(None, names.values())], target)
    source = once(values, "source")
    dependencies = frozenset(_dependency(part) for part in values.get("dependency", ()))
    reverse = truth(values, "reverse") is True
    found: dict[Match, None] = {}
    for each in codings:
        question = Question(each.code, names[each.system], target, once(values, "target"), dependencies, reverse)
        for canonical in meant.asked:
            if source is None or meant.maps[canonical].source in (None, source.partition("|")[0]):
                found |= dict.fromkeys(translate(canonical, meant.maps, question))
    result = any(each.equivalence not in NEGATIVE for each in found)
    message = None if result else _why_not(meant, codings[0].code)
    answer = [("match", "part", [*_match(each)]) for each in found]
    return Answer(status=200, body=parameters(("result", "Boolean", result), ("message", "String", message), *answer))


async def _meant(
    known: Service, values: Values, id_: str | None, systems: Sequence[frozenset[str]], target: frozenset[str]
) -> Meant:
    inline, url = complex_(values, "conceptMap", "ConceptMap"), once(values, "url")
    if sum(way is not None for way in (id_, url, inline)) > 1:
        raise invalid("more than one concept map is named", "url")
    if inline is not None:
        canonical = Canonical("ConceptMap", inline.get("url", INLINE), inline.get("version"))
        return Meant([canonical], dict((await known.inline(ConceptMap(inline), canonical)).present.concept_maps))
    if id_ is None and url is None:
        return await _from_systems(known, systems, target, reverse=truth(values, "reverse") is True)
    canonical = known.named("ConceptMap", f"ConceptMap/{id_}" if id_ else url or "")
    canonical = canonical._replace(version=once(values, "conceptMapVersion") or canonical.version)
    maps = dict((await known.gathered(canonical)).present.concept_maps)
    if canonical not in maps:
        raise unknown("ConceptMap", canonical)
    return Meant([canonical], maps)


async def _from_systems(
    known: Service, systems: Sequence[frozenset[str]], target: frozenset[str], *, reverse: bool
) -> Meant:
    """Without a map that is named: all that are here from one system to another."""
    if not systems or (reverse and not target):
        needed = "targetsystem" if systems else "system"
        raise invalid(f"which concept map is meant? name one by url, or say {needed}", "url", code="required")
    chosen: dict[Canonical, None] = {}
    for each in systems:
        pair = (target, each) if reverse else (each, target)
        chosen |= dict.fromkeys(await known.concept_maps(*pair))
    maps: dict[Canonical, ConceptMap] = {}
    for canonical in chosen:
        maps |= (await known.gathered(canonical)).present.concept_maps
    return Meant([each for each in chosen if each in maps], maps)


def _dependency(part: Any) -> tuple[str, str | None, str]:
    found = dict(part) if isinstance(part, list) else {}
    concept = found.get("concept")
    codings: list[dict[str, Any]] = concept.get("coding", []) if isinstance(concept, dict) else []
    if not isinstance(found.get("element"), str) or len(codings) != 1 or "code" not in codings[0]:
        raise invalid(
            "a dependency has an element and a concept of one coding, in Parameters that are posted", "dependency"
        )
    return found["element"], codings[0].get("system"), codings[0]["code"]


def _why_not(meant: Meant, code: str) -> str:
    if not meant.asked:
        return "no concept map from this system to that one is known here"
    return f"{code[:80]!r} is not translated by {', '.join(str(each) for each in meant.asked)[:300]}"


def _match(match: Match) -> Iterator[Written]:
    yield "equivalence", "Code", match.equivalence
    if match.code is not None:
        said = {"system": match.system, "version": match.version, "code": match.code, "display": match.display}
        yield "concept", "Coding", {name: value for name, value in said.items() if value is not None}
    for each in match.product:
        yield "product", "part", [*_product(each)]
    yield "source", "Uri", match.source or None


def _product(other: Other) -> Iterator[Written]:
    said = {"system": other.system, "code": other.value, "display": other.display}
    yield "element", "Uri", other.property
    yield "concept", "Coding", {name: value for name, value in said.items() if value is not None}
