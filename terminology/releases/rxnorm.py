"""RxNorm in Rich Release Format. Of what other vocabularies say in the files, nothing is taken.

https://www.nlm.nih.gov/research/umls/rxnorm/docs/techdoc.html, https://hl7.org/fhir/R4/rxnorm.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from terminology.releases.described import Described
from terminology.releases.files import Files, NotARelease
from terminology.releases.staging import Staging

URL = "http://www.nlm.nih.gov/research/umls/rxnorm"
OURS = "RXNORM"
OTHER_NAMES = {"PSN": 1, "SY": 2, "TMSY": 3}  # term types that are further names of a concept, in this order
INACTIVE = frozenset({"O", "Y"})  # obsolete, suppressed by an editor

_dated = re.compile(r"_(\d\d)(\d\d)(\d\d)[A-Z]?")


def read(files: Files, into: Staging) -> Described:
    """Concepts in the order of the file."""
    for code, source, term_type, name, suppressed in _rows(files, "RXNCONSO", 0, 11, 12, 14, 16):
        if source == OURS and term_type not in OTHER_NAMES and code not in into:
            into.concept(code, name, inactive=suppressed in INACTIVE)
            into.property(code, "TTY", "String", term_type)
            into.property(code, "SUPPRESS", "String", suppressed)
    for code, language, source, term_type, name in _rows(files, "RXNCONSO", 0, 1, 11, 12, 14):
        if source == OURS:
            use = {"system": URL, "code": term_type}
            into.designation(code, name, _language(language), use, OTHER_NAMES.get(term_type, 0))
    for code, type_, name in _rows(files, "RXNSTY", 0, 1, 3, optional=True):
        into.property(code, "STY", "String", type_)
        into.fact(code, "STY", name)
    for one, relation, other, named, source in _rows(files, "RXNREL", 0, 3, 4, 7, 10, optional=True):
        if source == OURS:
            _relate(into, other, named or relation, one)
    for code, name, source, value in _rows(files, "RXNSAT", 0, 8, 9, 10, optional=True):
        if source == OURS:
            into.property(code, name, "String", value)
    return Described(URL, _version(files), "RxNorm")


def _rows(files: Files, name: str, *places: int, optional: bool = False) -> Iterator[tuple[str, ...]]:
    """The values in these places. A full release has the prescribable part of it in a folder further down."""
    member = min(files.all(rf"{name}\.RRF"), key=lambda each: len(each.place), default=None)
    if member is None and not optional:
        raise NotARelease(f"{files.path.name}: there is no {name}.RRF in it")
    for number, line in enumerate(files.lines(member) if member else (), 1):
        values = line.split("|")
        if len(values) <= max(places):
            raise NotARelease(f"{name}.RRF, line {number}: {len(values)} columns are too few")
        yield tuple([values[place] for place in places])


def _language(text: str) -> str:
    return "en" if text == "ENG" else text.lower()


def _relate(into: Staging, code: str, relation: str, other: str) -> None:
    """Between concepts; between their atoms there are no codes. `isa` is the hierarchy."""
    if not code or not other or relation == "inverse_isa":
        return
    if relation == "isa":
        into.below(code, other)
    else:
        into.property(code, relation, "Code", other)
        into.fact(code, relation, f"CUI:{other}")


def _version(files: Files) -> str:
    """`20AA_200106F` is the release of January 6, 2020, which its publisher calls 01062020."""
    for source, version in _rows(files, "RXNSAB", 3, 6, optional=True):
        if source == OURS:
            found = _dated.search(version)
            return f"{found[2]}{found[3]}20{found[1]}" if found else version
    return ""
