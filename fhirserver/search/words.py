"""The words of a resource: of its narrative, and of everything in it that a person wrote or would read.

Names, displays, titles, comments, addresses and narratives count; ids, codes, identifiers, URLs, dates, numbers and
data do not, for they have parameters of their own. https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from lxml import etree

from fhirserver.fhir.definitions import Definitions
from fhirserver.search.values.strings import bare

Json = dict[str, Any]

LONGEST = 64  # characters of a word; what goes on longer is data
MOST = 50_000  # words of a resource, some 100 pages
_CACHE = 16_384
_LONGEST_CACHED = 128
BREAK = ""  # stands between two texts, so that no phrase goes from one into the other

# Strings that are addresses or data in spite of their type.
UNREAD = frozenset({("Reference", "reference"), ("Identifier", "value"), ("SampledData", "data")})
TEXT = frozenset({"string", "markdown"})

# What stands in a line of text; any other element ends a word: <td>a</td><td>b</td> are two.
_inline = "a abbr acronym b bdo big cite code dfn em font i kbd q s samp small span strike strong sub sup tt u var"
INLINE = frozenset(_inline.split())
SILENT = frozenset({"script", "style"})

# Scripts without spaces between words: each character is one, and a phrase of them finds what is written in a row.
_unspaced = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_word = re.compile(rf"[{_unspaced}]|[^\W_{_unspaced}]+")
_parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


class Said(NamedTuple):
    """The words in order, with BREAK between texts. `content` holds those of the narrative too."""

    text: list[str]
    content: list[str]

    def stored(self) -> tuple[tuple[str, list[str]], ...]:
        """By the code of the search parameter."""
        return ("_text", self.text), ("_content", self.content)


def words(text: str) -> list[str]:
    """Letters and digits in a row, folded as strings are."""
    return [*_words(text)]


def _words(text: str) -> tuple[str, ...]:
    """Displays, names and units come again and again."""
    return _known_words(text) if len(text) <= _LONGEST_CACHED else _split(text)


def _split(text: str) -> tuple[str, ...]:
    return tuple([word[:LONGEST] for word in _word.findall(bare(text))])


_known_words = lru_cache(_CACHE)(_split)


class _Tables(dict[str, Mapping[str, str]]):
    """By type {property: "string", "xhtml" or the type to go on with}; what is not in it has no texts."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__()
        self._definitions = definitions

    def __missing__(self, type_: str) -> Mapping[str, str]:
        table: dict[str, str] = {}
        definition = self._definitions.types.get(type_)
        for key, (element, found) in (definition.by_key if definition else {}).items():
            if self._definitions.primitive(found):
                table[f"_{key}"] = "Element"
                if found == "xhtml" or (found in TEXT and element.name != "id" and (type_, key) not in UNREAD):
                    table[key] = "xhtml" if found == "xhtml" else "string"
            else:
                table[key] = found
        self[type_] = table
        return table


class Reader:
    """Knows which properties of each type hold texts; each table is made when it is first needed."""

    def __init__(self, definitions: Definitions) -> None:
        self._tables = _Tables(definitions)

    def said(self, resource: Json) -> Said:
        narrative = resource.get("text")
        own = texts_of(narrative.get("div") or "") if narrative else []
        found: dict[str, None] = {}
        self._walk(resource, resource["resourceType"], found)
        return Said(_in_order(own), _in_order(found))

    def _walk(self, node: Json, type_: str, found: dict[str, None]) -> None:
        table = self._tables[type_]
        for key, value in node.items():
            kind = table.get(key)
            if kind is None:
                continue
            if kind == "string" and type(value) is str:
                found[value] = None
                continue
            for each in value if type(value) is list else (value,):
                if each is None:
                    continue
                if kind == "string":
                    found[each] = None
                elif kind == "xhtml":
                    found.update(dict.fromkeys(texts_of(each)))
                else:
                    self._walk(each, each.get("resourceType", kind) if kind == "Resource" else kind, found)


def texts_of(div: str) -> list[str]:
    """The texts of a narrative without its markup, a block each. https://hl7.org/fhir/R4/narrative.html"""
    root = etree.fromstring(div.encode(errors="replace"), _parser) if div.strip() else None
    if root is None:
        return []
    pieces: list[str] = []
    for event, node in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        name = etree.QName(node).localname if isinstance(node.tag, str) else None
        if name is not None and name not in INLINE:
            pieces.append("\0")
        if event == "start" and name not in SILENT:
            pieces += (*(f"\0{node.get(key)}\0" for key in ("alt", "title") if node.get(key)), node.text or "")
        elif event != "start" and node is not root:
            pieces.append(node.tail or "")
    return [text for text in "".join(pieces).split("\0") if text and not text.isspace()]


def _in_order(texts: Iterable[str]) -> list[str]:
    said: list[str] = []
    for text in texts:
        if found := _words(text):
            said += [BREAK, *found] if said else found
        if len(said) >= MOST:
            return said[:MOST]
    return said
