"""LOINC, as its csv release is laid out: terms, parts, answer lists, the hierarchy, translations.

https://loinc.org/kb/users-guide/loinc-database-structure/, https://hl7.org/fhir/R4/loinc.html
"""

from __future__ import annotations

import re

from terminology.canonical import version_order
from terminology.releases.described import Described
from terminology.releases.files import Files, Member
from terminology.releases.staging import Staging

URL = "http://loinc.org"
AXES = ("COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP")
PLAIN = ("CLASS", "CLASSTYPE", "ORDER_OBS", "STATUS")
NAMES = ("SHORTNAME", "CONSUMER_NAME", "DisplayName")  # besides the long common name

_variant = re.compile(r"([a-z]{2})([A-Z]{2})\d+LinguisticVariant\.csv")


def read(files: Files, into: Staging) -> Described:
    """Terms in the order of the file, then parts, answer lists and answers."""
    terms = files.one(r"Loinc\.csv", "table of terms (Loinc.csv)")
    links = files.all(r"LoincPartLink_Primary\.csv")
    version = _terms(files, terms, into, parted=bool(links))
    for member in files.all(r"Part\.csv"):
        _parts(files, member, into)
    for member in links:
        _part_links(files, member, into)
    for member in files.all(r"(?:ComponentHierarchyBySystem|MultiAxialHierarchy)\.csv"):
        _hierarchy(files, member, into)
    answers: dict[str, list[str]] = {}
    for member in files.all(r"AnswerList\.csv"):
        _answers(files, member, into, answers)
    for member in files.all(r"LoincAnswerListLink\.csv"):
        _answer_links(files, member, into, answers)
    for member in files.members:
        if found := _variant.fullmatch(member.name):
            _translated(files, member, into, f"{found[1]}-{found[2]}")
    return Described(URL, version, "LOINC")


def _terms(files: Files, member: Member, into: Staging, *, parted: bool) -> str:
    """The release is called as the latest change in it. An axis is a part where there are parts, else its text."""
    told = ("LOINC_NUM", "LONG_COMMON_NAME", "DefinitionDescription?", "VersionLastChanged")
    rest = ("EXTERNAL_COPYRIGHT_NOTICE?", *AXES, *PLAIN, *(f"{each}?" for each in NAMES))
    versions = set[str]()
    for code, name, definition, changed, notice, *row in files.rows(member, *told, *rest):
        values = dict(zip((*AXES, *PLAIN, *NAMES), row, strict=True))
        into.concept(code, name, definition, inactive=values["STATUS"] == "DEPRECATED")
        versions.add(changed)
        for axis in AXES:
            if values[axis] and parted:
                into.fact(code, axis, values[axis])
            elif values[axis]:
                into.property(code, axis, "String", values[axis])
        for each in PLAIN:
            if values[each]:
                into.property(code, each, "String", values[each])
        into.fact(code, "copyright", "3rdParty" if notice else "LOINC")
        for rank, each in enumerate(NAMES):
            into.designation(code, values[each], "en-US", {"system": URL, "code": each}, rank)
    return max(versions, key=version_order, default="")


def _parts(files: Files, member: Member, into: Staging) -> None:
    columns = ("PartNumber", "PartName", "PartDisplayName", "Status")
    for code, name, display, status in files.rows(member, *columns):
        into.concept(code, display or name, inactive=status == "DEPRECATED")
        if name != display:
            into.designation(code, name, "en-US", {"system": URL, "code": "PartName"})
        into.property(code, "STATUS", "String", status)


def _part_links(files: Files, member: Member, into: Staging) -> None:
    """`Property` is the URI of what the part is of the term: http://loinc.org/property/COMPONENT."""
    for code, part, name, uri in files.rows(member, "LoincNumber", "PartNumber", "PartName", "Property"):
        into.property(code, uri.rpartition("/")[2], "Coding", {"system": URL, "code": part, "display": name})


def _hierarchy(files: Files, member: Member, into: Staging) -> None:
    """A line for each place of a code; a parent comes before what is below it."""
    for parent, code, name in files.rows(member, "IMMEDIATE_PARENT", "CODE", "CODE_TEXT"):
        into.concept(code, name)
        if parent:
            into.below(code, parent)


def _answers(files: Files, member: Member, into: Staging, answers: dict[str, list[str]]) -> None:
    """A list that is defined elsewhere has no answers here."""
    columns = ("AnswerListId", "AnswerListName", "AnswerStringId", "DisplayText")
    for list_, name, answer, display in files.rows(member, *columns):
        into.concept(list_, name)
        if answer:
            into.concept(answer, display)
            into.fact(answer, "LIST", list_)
            into.fact(answer, "answers-for", list_)
            answers.setdefault(list_, []).append(answer)


def _answer_links(files: Files, member: Member, into: Staging, answers: dict[str, list[str]]) -> None:
    for code, list_ in files.rows(member, "LoincNumber", "AnswerListId"):
        into.property(code, "answer-list", "Code", list_)
        for answer in answers.get(list_, ()):
            into.fact(answer, "answers-for", code)


def _translated(files: Files, member: Member, into: Staging, language: str) -> None:
    """By its name in that language; where there is none, by its axes, as LOINC writes them."""
    names = ("LONG_COMMON_NAME?", "LinguisticVariantDisplayName?")
    for code, long, display, *axes in files.rows(member, "LOINC_NUM", *names, *(f"{each}?" for each in AXES)):
        name = long or display or ":".join(axes).rstrip(":")
        into.designation(code, name, language, {"system": URL, "code": "LinguisticVariant"}, len(NAMES))
