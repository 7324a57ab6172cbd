"""An expansion to look at: the codes of a value set in order, with names; filtered by words, nested, in pages.

https://hl7.org/fhir/R4/valueset-operation-expand.html. Whether one code is in it is in membership.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhirserver.fhir.outcome import Outcome, invalid, too_costly
from terminology.canonical import Canonical
from terminology.codes import MOST
from terminology.concepts import Concept, Designation, System, folded, speaks, words
from terminology.membership import Code
from terminology.releases.release import Page, Release
from terminology.supplements import Supplemented
from terminology.value_sets import Part, Present, ValueSet, absent

Json = dict[str, Any]
Listed = dict[Code, Mapping[str, Any] | None]  # in order, with what the value set itself says of a code

PARAMETERS = {
    "url": "the value set by its canonical URL; [url]|[version] for a version",
    "valueSet": "the value set itself, in Parameters that are posted",
    "valueSetVersion": "the version of the value set",
    "filter": "words of names or codes",
    "date": "not in the past: definitions are known as they are now",
    "offset": "how many codes to leave out at the beginning",
    "count": "how many codes to answer; 0 for their number alone",
    "includeDesignations": "with other names of each code",
    "designation": "only names in a language (urn:ietf:bcp:47|de, or de) or of a use (system|code)",
    "includeDefinition": "with the compose of the value set",
    "activeOnly": "without inactive codes",
    "excludeNested": "false: each code under the first of its parents that is there",
    "excludeNotForUI": "without abstract codes",
    "excludePostCoordinated": "there are none in an expansion",
    "displayLanguage": "display in this language, where there is a designation in it",
    "exclude-system": "without the codes of a code system, or of a version of it",
    "system-version": "the version of a code system where the value set names none",
    "check-system-version": "the same; a value set that names another one is refused",
    "force-system-version": "the version of a code system, whatever the value set names",
}
WHOLE = 10_000  # codes that are answered at once
NARROWED = 50_000  # codes of which all are looked at


class Named(NamedTuple):
    """Designations: of a language where there is no `system`, else of a use."""

    system: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of an expansion. `named` says which designations; none means all of them."""

    filter: str | None = None
    offset: int = 0
    count: int | None = None
    designations: bool = False
    named: tuple[Named, ...] = ()
    language: str | None = None
    active_only: bool = False
    nested: bool = False
    selectable_only: bool = False
    without: tuple[Canonical, ...] = ()


class Member(NamedTuple):
    """A code of an expansion."""

    system: str
    version: str | None
    concept: Concept


class Expansion(NamedTuple):
    """`total` counts all that match, `members` are those of the page; `used` are the systems with their versions.

    `unclosed`: these are examples of codes that nobody can count.
    """

    total: int
    members: Sequence[Member]
    used: tuple[str, ...]
    unclosed: bool = False


async def expansion(asked: Canonical, present: Present, wanted: Wanted) -> Expansion:
    """Raises a 400 Outcome where the codes are not known, a 422 where there are too many to answer."""
    large = _of_one_release(asked, present)
    if large is not None and not wanted.without:
        return await _asked_of(*large, asked, wanted)
    listed = await listing(asked, present)
    if wanted.without:
        left_out = {each.url for each in wanted.without if each.version in (None, _version(each.url, present))}
        listed = {code: said for code, said in listed.items() if code.system not in left_out}
    paged = wanted.count is not None or wanted.offset > 0
    narrow = wanted.filter is not None or wanted.active_only or wanted.selectable_only
    if len(listed) > WHOLE and not paged and not narrow:
        raise _too_many(asked, len(listed))
    end = len(listed) if wanted.count is None else wanted.offset + wanted.count
    if narrow:
        if len(listed) > NARROWED:
            raise too_costly(f"value set {asked} has {len(listed):,} codes: too many to look for some of them by name")
        members = _ranked(await _members(listed, present), wanted)
        total, page = len(members), members[wanted.offset : end]
    else:
        shown = dict([*listed.items()][wanted.offset : end])
        total, page = len(listed), await _members(shown, present)
    if len(page) > WHOLE:
        raise _too_many(asked, len(page))
    used = dict.fromkeys(f"{each.system}|{each.version}" if each.version else each.system for each in page)
    return Expansion(total, page, tuple(used), _unclosed(present))


def _version(url: str, present: Present) -> str | None:
    return next((each.version for each in present.code_systems.values() if each.url == url), None)


def _unclosed(present: Present) -> bool:
    """Whether codes of a grammar are meant, of which the usual ones are shown."""
    return any(present.endless(part) for value_set in present.value_sets.values() for part in value_set.includes)


