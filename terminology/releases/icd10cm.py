"""ICD-10-CM, the official tabular list in XML. Chapters and blocks are concepts too, that are not for use themselves.

https://www.cdc.gov/nchs/icd/icd-10-cm/files.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from lxml import etree

from terminology.releases.described import Described
from terminology.releases.files import Files, NotARelease
from terminology.releases.staging import Staging

URL = "http://hl7.org/fhir/sid/icd-10-cm"
NOTES = ("inclusionTerm", "includes", "excludes1", "excludes2", "codeFirst", "useAdditionalCode", "codeAlso", "notes")
LONGEST = 7  # characters, without the dot; the last one is an extension
PLACEHOLDER = "X"

# `7th characters D and S do not apply to codes in category S06 with 6th character 7 - death …, or 8 - death …`
_barred = re.compile(r"7th characters? (.+?) do(?:es)? not apply to codes .* with 6th character (.*)")


class Extensions(NamedTuple):
    """The seventh characters with their meanings; `barred` are the (sixth, seventh) that do not go together."""

    meanings: Mapping[str, str] = MappingProxyType({})
    barred: frozenset[tuple[str, str]] = frozenset()


def read(files: Files, into: Staging) -> Described:
    """In the order of the list."""
    member = files.one(r"[^/]*tabular[^/]*\.xml", "tabular list (icd10cm-tabular-….xml)")
    version, done = "", 0
    try:
        with member.open() as file:
            parsed = etree.iterparse(
                file, tag=("version", "chapter"), resolve_entities=False, load_dtd=False, no_network=True
            )
            for _, node in parsed:
                if node.tag == "version":
                    version = version or _text(node)
                else:
                    _chapter(node, into)
                    node.clear()
                    files.read(file.tell() - done)
                    done = file.tell()
    except etree.XMLSyntaxError as error:
        raise NotARelease(f"{member.place} is not well-formed: {error}") from error
    return Described(URL, version, "ICD-10-CM")


def _chapter(chapter: etree._Element, into: Staging) -> None:
    code = _said(chapter, "name")
    into.concept(code, _said(chapter, "desc"), abstract=True)
    _notes(chapter, code, into)
    for section in chapter.iterfind("section"):
        block = section.get("id", "")
        if block == code or not block:
            continue
        into.concept(block, _said(section, "desc"), abstract=True)
        into.below(block, code)
        _notes(section, block, into)
        for diagnosis in section.iterfind("diag"):
            _diagnosis(diagnosis, block, Extensions(), into)


def _diagnosis(diagnosis: etree._Element, parent: str, extensions: Extensions, into: Staging) -> None:
    """What extends the codes of a category extends those below it, down to the ends."""
    code, name = _said(diagnosis, "name"), _said(diagnosis, "desc")
    into.concept(code, name)
    into.below(code, parent)
    _notes(diagnosis, code, into)
    extensions = _extensions(diagnosis, extensions)
    below = diagnosis.findall("diag")
    for each in below:
        _diagnosis(each, code, extensions, into)
    if not below:
        for character, meaning in extensions.meanings.items():
            extended = _extended(code, character)
            if (extended[-2], character) not in extensions.barred:
                into.concept(extended, f"{name}, {meaning}")
                into.below(extended, code)


def _extensions(diagnosis: etree._Element, above: Extensions) -> Extensions:
    own = {each.get("char", ""): _text(each) for each in diagnosis.iterfind("sevenChrDef/extension")}
    barred = set(above.barred)
    for note in diagnosis.iterfind("notes/note"):
        if found := _barred.fullmatch(_text(note)):
            sixth, seventh = re.findall(r"\b(\d) -", found[2]), re.findall(r"\b[A-Z]\b", found[1])
            barred |= {(one, other) for one in sixth for other in seventh}
    return Extensions(own or above.meanings, frozenset(barred))


def _extended(code: str, character: str) -> str:
    """`S02.0` with A is S02.0XXA: the extension is the seventh character."""
    plain = code.replace(".", "").ljust(LONGEST - 1, PLACEHOLDER) + character
    return f"{plain[:3]}.{plain[3:]}"


def _notes(node: etree._Element, code: str, into: Staging) -> None:
    for kind in NOTES:
        for note in node.iterfind(f"{kind}/note"):
            into.property(code, kind, "String", _text(note))


def _said(node: etree._Element, name: str) -> str:
    found = node.find(name)
    return "" if found is None else _text(found)


def _text(node: etree._Element) -> str:
    return " ".join("".join(_pieces(node)).split())


def _pieces(node: etree._Element) -> Iterator[str]:
    for piece in node.itertext():
        yield str(piece)
