"""Where the elements of a text begin: lxml counts no columns, nor lines over 65,535.

Asked only of what is refused. Who asks has parsed the text before, so that it has no DOCTYPE.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from xml.parsers import expat

from lxml import etree

from fhirserver.fhir.xml.names import PARSER

Place = tuple[int, int]  # line and column, from 1
Path = tuple[str | int, ...]  # properties and indices of the same resource as JSON


def place(text: bytes, node: etree._Element) -> Place:
    """Of an element of the tree that was made of the text."""
    tree = node.getroottree().iter(etree.Element)
    number = next(count for count, each in enumerate(tree) if each is node)
    found = places(text)
    return found[min(number, len(found) - 1)]


def places(text: bytes) -> list[Place]:
    """Of all elements in the order of the text; up to one whose name is none to this parser, and so none of FHIR."""
    parser = expat.ParserCreate("UTF-8")
    found: list[Place] = []

    def start(_name: str, _attributes: object) -> None:
        found.append((parser.CurrentLineNumber, parser.CurrentColumnNumber + 1))

    parser.StartElementHandler = start
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:  # letters that XML 1.0 allows since its fifth edition
        found.append((error.lineno, error.offset))
    return found


def in_xml(text: bytes, document: Any, wanted: Collection[Path]) -> dict[Path, Place]:
    """Of what JSON has at each path; attributes are where their elements are."""
    root = etree.fromstring(text, PARSER)
    numbers = {node: number for number, node in enumerate(root.iter(etree.Element))}
    found = places(text)
    nodes = {path: _element(root, document, path) for path in wanted}
    return {path: found[min(numbers[node], len(found) - 1)] for path, node in nodes.items()}


def _element(node: etree._Element, value: Any, path: Path) -> etree._Element:
    for at, step in enumerate(path):
        value = value[step]
        if isinstance(step, str):
            many = [child for child in node if _name(child) == step.removeprefix("_")]
            index = path[at + 1] if at + 1 < len(path) and isinstance(path[at + 1], int) else 0
            if not many:
                return node
            node = many[int(index)]
        if isinstance(value, dict) and "resourceType" in value:  # an element that holds the resource
            node = next(child for child in node if _name(child))
    return node


def _name(node: etree._Element) -> str:
    return etree.QName(node).localname if isinstance(node.tag, str) else ""
