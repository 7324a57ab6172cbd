"""SNOMED CT in Release Format 2, the Snapshot of an edition.

https://confluence.ihtsdotools.org/display/DOCRELFMT, https://hl7.org/fhir/R4/snomedct.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from terminology.releases.described import Described
from terminology.releases.files import Files, Member, NotARelease
from terminology.releases.schema import MEMBER
from terminology.releases.staging import Staging

URL = "http://snomed.info/sct"
CORE = "900000000000207008"
IS_A = "116680003"
PREFERRED = "900000000000548007"
FULLY_SPECIFIED, SYNONYM, DEFINITION = "900000000000003001", "900000000000013009", "900000000000550004"
DEFINED = "900000000000073002"
US_ENGLISH = "900000000000509007"
CONCRETE = {"#": "Decimal", '"': "String"}
USES: Mapping[str, Mapping[str, Any]] = {
    code: {"system": URL, "code": code, "display": display}
    for code, display in (
        (FULLY_SPECIFIED, "Fully specified name"),
        (SYNONYM, "Synonym"),
        (DEFINITION, "Definition"),
    )
}

_date = re.compile(r"_(\d{8})\.txt$", re.IGNORECASE)


def read(files: Files, into: Staging) -> Described:
    """Concepts are in the order of the file, active or not; relationships and designations are the active ones."""
    concepts = files.one(r"sct2_Concept_Snapshot_[^/]*\.txt", "file of concepts (sct2_Concept_Snapshot_….txt)")
    _concepts(files, concepts, into)
    preferred = _preferred(files)
    for member in files.all(r"sct2_(Description|TextDefinition)_Snapshot[^/]*\.txt"):
        _designations(files, member, preferred, into)
    for member in files.all(r"sct2_Relationship_Snapshot[^/]*\.txt"):
        _relationships(files, member, into)
    for member in files.all(r"sct2_RelationshipConcreteValues_Snapshot[^/]*\.txt"):
        _concrete(files, member, into)
    for member in files.all(r"x?der2_[a-z]*Refset_[^/]*Snapshot[^/]*\.txt"):
        if "language" not in member.name.casefold():
            _members(files, member, into)
    edition = f"{URL}/{_edition(files)}"
    return Described(URL, f"{edition}/version/{_released(concepts)}", "SNOMED CT")


def _rows(files: Files, member: Member, *columns: str) -> Iterator[tuple[str, ...]]:
    """The active ones."""
    for active, *row in files.rows(member, "active", *columns, separator="\t"):
        if active == "1":
            yield tuple(row)


def _concepts(files: Files, member: Member, into: Staging) -> None:
    columns = ("id", "active", "effectiveTime", "moduleId", "definitionStatusId")
    for code, active, since, module, status in files.rows(member, *columns, separator="\t"):
        into.concept(code, inactive=active != "1")
        into.property(code, "effectiveTime", "String", since)
        into.property(code, "moduleId", "Code", module)
        into.property(code, "sufficientlyDefined", "Boolean", status == DEFINED)


def _preferred(files: Files) -> dict[str, int]:
    """The descriptions that a language prefers, by their ids: those of American English come first, then the others."""
    found: dict[str, int] = {}
    for member in files.all(r"x?der2_cRefset_Language[^/]*Snapshot[^/]*\.txt"):
        for refset, description, acceptability in _rows(
            files, member, "refsetId", "referencedComponentId", "acceptabilityId"
        ):
            if acceptability == PREFERRED:
                found[description] = min(found.get(description, 1), refset != US_ENGLISH)
    return found


def _designations(files: Files, member: Member, preferred: Mapping[str, int], into: Staging) -> None:
    """Preferred terms first, then fully specified names, then what else it may be called."""
    columns = ("id", "conceptId", "languageCode", "typeId", "term")
    for id_, code, language, type_, term in _rows(files, member, *columns):
        if type_ == DEFINITION:
            rank = 9
        elif type_ == FULLY_SPECIFIED:
            rank = 2
        else:
            rank = preferred.get(id_, 3)
        into.designation(code, term, language, USES.get(type_), rank)


def _relationships(files: Files, member: Member, into: Staging) -> None:
    columns = ("sourceId", "typeId", "destinationId", "relationshipGroup")
    for source, type_, destination, group in _rows(files, member, *columns):
        if type_ == IS_A:
            into.below(source, destination)
        else:
            into.property(source, type_, "Code", destination, int(group))


def _concrete(files: Files, member: Member, into: Staging) -> None:
    """`#500` is a number, `"x"` a text."""
    for source, type_, value, group in _rows(files, member, "sourceId", "typeId", "value", "relationshipGroup"):
        kind = CONCRETE.get(value[:1])
        if kind is None:
            raise NotARelease(f"{member.place}: {value[:40]!r} is neither a number nor a text")
        told = value[1:].rstrip('"')
        into.property(source, type_, kind, Decimal(told) if kind == "Decimal" else told, int(group))


def _members(files: Files, member: Member, into: Staging) -> None:
    for refset, component in _rows(files, member, "refsetId", "referencedComponentId"):
        into.fact(component, MEMBER, refset)


def _edition(files: Files) -> str:
    """The module on which no other depends; its files are the edition."""
    sources: dict[str, str] = {}
    targets: set[str] = set()
    for member in files.all(r"x?der2_ssRefset_ModuleDependency[^/]*Snapshot[^/]*\.txt"):
        for module, since, target in _rows(files, member, "moduleId", "sourceEffectiveTime", "referencedComponentId"):
            sources[module] = max(since, sources.get(module, ""))
            targets.add(target)
    tops = [module for module in sources if module not in targets]
    return max(tops, key=lambda module: sources[module], default=CORE)


def _released(concepts: Member) -> str:
    found = _date.search(concepts.name)
    if found is None:
        raise NotARelease(f"{concepts.place}: its name does not end with the date of the release")
    return found[1]
