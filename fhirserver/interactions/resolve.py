"""What only the database can say of a query, resolved into plain clauses before it becomes a filter.

Chains are resolved inside out: what is at the far end is found first, and becomes a list of references or of ids. Each
hop is a search of its own: the law of access applies to it, and what was deleted is not found. Value sets, and what is
above or below a code, become the codes that they are, lists the ids that are on them, and what is above or below a
resource the references to it. What a search of several types asks of all of them is found once. A chain leads into
contained resources too, whose values lie beside those of what contains them.
https://hl7.org/fhir/R4/search.html#chaining, docs/adr/0004-chains.md, docs/adr/0006-contained.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest

from fhirserver.access.narrowing import within
from fhirserver.access.policy import restrict
from fhirserver.access.reach import in_records_of
from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome, in_query, invalid, too_costly
from fhirserver.interactions.chains import LISTED, named_from, naming, references, referred_by, too_many
from fhirserver.interactions.consenting import narrowing
from fhirserver.interactions.hierarchies import in_hierarchy
from fhirserver.interactions.lists import listed
from fhirserver.interactions.opening import patients_of
from fhirserver.interactions.partial import Fragment, Lack, Unindexed
from fhirserver.interactions.referred import Named, named_by, shown_by
from fhirserver.interactions.terminology import service
from fhirserver.search.bounds import narrowed
from fhirserver.search.canonicals import by_url, refers, related
from fhirserver.search.coded import Coded, apart, coded, tokens
from fhirserver.search.contained import REFERRED, unasked
from fhirserver.search.contained import field as contained_key
from fhirserver.search.criteria import (
    RESOLVED,
    AllOf,
    AnyOf,
    Belonging,
    CaredFor,
    Chain,
    Clause,
    Codes,
    Consented,
    Contained,
    Criterion,
    EntrustedTo,
    Negation,
    Ready,
    Reference,
    ReferredFrom,
    Token,
    Value,
    Within,
    kind,
)
from fhirserver.search.filters import criterion_filter, query_filter
from fhirserver.search.joined import EVERYTHING
from fhirserver.search.kept import kept
from fhirserver.search.mentioned import named as named_in
from fhirserver.search.mongo import LISTED_BYTES, Filter, conjunction
from fhirserver.search.query import Query
from fhirserver.store.generations import behind as older_than
from fhirserver.store.hops import matching_ids
from terminology.codes import Expanded

ELEMENT_BYTES = 13  # what BSON adds to a string in a list


@dataclass(frozen=True)
class Found:
    """What the criteria of one search have led to: references by the far ends of chains, forms by what was asked.

    `referred` are the ids of a type to which the far end of a chain refers, where these are all.
    `filters` are those of far ends, of which a chain may ask twice: by reference and by URL, and in what is contained.
    `lacks` are why that may be too little or too much, with the parameter it is about, `named` what records refer to,
    `cared_for` the patients of practitioners, and `entrusted` those of proxies.
    """

    references: dict[tuple[tuple[str, Criterion], ...], list[str]] = field(default_factory=dict)
    referred: dict[tuple[str, Chain], list[str]] = field(default_factory=dict)
    filters: dict[tuple[str, Criterion], Filter] = field(default_factory=dict)
    forms: dict[Hashable, tuple[str, ...]] = field(default_factory=dict)
    lacks: dict[Lack, str | None] = field(default_factory=dict)
    named: dict[tuple[str, ...], Named] = field(default_factory=dict)
    cared_for: dict[CaredFor, tuple[str, ...]] = field(default_factory=dict)
    entrusted: dict[EntrustedTo, tuple[str, ...]] = field(default_factory=dict)


async def resolve(ctx: Context, query: Query, found: Found) -> Query:
    """The same query in clauses alone, as things are now. `found` is what the same search has found before."""
    if _is_plain(query):
        return query
    resolution = _Resolution(ctx, query.type_, found)
    resolved: list[tuple[Criterion, Criterion]] = []
    for criterion, name in zip_longest(query.criteria, query.names):
        resolved.append((criterion, await _named(resolution.of(criterion), name, found)))
    narrowed_ = any(isinstance(asked, Consented) and got != EVERYTHING for asked, got in resolved)
    total = "accurate" if narrowed_ and query.total == "estimate" else query.total
    return replace(query, criteria=tuple(got for _, got in resolved if got != EVERYTHING), total=total)


async def _named(resolved: Awaitable[Criterion], name: str | None, found: Found) -> Criterion:
    """What is refused or doubtful of a criterion is about the parameter by which the client asked for it."""
    try:
        return await resolved
    except Outcome as refusal:
        if name is None or refusal.issues[0].expression is not None:
            raise
        issues = [issue._replace(expression=in_query(name)) for issue in refusal.issues]
        raise refusal.saying(issues) from refusal
    finally:
        if name is not None:
            found.lacks.update({lack: said or name for lack, said in found.lacks.items()})


class _Resolution:
    """Of the criteria of one filter, which share its size."""

    def __init__(self, ctx: Context, type_: str, found: Found, *, contained: bool = False) -> None:
        self._ctx = ctx
        self._type = type_
        self._found = found
        self._contained = contained
        self._far = partial(far_end, ctx, found)
        self._size = 0

    async def of(self, criterion: Criterion) -> Criterion:
        match criterion:
            case Clause():
                return await self._clause(criterion) if _unresolved(criterion) else criterion
            case AllOf(parts):
                return AllOf(tuple([await self.of(part) for part in parts]))
            case AnyOf(parts):
                return AnyOf(tuple([await self.of(part) for part in parts]))
            case Negation(part):
                return Negation(await self.of(part))
            case Within(parameter, part):
                return Within(parameter, await self.of(part))
            case Contained(type_, part, by):
                return await self._checked(Contained(type_, await self._inner(type_).of(part), by))
            case Chain():
                return await self._chain(criterion)
            case Belonging() | Ready():
                return criterion
            case ReferredFrom(references):
                return await self._referred_from(references)
            case CaredFor():
                return await self._cared_for(criterion)
            case EntrustedTo():
                return await self._entrusted(criterion)
            case Consented(permission):
                return await self.of(await narrowing(self._ctx, self._type, permission))

    async def _cared_for(self, asked: CaredFor) -> Criterion:
        whole = replace(asked, patient=None)
        if whole not in self._found.cared_for:
            self._found.cared_for[whole] = await patients_of(self._ctx, whole)
        patients = self._found.cared_for[whole]
        if asked.patient is not None:
            return AllOf(()) if asked.patient in patients else AnyOf(())
        return within([f"Patient/{each}" for each in patients], self._type)

    async def _entrusted(self, asked: EntrustedTo) -> Criterion:
        whole = replace(asked, patient=None)
        if whole not in self._found.entrusted:
            self._found.entrusted[whole] = await patients_of(self._ctx, whole)
        patients = self._found.entrusted[whole]
        if asked.patient is not None:
            return AllOf(()) if asked.patient in patients else AnyOf(())
        return await self.of(in_records_of(patients, self._type, asked.permission))

    async def _referred_from(self, references: tuple[str, ...]) -> Criterion:
        if references not in self._found.named:
            self._found.named[references] = await named_by(self._ctx, references)
        ids = await shown_by(self._ctx, references, self._found.named[references], self._type)
        return Clause(self._ctx.registry[self._type]["_id"], None, tuple(sorted(ids)))

    def _inner(self, type_: str) -> _Resolution:
        """Of what is said of a contained resource."""
        return _Resolution(self._ctx, type_, self._found, contained=True)

    async def _chain(self, chain: Chain) -> Criterion:
        """Where a parameter holds URLs in some places and References in others, both are followed."""
        source = chain.others[0][0] if chain.reverse else self._type
        parts: list[Criterion] = []
        if refers(self._ctx.registry, chain.parameter, source):
            parts.append(await (self._led_from if chain.reverse else self._leading)(chain))
        if by_url(self._ctx.registry, chain.parameter, source):
            parts += await (named_from if chain.reverse else naming)(self._ctx, self._far, self._type, chain)
        if not chain.reverse:
            parts += await self._containing(chain)
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    async def _containing(self, chain: Chain) -> list[Criterion]:
        """What contains the far end itself, if anything does: what finds nothing would cost every page."""
        if not self._contained and not await self._leads_inside(chain.parameter.code):
            return []
        parts: list[Contained] = []
        size = 0
        for other, criterion in chain.others:
            if unasked(criterion) is None:
                inner = self._inner(other)
                part = Contained(other, await inner.of(criterion), chain.parameter.code)
                parts.append(part if self._contained else await self._checked(part))
                size += inner._size
        if not self._contained and parts:
            filter_ = criterion_filter(AnyOf(tuple(parts)), self._ctx.now())
            seen = conjunction([await self._far(self._type, EVERYTHING), filter_])
            if not await matching_ids(self._ctx.store, self._type, seen, 1):
                return []
        self._size += size
        if self._size > LISTED_BYTES:
            raise too_many(chain)
        return [*parts]

    async def _checked(self, contained: Contained) -> Contained:
        """Whether all that such a type contains, where the caller may see it, is indexed for what is asked."""
        behind = self._ctx.live.behind(self._type, named_in(self._type, contained))
        if behind:
            older = {f"search.{contained_key(contained.type_)}": {"$exists": True}, **older_than(max(behind.values()))}
            seen = conjunction([await self._far(self._type, EVERYTHING), older])
            if await matching_ids(self._ctx.store, self._type, seen, 1):
                for code in behind:
                    self._found.lacks.setdefault(Unindexed(code, self._type))
        return contained

    async def _leads_inside(self, code: str) -> bool:
        leading = self._ctx.indexer.leading
        known = leading.known(self._type, code)
        if known is not None:
            return known
        filter_ = {f"search.{REFERRED}": {"$eq": code}}
        found = bool(await matching_ids(self._ctx.store, self._type, filter_, 1))
        if found:
            leading.add(self._type, [code])
        else:
            leading.absent(self._type, code)
        return found

    async def _leading(self, chain: Chain) -> Clause:
        if chain.others not in self._found.references:
            self._found.references[chain.others] = await references(self._ctx, self._far, chain)
        found = self._found.references[chain.others]
        if not self._room_for(found):
            raise too_many(chain)
        return Clause(chain.parameter, None, (Reference(tuple(found)),))

    async def _led_from(self, chain: Chain) -> Clause:
        found = self._found.referred.get((self._type, chain))
        if found is None:
            found = await referred_by(self._ctx, self._far, self._type, chain, LISTED + 1)
            if len(found) > LISTED:
                raise too_many(chain)
        if not self._room_for(found):
            raise too_many(chain)
        return Clause(self._ctx.registry[self._type]["_id"], None, tuple(found))

    def _room_for(self, listed: Sequence[str]) -> bool:
        self._size += sum(map(len, listed)) + ELEMENT_BYTES * len(listed)
        return self._size <= LISTED_BYTES

    async def _clause(self, clause: Clause) -> Criterion:
        """In values that are equal or not, or go on as others begin."""
        try:
            match kind(clause.parameter):
                case "list":
                    return await self._listed(clause)
                case "reference":
                    return await self._related(clause)
                case _:
                    return await self._coded(clause)
        except Outcome as refusal:
            said = f"{_name(clause)}: {refusal}"
            raise Outcome(refusal.status, refusal.issues[0].code, said, headers=refusal.headers) from refusal

    def _hold(self, forms: Sequence[str]) -> None:
        if len(forms) > LISTED or not self._room_for(forms):
            raise too_costly(f"more is meant than one search can hold ({LISTED:,} values)")

    async def _listed(self, clause: Clause) -> Criterion:
        ids = tuple(await listed(self._ctx, self._far, [str(value) for value in clause.values], self._type))
        self._hold(ids)
        return Clause(self._ctx.registry[self._type]["_id"], None, ids)

    async def _related(self, clause: Clause) -> Criterion:
        """By their versions where they are canonical URLs, else by the hierarchies of what is referred to."""
        if by_url(self._ctx.registry, clause.parameter, self._type):
            return related(clause)
        targets = self._ctx.registry.reference_targets(self._type, clause.parameter.code)

        async def walked() -> tuple[str, ...]:
            return await in_hierarchy(self._ctx, self._far, targets, clause)

        forms = await self._once((clause.modifier, clause.values, targets), walked)
        self._hold(forms)
        return Clause(clause.parameter, None, (Reference(forms),))

    async def _coded(self, clause: Clause) -> Criterion:
        asked = coded(self._ctx.registry, self._type, clause.parameter)
        if not any(asked):
            raise invalid("the values of this parameter are no codes", code="not-supported")
        parts, concepts = apart(clause, asked)
        if concepts:
            forms = await self._once((clause.modifier, concepts, asked), partial(self._codes, clause, concepts, asked))
            self._hold(forms)
            parts.append(Clause(clause.parameter, "not" if clause.modifier == "not-in" else None, (Codes(forms),)))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    async def _codes(self, clause: Clause, concepts: Sequence[Value], asked: Coded) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for value in dict.fromkeys(concepts):
            found |= dict.fromkeys(token.form for token in await self._meant(value, clause, asked))
            if len(found) > LISTED:
                break
        return tuple(found)

    async def _once(self, asked: Hashable, find: Callable[[], Awaitable[tuple[str, ...]]]) -> tuple[str, ...]:
        if asked not in self._found.forms:
            self._found.forms[asked] = await find()
        return self._found.forms[asked]

    async def _meant(self, value: Value, clause: Clause, asked: Coded) -> list[Token]:
        if isinstance(value, Token):
            url, code = value.system or "", value.code or ""
            system = await service(self._ctx).code_system(url)
            reached = await (system.above(code) if clause.modifier == "above" else system.below(code))
            names = {url, system.url}  # codings may have either
            fragments = frozenset({url} if system.content == "fragment" else ())
            found = Expanded(dict.fromkeys(names, reached), fragments)
        else:
            found = await service(self._ctx).members(str(value))
        for url in sorted(found.fragments):
            self._found.lacks.setdefault(Fragment(_name(clause), url))
        return [*tokens(found.codes, asked)]


def _name(clause: Clause) -> str:
    return clause.parameter.code if clause.modifier is None else f"{clause.parameter.code}:{clause.modifier}"


@kept
def _is_plain(query: Query) -> bool:
    return all(_plain(criterion) for criterion in query.criteria)


def _plain(criterion: Criterion) -> bool:
    return isinstance(criterion, Belonging) or (isinstance(criterion, Clause) and not _unresolved(criterion))


def _asked(clause: Clause) -> tuple[str, str | None]:
    return kind(clause.parameter), clause.modifier


def _unresolved(clause: Clause) -> bool:
    return _asked(clause) in RESOLVED


async def far_end(ctx: Context, found: Found, type_: str, criterion: Criterion) -> Filter:
    asked = type_, criterion
    if asked not in found.filters:
        found.filters[asked] = await visible(ctx, Query(type_, criteria=(criterion,)), found)
    return found.filters[asked]


async def visible(ctx: Context, query: Query, found: Found | None = None, permission: str = "s") -> Filter:
    """The filter of what a query matches and the caller may see: of all that comes beside what was asked for.

    Nothing of a type that its scopes do not reach.
    """
    query = await resolve(ctx, restrict(ctx.caller, query, permission), Found() if found is None else found)
    return staying(ctx, query.type_, narrowed(query, query_filter(query, ctx.now()), ctx.registry))


def staying(ctx: Context, type_: str, filter_: Filter) -> Filter:
    """Without what the same transaction deletes: https://hl7.org/fhir/R4/http.html#trules, deletions come first."""
    leaving = ctx.leaving.get(type_)
    return conjunction([filter_, {"_id": {"$nin": sorted(leaving)}}]) if leaving else filter_
