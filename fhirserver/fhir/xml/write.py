"""Resources written as FHIR XML. https://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from lxml import etree

from fhirserver.fhir.definitions import Definitions, Element, TypeDefinition
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.xml.names import DIV, FHIR, PARSER, XHTML, is_attribute

Json = dict[str, Any]
Write = Callable[[Json, list[str]], None]  # an element of the object, into the text
WriteType = Callable[[Json, str, list[str]], None]  # an object under a name

_special = re.compile('[&<"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_escapes = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def to_xml(resource: Json, definitions: Definitions, pretty: bool = False) -> bytes:
    """A resource as XML, its elements in the order of the specification; 406 where it is not FHIR R4."""
    out: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    try:
        _writers(definitions).resource(resource, f' xmlns="{FHIR}"', out)
    except (AttributeError, KeyError, TypeError) as error:  # stored unvalidated: a string in the place of an object
        raise Outcome(406, "not-supported", f"the resource is no valid FHIR R4 and has no XML form: {error}") from error
    text = "".join(out).encode()
    return _indented(text) if pretty else text


def _escaped(match: re.Match[str]) -> str:
    return _escapes.get(match[0], "\ufffd")  # the rest XML cannot carry, and validation refuses


def _text(value: object) -> str:
    if type(value) is str:
        return _special.sub(_escaped, value) if _special.search(value) else value
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, int | Decimal | float):
        return str(value)
    raise TypeError("expected a string, a number or a boolean")


class _Writers(dict[str, WriteType]):
    """Writers of types by name, each compiled when it is first met."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__()
        self.definitions = definitions

    def __missing__(self, name: str) -> WriteType:
        self[name] = write = self._compile(self.definitions.types[name])
        return write

    def resource(self, resource: Json, namespace: str, out: list[str]) -> None:
        type_ = resource["resourceType"]
        start = len(out)
        self[type_](resource, type_, out)
        out[start] = f"<{type_}{namespace}"

    def _compile(self, definition: TypeDefinition) -> WriteType:
        rank: dict[str, int] = {"resourceType": -1}
        writers: dict[str, Write] = {"resourceType": lambda node, out: None}
        attributes: list[str] = []
        for position, element in enumerate(definition.elements):
            if is_attribute(definition, element):
                attributes.append(element.name)
            for type_ in element.types:
                key = element.key(type_)
                rank[key] = rank["_" + key] = position
                writers[key] = self._element(element, key, type_)
                writers["_" + key] = _unless(key, writers[key])
        for name in attributes:
            writers[name] = lambda node, out: None
        place = rank.__getitem__

        def write(node: Json, tag: str, out: list[str]) -> None:
            out.append(f"<{tag}")
            for attribute in attributes:
                if attribute in node:
                    out.append(f' {attribute}="{_text(node[attribute])}"')
            out.append(">")
            for key in sorted(node, key=place):
                writers[key](node, out)
            out.append(f"</{tag}>")

        return write

    def _element(self, element: Element, key: str, type_: str) -> Write:
        if type_ == "xhtml":
            return lambda node, out: out.append(_embedded(node[key]))
        if self.definitions.primitive(type_):
            return self._primitives(key) if element.many else self._primitive(key)
        many = element.many

        def write(node: Json, out: list[str]) -> None:
            value = node[key]
            for item in value if many else (value,):
                self[type_](item, key, out)

        def wrapped(node: Json, out: list[str]) -> None:
            value = node[key]
            for item in value if many else (value,):
                out.append(f"<{key}>")
                self.resource(item, "", out)
                out.append(f"</{key}>")

        return wrapped if type_ == "Resource" else write

    def _primitive(self, key: str) -> Write:
        extra_key = "_" + key

        def write(node: Json, out: list[str]) -> None:
            if extra_key in node:
                self._extended(key, node.get(key), node[extra_key], out)
            else:
                out.append(f'<{key} value="{_text(node[key])}"/>')

        return write

    def _primitives(self, key: str) -> Write:
        extra_key = "_" + key

        def write(node: Json, out: list[str]) -> None:
            values, extras = node.get(key, []), node.get(extra_key, [])
            if type(values) is not list or type(extras) is not list:
                raise TypeError(f"expected an array of {key}")
            for index in range(max(len(values), len(extras))):
                value = values[index] if index < len(values) else None
                extra = extras[index] if index < len(extras) else None
                self._extended(key, value, extra, out)

        return write

    def _extended(self, key: str, value: object, extra: Json | None, out: list[str]) -> None:
        extra = extra or {}
        id_ = f' id="{_text(extra["id"])}"' if "id" in extra else ""
        value_ = f' value="{_text(value)}"' if value is not None else ""
        out.append(f"<{key}{id_}{value_}")
        if "extension" in extra:
            out.append(">")
            for extension in extra["extension"]:
                self["Extension"](extension, "extension", out)
            out.append(f"</{key}>")
        else:
            out.append("/>")


def _unless(key: str, write: Write) -> Write:
    """`_birthDate` is written with `birthDate`, and alone where that is absent."""

    def alone(node: Json, out: list[str]) -> None:
        if key not in node:
            write(node, out)

    return alone


def _embedded(div: str) -> str:
    """A narrative as it stands; what is no XML (validation refuses it) becomes text."""
    try:
        root = etree.fromstring(div.encode(), PARSER)
    except (etree.XMLSyntaxError, UnicodeEncodeError):
        return f'<div xmlns="{XHTML}">{_text(div)}</div>'
    return div if div.startswith("<div") and div.endswith(">") else str(etree.tostring(root, encoding="unicode"))


def _indented(text: bytes) -> bytes:
    root = etree.fromstring(text, PARSER)
    _indent(root, "\n")
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _indent(node: etree._Element, margin: str) -> None:
    """White space between elements of FHIR; inside a narrative it would show."""
    children = list(node)
    if not children or node.tag == DIV:
        return
    node.text = margin + "  "
    for child in children:
        _indent(child, margin + "  ")
        child.tail = margin + "  "
    children[-1].tail = margin


@cache
def _writers(definitions: Definitions) -> _Writers:
    return _Writers(definitions)
