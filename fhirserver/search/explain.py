"""Why a search found what it found and took what it took: as parts of a Parameters resource. Pure.

https://www.mongodb.com/docs/manual/reference/explain-results/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bson import json_util

from fhirserver.search.criteria import (
    AllOf,
    AnyOf,
    Belonging,
    CaredFor,
    Chain,
    Clause,
    Consented,
    Contained,
    Criterion,
    EntrustedTo,
    Negation,
    Ready,
    ReferredFrom,
    Within,
    clauses,
)
from fhirserver.search.query import Query

Part = dict[str, Any]

LISTED = 20  # values of a list that are shown
POOR = 10  # index keys or documents for each one returned, from which an index would help
FEW = 200  # below so many, nobody waits for them

UNPLANNED = "the command holds too many values for MongoDB to explain it"

# Modifiers whose clause no range of an index answers, and what to do.
UNBOUNDED: Mapping[str, str] = {
    "contains": "looks for a text anywhere in a value, so every value is read; search for its beginning, or add a"
    " parameter that narrows it",
    "text": "looks for words in texts, so every text is read; search for a code, or add a parameter that narrows it",
    "not": "matches whatever does not have a value, so no index leads there; add a parameter that says what is wanted",
    "not-in": "matches whatever has none of the codes, so no index leads there; add a parameter that narrows it",
    "missing": "asks what is absent or present at all; add a parameter that narrows it",
}


class Plan(NamedTuple):
    """What the database did for one command. `indexes` are (name, bounds); none where it read the collection.

    On a sharded cluster the stages and indexes of all shards, each once, and what they examined together.
    """

    stages: tuple[str, ...]
    indexes: tuple[tuple[str, Any], ...]
    keys: int
    documents: int
    returned: int
    shards: int = 0


def plan(said: Mapping[str, Any] | None) -> Plan | None:
    """From the answer to `explain`, of a find, a count or a pipeline."""
    if said is None:
        return None
    steps: list[Mapping[str, Any]] = []
    examined: list[Mapping[str, Any]] = []
    for cursor in _cursors(said):
        winning = cursor["queryPlanner"]["winningPlan"]
        for tree in (winning, *(shard["winningPlan"] for shard in winning.get("shards", ()))):
            steps += _steps(_classic(tree))
        examined.append(cursor["executionStats"])
    indexes: list[tuple[str, Any]] = []
    for step in steps:
        if "indexName" in step and (index := (step["indexName"], step.get("indexBounds", {}))) not in indexes:
            indexes.append(index)
    return Plan(
        tuple(dict.fromkeys(step["stage"] for step in steps)),
        tuple(indexes),
        sum(each["totalKeysExamined"] for each in examined),
        sum(each["totalDocsExamined"] for each in examined),
        sum(each["nReturned"] for each in examined),
        sum(len(each["executionStages"].get("shards", ())) for each in examined) or len(said.get("shards", ())),
    )


def _cursors(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What read the collection: of a pipeline its first stage, on each shard where it is split over them."""
    if "shards" in said:
        for shard in said["shards"].values():
            yield from _cursors(shard)
    elif stages := said.get("stages"):
        yield stages[0]["$cursor"]
    else:
        yield said