def _of_one_release(asked: Canonical, present: Present) -> tuple[System, Release, Page] | None:
    """Where a value set is what one release answers by itself, without all of its codes in memory."""
    value_set = present.value_set(asked)
    if len(value_set.includes) != 1 or value_set.excludes:
        return None
    (part,) = value_set.includes
    system = present.usable(part.system) if part.system is not None else None
    release = system.base if isinstance(system, Supplemented) else system
    if system is None or part.listed is not None or part.value_sets or not isinstance(release, Release):
        return None
    return system, release, Page(part.filters, active=value_set.active)


async def _asked_of(system: System, release: Release, page: Page, asked: Canonical, wanted: Wanted) -> Expansion:
    page = page._replace(active=page.active or wanted.active_only, selectable=wanted.selectable_only)
    if wanted.filter is None:
        page = page._replace(offset=wanted.offset, size=wanted.count, most=WHOLE)
    else:
        page = page._replace(words=tuple(words(wanted.filter)), most=NARROWED)
    try:
        total, concepts = await release.page(page)
    except Outcome as refusal:
        if refusal.status != 400:
            raise
        raise invalid(f"value set {asked}: {refusal}", code=refusal.issues[0].code) from refusal
    told = system.told if isinstance(system, Supplemented) else None
    members = [Member(system.url, system.version, told(each) if told else each) for each in concepts]
    if wanted.filter is not None:
        if total > NARROWED:
            raise too_costly(f"more than {NARROWED:,} codes of value set {asked} have such a name: give more of it")
        ranked = _ranked(members, wanted)
        end = len(ranked) if wanted.count is None else wanted.offset + wanted.count
        total, members = len(ranked), ranked[wanted.offset : end]
    if len(members) > WHOLE:
        raise _too_many(asked, total)
    return Expansion(total, members, (f"{system.url}|{system.version}",))


def _too_many(asked: Canonical, number: int) -> Outcome:
    return too_costly(
        f"value set {asked} has {number:,} codes, and at most {WHOLE:,} are answered at once: ask for pages by count"
        " and offset, or for fewer by filter"
    )


# the codes, in order


async def listing(asked: Canonical, present: Present) -> Listed:
    """In the order of the includes; in each, that of its list, or of the code system."""
    return await _Lister(present).of(asked, ())


class _Lister:
    def __init__(self, present: Present) -> None:
        self._present = present
        self._known: dict[Canonical, Listed] = {}

    async def of(self, asked: Canonical, within: tuple[Canonical, ...]) -> Listed:
        value_set = self._present.value_set(asked, within)
        if asked not in self._known:
            self._known[asked] = await self._listed(value_set, (*within, asked))
        return self._known[asked]

    async def _listed(self, value_set: ValueSet, within: tuple[Canonical, ...]) -> Listed:
        if not value_set.composed:
            return _contained(value_set)
        if any(self._present.endless(part) for part in value_set.excludes):
            raise too_costly(f"value set {within[-1]} leaves out more codes than can be counted")
        try:
            found = await self._united(value_set.includes, within, value_set.active)
            left_out = await self._united(value_set.excludes, within, active=False)
        except Outcome as refusal:
            if refusal.issues[0].code == "not-found" and value_set.listed is not None:
                return _contained(value_set)  # made where all of it was present
            raise
        return {code: said for code, said in found.items() if code not in left_out}

    async def _united(self, parts: Sequence[Part], within: tuple[Canonical, ...], active: bool) -> Listed:
        found: Listed = {}
        for part in parts:
            for code, said in (await self._part(part, within, active)).items():
                found.setdefault(code, said)
            if len(found) > MOST:
                raise too_costly(f"value set {within[-1]} has more than {MOST:,} codes: too many to put in order")
        return found

    async def _part(self, part: Part, within: tuple[Canonical, ...], active: bool) -> Listed:
        parts = [await self.of(asked, within) for asked in part.value_sets]
        if part.system is not None:
            parts.insert(0, await self._of_system(part.system, part, within, active))
        if not parts:
            return {}
        first, *others = parts
        return {code: said for code, said in first.items() if all(code in other for other in others)}

    async def _of_system(self, asked: Canonical, part: Part, within: tuple[Canonical, ...], active: bool) -> Listed:
        system, url = self._present.usable(asked), self._present.url(asked)
        if part.listed is not None:
            codes = part.listed
            if active and system is not None:
                known = await system.concepts(codes)
                codes = {code: said for code, said in codes.items() if code not in known or not known[code].inactive}
            return {Code(url, code): said for code, said in codes.items()}
        if system is None:
            raise absent(asked, within[-1])
        try:
            chosen = await system.selected(part.filters, active=active)
        except Outcome as refusal:
            raise invalid(f"value set {within[-1]}: {refusal}", code=refusal.issues[0].code) from refusal
        return {Code(url, code): None for code in await system.ordered(chosen)}


