"""A small release in the shape of SNOMED CT's Release Format 2. Only what the format itself needs has its real code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DATE = "20260101"
FSN, SYNONYM, IS_A = "900000000000003001", "900000000000013009", "116680003"
US, GB = "900000000000509007", "900000000000508004"
PREFERRED, ACCEPTABLE = "900000000000548007", "900000000000549004"
EDITION, CORE = "999000011000000103", "900000000000207008"

#        code: (active, names: the fully specified one, the preferred one, others), parents
CONCEPTS = {
    "10": (1, ("Everything (root)", "Everything"), ()),
    "20": (1, ("Disorder (disorder)", "Disorder"), ("10",)),
    "30": (1, ("Disorder of heart (disorder)", "Disorder of heart", "Cardiac disorder"), ("20",)),
    "40": (1, ("Attack (disorder)", "Attack"), ("20",)),
    "50": (1, ("Heart attack (disorder)", "Heart attack", "Myocardial infarction"), ("30", "40")),
    "60": (0, ("Old heart attack (disorder)", "Old heart attack"), ()),
    "70": (1, ("Body structure (body structure)", "Body structure"), ("10",)),
    "71": (1, ("Heart (body structure)", "Heart"), ("70",)),
    "72": (1, ("Left heart (body structure)", "Left heart"), ("71",)),
    "80": (1, ("Finding site (attribute)", "Finding site"), ("10",)),
    "81": (1, ("Strength (attribute)", "Strength"), ("10",)),
    "82": (1, ("Other site (attribute)", "Other site"), ("10",)),
    "90": (1, ("Common problems (foundation metadata concept)", "Common problems"), ("10",)),
    "95": (1, ("Heart pill (product)", "Heart pill"), ("10",)),
}
RELATED = (  # group 1 of the heart attack has two attributes, group 2 has one
    ("30", "71", "80", 0),
    ("50", "72", "80", 1),
    ("50", "71", "82", 1),
    ("50", "72", "82", 2),
)
MEMBERS = ("30", "50")


def release(folder: Path, date: str = DATE, without: Iterable[str] = ()) -> Path:
    """The folder of a Snapshot."""
    left_out = {*without}
    concepts = {code: said for code, said in CONCEPTS.items() if code not in left_out}
    top = folder / f"SnomedCT_Test_{date}" / "Snapshot"
    terminology, refset = top / "Terminology", top / "Refset"
    rows: dict[str, list[tuple[object, ...]]] = {"concept": [], "description": [], "relationship": [], "language": []}
    for code, (active, names, parents) in concepts.items():
        rows["concept"].append((code, date, active, CORE, "900000000000074008"))
        for place, name in enumerate(names):
            id_ = f"{code}{place}"
            type_ = FSN if place == 0 else SYNONYM
            rows["description"].append((id_, date, 1, CORE, code, "en", type_, name, "900000000000448009"))
            chosen = PREFERRED if place < 2 else ACCEPTABLE
            rows["language"].append((f"u{id_}", date, 1, CORE, US, id_, chosen))
        for parent in parents:
            rows["relationship"].append(_related(date, code, parent, IS_A))
    rows["description"].append(("501", date, 0, CORE, "50", "en", SYNONYM, "Broken heart", "900000000000448009"))
    rows["description"].append(("502", date, 1, CORE, "50", "de", SYNONYM, 'Herz"infarkt', "900000000000448009"))
    rows["relationship"] += [_related(date, *each) for each in RELATED if each[0] in concepts]
    rows["relationship"].append((*_related(date, "40", "71", "80")[:2], 0, *_related(date, "40", "71", "80")[3:]))
    _table(
        terminology / f"sct2_Concept_Snapshot_TEST_{date}.txt",
        "id effectiveTime active moduleId definitionStatusId",
        rows["concept"],
    )
    _table(
        terminology / f"sct2_Description_Snapshot-en_TEST_{date}.txt",
        "id effectiveTime active moduleId conceptId languageCode typeId term caseSignificanceId",
        rows["description"],
    )
    relationship = (
        "id effectiveTime active moduleId sourceId {} relationshipGroup typeId characteristicTypeId modifierId"
    )
    _table(
        terminology / f"sct2_Relationship_Snapshot_TEST_{date}.txt",
        relationship.format("destinationId"),
        rows["relationship"],
    )
    _table(
        terminology / f"sct2_RelationshipConcreteValues_Snapshot_TEST_{date}.txt",
        relationship.format("value"),
        [_related(date, "95", "#500", "81")],
    )
    _table(
        refset / "Language" / f"der2_cRefset_LanguageSnapshot-en_TEST_{date}.txt",
        "id effectiveTime active moduleId refsetId referencedComponentId acceptabilityId",
        rows["language"],
    )
    _table(
        refset / "Content" / f"der2_Refset_SimpleSnapshot_TEST_{date}.txt",
        "id effectiveTime active moduleId refsetId referencedComponentId",
        [(f"m{code}", date, 1, CORE, "90", code) for code in MEMBERS] + [("m40", date, 0, CORE, "90", "40")],
    )
    _table(
        refset / "Metadata" / f"der2_ssRefset_ModuleDependencySnapshot_TEST_{date}.txt",
        "id effectiveTime active moduleId refsetId referencedComponentId sourceEffectiveTime targetEffectiveTime",
        [("d1", date, 1, EDITION, "900000000000534007", CORE, date, date)],
    )
    return top.parent


def _related(date: str, source: str, destination: str, type_: str, group: int = 0) -> tuple[object, ...]:
    return (f"r{source}{destination}", date, 1, CORE, source, destination, group, type_, "900000000000011006", "x")


def _table(path: Path, names: str, rows: Iterable[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(names.split()), *("\t".join(map(str, row)) for row in rows)]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
