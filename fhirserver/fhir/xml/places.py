"""Where the elements of a text begin: lxml counts no columns, nor lines over 65,535.

Asked only of what is refused. Who asks has parsed the text before, so that it has no DOCTYPE.
"""

from __future__ import annotations

from xml.parsers import expat

from lxml import etree

Place = tuple[int, int]  # line and column, from 1


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