def _contained(value_set: ValueSet) -> Listed:
    """The codes of an expansion that came with the value set."""
    found: Listed = {}
    ahead = [*reversed(value_set.resource.get("expansion", {}).get("contains", ()))]
    while ahead:
        each = ahead.pop()
        ahead += reversed(each.get("contains", ()))
        if "code" in each and each.get("abstract") is not True:
            found.setdefault(Code(each.get("system", ""), each["code"]), each)
    return found


# their names


async def _members(listed: Listed, present: Present) -> list[Member]:
    """With what their code systems say of them, and the value set's own names before that."""
    by_system: dict[str, list[str]] = {}
    for url, code in listed:
        by_system.setdefault(url, []).append(code)
    known: dict[Code, Concept] = {}
    versions: dict[str, str | None] = {}
    for system in present.code_systems.values():
        if system.url in by_system and system.usable:
            versions[system.url] = system.version
            concepts = await system.concepts(by_system[system.url])
            known |= {Code(system.url, code): concept for code, concept in concepts.items()}
    return [
        Member(code.system, versions.get(code.system), _told(known.get(code, Concept(code.code)), said))
        for code, said in listed.items()
    ]


def _told(concept: Concept, said: Mapping[str, Any] | None) -> Concept:
    if said is None:
        return concept
    given = tuple(
        Designation(each.get("value", ""), each.get("language"), each.get("use"))
        for each in said.get("designation", ())
    )
    return concept._replace(
        display=said.get("display") or concept.display, designations=(*given, *concept.designations)
    )


# words


def _ranked(members: Iterable[Member], wanted: Wanted) -> list[Member]:
    """Those that are asked for; by words, the best first."""
    kept = [
        each
        for each in members
        if not (wanted.active_only and each.concept.inactive) and not (wanted.selectable_only and each.concept.abstract)
    ]
    if wanted.filter is None:
        return kept
    ranks = [(rank(each.concept, wanted.filter), place) for place, each in enumerate(kept)]
    return [kept[place] for found, place in sorted(r for r in ranks if r[0] is not None)]


def rank(concept: Concept, text: str) -> tuple[int, int] | None:
    """How well a text fits one of the names of a concept, or its code; less is better, None is not at all.

    The same; the beginning; the beginnings of words, all of them in any order. Short names before long ones.
    """
    wanted = folded(text)
    asked = words(wanted)
    best: tuple[int, int] | None = None
    for name in (concept.code, *concept.names()):
        fits = _fits(folded(name), wanted, asked)
        if fits is not None and (best is None or (fits, len(name)) < best):
            best = fits, len(name)
    return best


def _fits(name: str, wanted: str, asked: Sequence[str]) -> int | None:
    if name == wanted:
        return 0
    if name.startswith(wanted):
        return 1
    there = words(name)
    if asked and all(any(each.startswith(word) for each in there) for word in asked):
        return 2
    return None


# as a resource


def contains(members: Sequence[Member], wanted: Wanted) -> list[Json]:
    """ValueSet.expansion.contains: flat, or each under the first of its parents that is there too."""
    written = [_written(each, wanted) for each in members]
    if not wanted.nested:
        return written
    place = {Code(each.system, each.concept.code): written[at] for at, each in enumerate(members)}
    above = _parents(members, place)
    tops: list[Json] = []
    for each, node in zip(members, written, strict=True):
        parent = above.get(Code(each.system, each.concept.code))
        (tops if parent is None else place[parent].setdefault("contains", [])).append(node)
    return tops


def _parents(members: Sequence[Member], there: Mapping[Code, Any]) -> dict[Code, Code]:
    """One for each, so that nothing comes twice, and none that would close a circle."""
    above: dict[Code, Code] = {}
    for each in members:
        here = Code(each.system, each.concept.code)
        for parent in (Code(each.system, code) for code in each.concept.parents):
            if parent in there and here not in {parent, *_up(parent, above)}:
                above[here] = parent
                break
    return above


def _up(code: Code, above: Mapping[Code, Code]) -> Iterator[Code]:
    while code in above:
        code = above[code]
        yield code


def _written(member: Member, wanted: Wanted) -> Json:
    system, version, concept = member
    said = {
        "system": system or None,
        "abstract": concept.abstract or None,
        "inactive": concept.inactive or None,
        "version": version,
        "code": concept.code,
        "display": concept.shown(wanted.language),
        "designation": [*_designations(concept, wanted)] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _designations(concept: Concept, wanted: Wanted) -> Iterator[Json]:
    if not wanted.designations:
        return
    for designation in concept.designations:
        if not wanted.named or any(_is_named(designation, each) for each in wanted.named):
            value, language, use = designation
            said = {"language": language, "use": use, "value": value}
            yield {name: each for name, each in said.items() if each is not None}


def _is_named(designation: Designation, named: Named) -> bool:
    if named.system is None:
        return speaks(designation.language or "", named.code)
    use = designation.use or {}
    return (use.get("system", ""), use.get("code")) == (named.system, named.code)