def _classic(winning: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan as a tree of stages, also where the other engine ran it."""
    tree: Mapping[str, Any] = winning.get("queryPlan", winning)
    return tree


def _steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield step
    for below in (*step.get("inputStages", ()), *(step[key] for key in ("inputStage",) if key in step)):
        yield from _steps(below)


def understood(queries: Sequence[Query]) -> list[Part]:
    """Each parameter as it was read, of several types in each of them, and what was ignored and why."""
    found = [_group("ignored", [_text("reason", issue.diagnostics)]) for issue in queries[0].ignored]
    for query in queries:
        criteria = [_group("criterion", _described(criterion)) for criterion in query.criteria]
        found += criteria if len(queries) == 1 else [_group("query", [_text("type", query.type_), *criteria])]
    return found


def _described(criterion: Criterion) -> list[Part]:
    match criterion:
        case Clause(parameter, modifier, values):
            said = [_text("parameter", parameter.code), _text("type", parameter.type)]
            said += [_text("modifier", modifier)] if modifier else []
            said += [_text("value", _value(value)) for value in values[:LISTED]]
            return said + ([_text("more", f"{len(values) - LISTED} more values")] if len(values) > LISTED else [])
        case Chain(parameter, others, reverse):
            said = [_text("chain", "_has" if reverse else "forward"), _text("parameter", parameter.code)]
            return said + [_group("through", [_text("type", name), *_described(other)]) for name, other in others]
        case AllOf(parts) | AnyOf(parts):
            word = "all" if isinstance(criterion, AllOf) else "any"
            return [_group(word, _described(part)) for part in parts]
        case Negation(part):
            return [_group("not", _described(part))]
        case Within(parameter, part):
            return [_text("parameter", parameter.code), _group("within", _described(part))]
        case Contained(type_, part):
            return [_group("contained", [_text("type", type_), *_described(part)])]
        case Belonging(references):
            return [_text("compartment", each) for each in references[:LISTED] or ("of no patient",)]
        case Consented() | Ready():
            return [_text("law", "consents and security labels")]
        case CaredFor(practitioner):
            return [_text("caredForBy", practitioner)]
        case EntrustedTo(person):
            return [_text("entrustedTo", person)]
        case ReferredFrom(references):
            return [_text("referredFrom", each) for each in references[:LISTED]]


def _value(value: Any) -> str:
    if hasattr(value, "_asdict"):
        return ", ".join(f"{name}={_short(each)}" for name, each in value._asdict().items() if each is not None)
    return str(value)


def step(asked: tuple[str, Mapping[str, Any]], milliseconds: float, returned: int, found: Plan | None) -> Part:
    """One command (its type and what it asks) to the database, what came of it, and how it was answered."""
    type_, command = asked
    written = json_util.dumps(_short(command), json_options=json_util.RELAXED_JSON_OPTIONS)
    each = [_text("type", type_), _text("command", written), _number("returned", returned)]
    each.append({"name": "milliseconds", "valueDecimal": round(milliseconds, 3)})
    return _group("step", each + (_planned(found) if found else [_text("plan", UNPLANNED)]))


def _planned(found: Plan) -> list[Part]:
    parts = [_text("plan", " < ".join(found.stages))]
    for name, bounds in found.indexes:
        parts.append(_group("index", [_text("name", name), _text("bounds", json_util.dumps(_short(bounds)))]))
    parts += [_number("shards", found.shards)] if found.shards else []
    parts += [_number("keysExamined", found.keys), _number("documentsExamined", found.documents)]
    if found.returned:
        parts.append({"name": "keysPerResult", "valueDecimal": round(found.keys / found.returned, 2)})
    return parts


def hints(queries: Iterable[Query], plans: Iterable[tuple[str, Plan | None]]) -> list[Part]:
    """What would make it faster, in sentences."""
    found = []
    for clause in (clause for query in queries for each in query.criteria for clause in clauses(each)):
        if reason := UNBOUNDED.get(clause.modifier or ""):
            found.append(f"{clause.parameter.code}:{clause.modifier} {reason}")
    for type_, each in plans:
        if each is None:
            found.append(f"{type_}: a chain leads through very many resources; narrow it")
            continue
        examined = max(each.keys, each.documents)
        if "COLLSCAN" in each.stages:
            found.append(f"{type_}: no index was used; add a parameter that has one value or a range")
        elif examined > FEW and examined > POOR * max(each.returned, 1):
            found.append(
                f"{type_}: {examined:,} index keys or documents were examined for {each.returned:,} returned;"
                " a compound index of the parameters of this search would help"
            )
        if "SORT" in each.stages and each.documents > FEW:
            found.append(f"{type_}: {each.documents:,} documents were read to be sorted; an index that ends with the"
                         " sort key would help")  # fmt: skip
    return [_text("hint", sentence) for sentence in dict.fromkeys(found)]


def _short(value: Any) -> Any:
    """Long lists by their beginning: a chain may have found 200,000 ids."""
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        more = [f"… and {len(value) - LISTED:,} more"] if len(value) > LISTED else []
        return [*(_short(each) for each in value[:LISTED]), *more]
    return value


def _text(name: str, value: str) -> Part:
    return {"name": name, "valueString": value}


def _number(name: str, value: int) -> Part:
    return {"name": name, "valueInteger": value}


def _group(name: str, parts: list[Part]) -> Part:
    return {"name": name, "part": parts}
