"""transaction: https://hl7.org/fhir/R4/http.html#transaction

It is resolved (conditions, identities, links), then planned as a list of changes, then written whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.fhir.references import Target, is_conditional, linked, links, parse, place_of, rewrite
from fhirserver.interactions.changes import Resource, accepted, deleted, written
from fhirserver.interactions.conditions import check_absent, check_version, claim_key, criteria, match
from fhirserver.interactions.entries import Perform, answered, parsed
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.in_force import unclear
from fhirserver.interactions.integrity import check_references, check_unreferenced
from fhirserver.interactions.lawful import check_naming, check_written, found_by_id, permitted
from fhirserver.interactions.parameters import take, write_all
from fhirserver.interactions.sizes import Room, too_large
from fhirserver.interactions.validation import approved
from fhirserver.interactions.write import deletable, existing, identified, patched, unread, updated_id
from fhirserver.search.custom import SEARCH_PARAMETER, Unfit
from fhirserver.search.query import Query
from fhirserver.store.transactions import transact
from fhirserver.store.versions import Change, Conflict, Stored

SECONDS_PER_ENTRY = 0.01
Identity = tuple[str, str]


@dataclass(slots=True)
class Step:
    """One entry of a transaction on its way to its changes."""

    index: int
    request: Request
    full_url: str | None
    type: str = ""
    id: str | None = None
    resource: Resource | None = None
    query: Query | None = None
    current: Stored | None = None
    many: list[Stored] = field(default_factory=list)
    named: bool = True  # its id is one that the client chose
    found: Stored | None = None  # what a conditional create found: nothing is written

    @property
    def place(self) -> str:
        return f"Bundle.entry[{self.index}]"

    @property
    def writes(self) -> bool:
        return self.request.method in ("POST", "PUT", "PATCH", "DELETE") and self.found is None


ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}


async def transaction(ctx: Context, entries: list[Any], strict: bool, perform: Perform) -> tuple[list[Answer], Room]:
    """The answers, and the room that what was read leaves for what was written."""
    steps = [_step(ctx, entry, index, strict) for index, entry in enumerate(entries)]
    await _approve(ctx, steps)
    _check_urls(steps)
    await ctx.store.ensure(*sorted({step.type for step in steps if step.resource}))
    ctx = ctx.fresh()
    try:
        with ctx.indexer.in_use():
            done = await transact(
                ctx.store,
                lambda store: _Attempt(replace(ctx, store=store), [replace(step) for step in steps], perform).run(),
                extra_seconds=len(steps) * SECONDS_PER_ENTRY,
            )
    except Conflict as error:
        raise Outcome(409, "conflict", "others change the same resources all the time; send it again") from error
    if any(step.type == SEARCH_PARAMETER for step in steps):
        await take(ctx)
    return done


def _step(ctx: Context, entry: Any, index: int, strict: bool) -> Step:
    """Read and validate an entry: all that can be said before the database is asked."""
    request = parsed(ctx, entry, index, strict)
    step = Step(index, request, entry.get("fullUrl"), type=request.path[0] if request.path else "")
    if ORDER[request.method] == ORDER["GET"] or (request.path and request.path[-1].startswith("$")):
        if request.method not in ("GET", "HEAD"):
            raise invalid("operations that are not a GET do not run in a transaction", f"{step.place}.request.url")
        return step
    try:
        _plan(ctx, step)
    except Outcome as refusal:
        raise refusal.under(f"{step.place}.resource") from refusal
    return step


def _plan(ctx: Context, step: Step) -> None:
    request, path = step.request, step.request.path
    by_condition = len(path) == 1
    if step.type not in ctx.definitions.resource_types or len(path) > 2 or (request.method == "POST") > by_condition:
        raise invalid(f"{request.method} {'/'.join(path)} is not an interaction on a resource")
    name = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]
    authorize(ctx.caller, name, step.type)
    if request.method in ("POST", "PUT"):
        step.resource = accepted(ctx, request.body, step.type)
    if request.method == "POST":
        step.query = None if request.if_none_exist is None else criteria(ctx, step.type, request.if_none_exist)
    elif by_condition:
        step.query = criteria(ctx, step.type, request.pairs)
    else:
        step.id = path[1]
        if step.resource is not None:
            identified(step.resource, path[1])


async def _approve(ctx: Context, steps: list[Step]) -> None:
    for step in steps:
        if step.resource is not None:
            try:
                await approved(ctx, step.resource)
            except Outcome as refusal:
                raise refusal.under(f"{step.place}.resource") from refusal


def _check_urls(steps: list[Step]) -> None:
    seen: dict[str, Step] = {}
    for step in steps:
        if step.full_url and ORDER[step.request.method] in (ORDER["POST"], ORDER["PUT"]):
            other = seen.setdefault(step.full_url, step)
            if other is not step:
                message = f"{step.place} and {other.place} have the same fullUrl {step.full_url}"
                raise invalid(message, f"{step.place}.fullUrl", code="duplicate")


class _Attempt:
    """One run of a transaction inside one database transaction; a lost race makes a new one."""

    def __init__(self, ctx: Context, steps: list[Step], perform: Perform) -> None:
        self.ctx = ctx
        self.steps = steps
        self.perform = perform
        self.conditions: dict[str, str] = {}
        self.targets: dict[str, Target] = {}
        self.relative: defaultdict[str | None, dict[str, Target]] = defaultdict(dict)

    async def run(self) -> tuple[list[Answer], Room]:
        writing = sorted((s for s in self.steps if s.resource or s.id or s.query), key=_order)
        for deleting, steps in groupby(writing, key=lambda step: step.request.method == "DELETE"):
            for step in steps:
                await self._located(step, self._resolve(step))
            if deleting:
                self.ctx = replace(self.ctx, leaving=self._leaving())
        await self._read_current(writing)
        self._check_overlap(writing)
        answers = await self._write(writing)
        most = self.ctx.settings.max_response_bytes
        room = Room(most)
        for step in sorted(self.steps, key=_order):
            if step.index not in answers:
                try:
                    answers[step.index] = await answered(self.ctx, step.request, self.perform)
                    if not room.admits(answers[step.index].body):
                        raise too_large(most)
                except Outcome as refusal:
                    raise refusal.under(step.place) from refusal
        return [answers[step.index] for step in self.steps], room

    async def _located(self, step: Step, work: Any) -> Any:
        try:
            return await work
        except Outcome as refusal:
            raise refusal.under(f"{step.place}.resource" if step.resource else step.place) from refusal

    async def _resolve(self, step: Step) -> None:
        """Give every step its identity."""
        method, query = step.request.method, step.query
        if query is None:
            step.id = step.id or new_id()
            return
        if method in ("POST", "PUT"):
            key = claim_key(query)
            if key in self.conditions:
                raise invalid(f"{self.conditions[key]} has the same condition {key}", code="duplicate")
            self.conditions[key] = step.place
        if method == "POST":
            step.found = await match(self.ctx, query, creating=True, deleting=False)
            step.id = step.found.id if step.found else new_id()
        elif method == "PUT" and step.resource is not None:
            step.named = "id" in step.resource
            step.id = await updated_id(self.ctx, step.resource, query)
            step.resource = step.resource | {"id": step.id}
        elif method == "PATCH":
            step.id = existing(await match(self.ctx, query), "a resource that matches the condition").id
        else:
            step.many = await deletable(self.ctx, query, step.request.if_match)

    def _leaving(self) -> dict[str, set[str]]:
        """What this transaction deletes, by type; deletions come first, so nothing finds it any more."""
        leaving: dict[str, set[str]] = defaultdict(set)
        for step in self.steps:
            if step.request.method == "DELETE":
                leaving[step.type] |= {step.id} if step.id else {version.id for version in step.many}
        return leaving

    async def _read_current(self, steps: list[Step]) -> None:
        """One read per type, and per what is done to it, brings the versions that will be replaced."""
        writing = [step for step in steps if step.id and step.request.method != "POST"]
        asked: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for step in writing:
            asked[step.type, "d" if step.request.method == "DELETE" else "u"][str(step.id)] = None
        current: dict[tuple[str, str], dict[str, Stored]] = {}
        for (type_, permission), ids in asked.items():
            current[type_, permission] = await found_by_id(self.ctx, type_, [*ids], permission)
        for step in writing:
            permission = "d" if step.request.method == "DELETE" else "u"
            found = current[step.type, permission].get(str(step.id))
            try:
                step.current = next(iter(await permitted(self.ctx, [found] if found else [], permission)), None)
                if step.request.method == "PUT" and step.current is None and step.named:
                    check_naming(self.ctx, step.type, str(step.id))
                check_version(step.request.if_match, step.current, f"{step.type}/{step.id}")
                if step.request.method == "PUT":
                    check_absent(step.request.if_none_match, step.current, f"{step.type}/{step.id}")
            except Outcome as refusal:
                raise refusal.under(step.place) from refusal
            if step.request.method == "DELETE":
                step.many = [step.current] if step.current and not step.current.deleted else []

    def _check_overlap(self, steps: list[Step]) -> None:
        """https://hl7.org/fhir/R4/http.html#trules: no resource is written twice in one transaction."""
        seen: dict[Identity, Step] = {}
        for step in (step for step in steps if step.writes):
            named = [(step.type, step.id)] if step.id else [(step.type, version.id) for version in step.many]
            for type_, id_ in named:
                other = seen.setdefault((type_, str(id_)), step)
                if other is not step:
                    message = f"{step.place} and {other.place} both write {type_}/{id_}"
                    raise invalid(message, f"{step.place}.request", code="duplicate")

    async def _write(self, steps: list[Step]) -> dict[int, Answer]:
        self._link(steps)
        planned: list[tuple[Step, Change]] = []
        arriving: dict[str, Resource] = {}
        for step in steps:
            if not step.writes:
                continue
            if step.request.method == "DELETE":
                planned += [(step, deleted(self.ctx, version)) for version in step.many]
                continue
            change = await self._located(step, self._change(step))
            arriving[f"{step.place}.resource"] = change.resource
            planned.append((step, change))
        leaving = {f"{change.type}/{change.id}" for _, change in planned if change.body is None}
        names = frozenset(f"{resource['resourceType']}/{resource['id']}" for resource in arriving.values())
        await check_references(self.ctx, arriving, names, leaving)
        await check_unreferenced(self.ctx, leaving, names)
        try:
            versions = await write_all(self.ctx, [change for _, change in planned])
        except Unfit as unfit:
            places = [f"{step.place}.resource" for step, change in planned if change.resource.get("id") == unfit.id]
            raise (unfit.under(places[0]) if places else unfit) from unfit
        for (_, change), version in zip(planned, versions, strict=True):
            self.ctx.touched(version.reference, change.places)
        for step in steps:
            if step.found:
                self.ctx.touched(step.found.reference, step.found.compartments)
        answers = {step.index: _existing_answer(step) for step in steps}
        for (step, change), version in zip(planned, versions, strict=True):
            status = 204 if change.body is None else 200 if step.current and not step.current.deleted else 201
            warnings = unclear(self.ctx, change.resource) if change.body is not None else ()
            answer = Answer(status=status, body=change.body or b"", stored=version, wrote=True, warnings=warnings)
            patched_ = step.current if step.request.method == "PATCH" else None
            answers[step.index] = answer if patched_ is None else await unread(self.ctx, patched_, answer)
        return answers

    def _link(self, steps: list[Step]) -> None:
        """What links to the entries become: https://hl7.org/fhir/R4/bundle.html#references"""
        for step in steps:
            if not step.full_url or not step.id or step.resource is None:
                continue
            version = step.found.version if step.found else step.current.version + 1 if step.current else 1
            target = linked(step.full_url, step.resource, step.id, version)
            self.targets[step.full_url] = target
            literal = parse(step.full_url)
            if literal and f"{literal.type}/{literal.id}" != target.reference:
                self.relative[literal.base][f"{literal.type}/{literal.id}"] = target

    def _neighbours(self, step: Step) -> Mapping[str, Target]:
        """What a relative reference in this entry means: beside its own fullUrl, or else on this server."""
        literal = parse(step.full_url) if step.full_url else None
        return self.relative.get(literal.base if literal else self.ctx.base_url, {})

    async def _change(self, step: Step) -> Change:
        if step.request.method == "PATCH":
            current = existing(step.current, f"{step.type}/{step.id}")
            resource = await patched(self.ctx, current, step.request.body)
        else:
            resource = step.resource or {}
        found: dict[str, Target] = {}
        for text in links(resource):
            if is_conditional(text, self.ctx.definitions):
                try:
                    found[text] = await self._conditional(text)
                except Outcome as refusal:
                    raise refusal.under(place_of(text, resource, self.ctx.definitions)) from refusal
            elif text.startswith("urn:uuid:") and text.partition("/_history/")[0] not in self.targets:
                said = f"{text[:200]} is the fullUrl of no entry that is created or updated"
                raise invalid(said, place_of(text, resource, self.ctx.definitions), code="not-found")
        resource = rewrite(resource, {**self._neighbours(step), **self.targets, **found}, self.ctx.definitions)
        if step.current is not None and step.current.deleted:
            authorize(self.ctx.caller, "create", step.type)
        change = written(self.ctx, resource, str(step.id), step.current)
        await check_written(self.ctx, change, "u" if step.current else "c", self._arriving())
        return change

    def _arriving(self) -> set[str]:
        """What this transaction creates, by ids that it gives."""
        return {f"{step.type}/{step.id}" for step in self.steps if step.request.method == "POST" and not step.found}

    async def _conditional(self, text: str) -> Target:
        """https://hl7.org/fhir/R4/http.html#2.21.0.10.1; an entry created under the same condition counts."""
        type_, _, condition = text.partition("?")
        try:
            query = criteria(self.ctx, type_, condition)
        except Outcome as refusal:
            said = f"the conditional reference {text[:200]}: {refusal}"
            raise Outcome(refusal.status, refusal.issues[0].code, said, headers=refusal.headers) from refusal
        for other in self.steps:
            if other.query and other.request.method == "POST" and claim_key(other.query) == claim_key(query):
                return Target(f"{type_}/{other.id}", 1)
        found = await match(self.ctx, query, deleting=False)
        if found is None:
            raise Outcome(412, "not-found", f"the conditional reference {text[:200]} matches nothing")
        return Target(found.reference, found.version)


def _order(step: Step) -> int:
    return ORDER[step.request.method]


def _existing_answer(step: Step) -> Answer:
    """What a step that wrote nothing answers: a conditional create that found one, a deletion of nothing."""
    if step.found:
        return Answer(status=200, body=step.found.body, stored=step.found, wrote=True)
    return Answer(status=204, wrote=True, stored=step.current)
