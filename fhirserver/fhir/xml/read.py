"""FHIR XML read as the JSON of the same resource would be. https://hl7.org/fhir/R4/xml.html

Decimals stay as written, integers and booleans are typed. What is out of place is refused with its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from functools import cache
from typing import Any

from lxml import etree

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.fhir.json import MAX_DEPTH, MAX_NODES
from fhirserver.fhir.outcome import Issue, Outcome
from fhirserver.fhir.xml.names import DIV, FHIR, PARSER, XHTML, is_attribute
from fhirserver.fhir.xml.places import place

Json = dict[str, Any]
Read = Callable[[etree._Element, Json, int], None]  # an element, into the object, at this depth of JSON
Convert = Callable[[etree._Element, str], object]
_Entry = tuple[int, str, bool, bool, Read]  # position, key, whether it repeats, whether it is one string

# text directly in an element of FHIR, asked of the whole tree at once
_has_text = etree.XPath("boolean(//f:*/text()[normalize-space()])", namespaces={"f": FHIR})
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_integer = re.compile(r"-?(?:0|[1-9][0-9]{0,999})")
_decimal = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def from_xml(text: bytes, definitions: Definitions) -> Json:
    """A resource from XML. Raises a 400 Outcome that says where the text is not FHIR XML."""
    if b"<!DOCTYPE" in text:
        raise _refusal("a FHIR resource has no DOCTYPE", *_position(text, text.index(b"<!DOCTYPE")))
    if text.count(b"<") - text.count(b"</") > MAX_NODES:
        raise Outcome(400, "too-costly", f"the body has more than {MAX_NODES:,} elements; send it in parts")
    try:
        root = etree.fromstring(text, PARSER)
    except etree.XMLSyntaxError as error:
        raise _refusal(str(error.msg)[:200], *(max(place, 1) for place in error.position)) from error
    readers = _readers(definitions)
    try:
        if _has_text(root):
            _refuse_text(root)
        return readers.resource(root, 1)
    except _Misplaced as error:
        line, column = place(text, error.node)
        message = f"line {line}, column {column}: {error}"
        issue = Issue("error", error.code, message, readers.expression(error.node), line, column)
        raise Outcome(400, error.code, message, issues=(issue,)) from error


class _Misplaced(Exception):
    """What is wrong at a node; where that is, is worked out only now."""

    def __init__(self, node: etree._Element, message: str, code: str = "structure") -> None:
        super().__init__(message)
        self.node = node
        self.code = code


class _Readers(dict[str, dict[str, _Entry]]):
    """Tables of elements by their XML name, for each type, compiled when it is first met."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__()
        self.definitions = definitions

    def __missing__(self, name: str) -> dict[str, _Entry]:
        definition = self.definitions.types[name]
        table: dict[str, _Entry] = {}
        for position, element in enumerate(definition.elements):
            if is_attribute(definition, element):
                continue
            for type_ in element.types:
                key = element.key(type_)
                tag = DIV if type_ == "xhtml" else f"{{{FHIR}}}{key}"
                plain = self.definitions.primitive(type_) and type_ not in CONVERT and tag != DIV and not element.many
                table[tag] = (position, key, element.many, plain, self._element(element, key, type_))
        self[name] = table
        return table

    def resource(self, node: etree._Element, depth: int) -> Json:
        namespace, _, type_ = str(node.tag).removeprefix("{").rpartition("}")
        if namespace != FHIR:
            raise _Misplaced(node, f"a resource is in the namespace {FHIR}, not in {namespace[:100]!r}")
        if type_ not in self.definitions.resource_types:
            raise _Misplaced(node, f"{type_[:100]} is no resource type of FHIR R4")
        out: Json = {"resourceType": type_}
        for name in node.attrib:
            if name != _SCHEMA_LOCATION:
                raise _Misplaced(node, f"a resource has no attribute {str(name)[:100]}")
        self.children(node, self[type_], out, depth)
        return out

    def children(self, node: etree._Element, table: dict[str, _Entry], out: Json, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Misplaced(node, f"the body is nested more than {MAX_DEPTH} levels deep", "too-costly")
        last = -1
        for child in node:
            entry = table.get(child.tag)
            if entry is None:
                if isinstance(child.tag, str):
                    raise _Misplaced(child, _stranger(child, table))
                continue
            position, key, many, plain, read = entry
            if position <= last and not many and (key in out or "_" + key in out):
                raise _Misplaced(child, f"{key} stands twice")
            if position < last:
                before = next(each[1] for each in table.values() if each[0] == last)
                raise _Misplaced(child, f"{key} comes too late: the order of elements is fixed, and {before} after it")
            last = position
            if plain:
                attributes = child.items()
                if len(attributes) == 1 and attributes[0][0] == "value" and not len(child):
                    out[key] = attributes[0][1]
                    continue
            read(child, out, depth)

    def complex(self, node: etree._Element, type_: str, depth: int) -> Json:
        out: Json = {}
        for name, value in node.items():
            if name != "id" and not (name == "url" and type_ == "Extension"):
                raise _Misplaced(node, f"{type_} has no attribute {str(name)[:100]}")
            out[str(name)] = value
        self.children(node, self[type_], out, depth)
        return out

    def _element(self, element: Element, key: str, type_: str) -> Read:
        if type_ == "xhtml":
            return _read_narrative(key)
        if self.definitions.primitive(type_):
            convert = CONVERT.get(type_)
            return self._primitives(key, convert) if element.many else self._primitive(key, convert)
        read_one: Callable[[etree._Element, int], Json]
        if type_ == "Resource":
            read_one = self._wrapped
        else:

            def read_one(node: etree._Element, depth: int) -> Json:
                return self.complex(node, type_, depth)

        def read(node: etree._Element, out: Json, depth: int) -> None:
            out[key] = read_one(node, depth + 1)

        def read_many(node: etree._Element, out: Json, depth: int) -> None:
            item = read_one(node, depth + 2)
            if key in out:
                out[key].append(item)
            else:
                out[key] = [item]

        return read_many if element.many else read

    def _wrapped(self, node: etree._Element, depth: int) -> Json:
        inner = [child for child in node if isinstance(child.tag, str)]
        if len(inner) != 1 or node.attrib:
            raise _Misplaced(node, "it holds one resource, and has no attributes")
        return self.resource(inner[0], depth)

    def _value(self, node: etree._Element, convert: Convert | None, depth: int) -> tuple[object, Json | None]:
        """The value of a primitive, and its id and extensions."""
        value: object = None
        extra: Json = {}
        attributes = node.items()
        if len(attributes) == 1 and attributes[0][0] == "value" and not len(node):
            text = attributes[0][1]
            return (convert(node, str(text)) if convert else text), None
        for name, text in attributes:
            if name == "value":
                value = convert(node, str(text)) if convert else text
            elif name == "id":
                extra["id"] = text
            else:
                raise _Misplaced(node, f"a primitive value has no attribute {str(name)[:100]}")
        if len(node):
            self.children(node, self["Element"], extra, depth)
        if value is None and not extra:
            raise _Misplaced(node, "it has neither a value nor an extension")
        return value, extra or None

    def _primitive(self, key: str, convert: Convert | None) -> Read:
        def read(node: etree._Element, out: Json, depth: int) -> None:
            value, extra = self._value(node, convert, depth + 1)
            if value is not None:
                out[key] = value
            if extra is not None:
                out["_" + key] = extra

        return read

    def _primitives(self, key: str, convert: Convert | None) -> Read:
        extra_key = "_" + key

        def read(node: etree._Element, out: Json, depth: int) -> None:
            value, extra = self._value(node, convert, depth + 2)
            values, extras = out.get(key), out.get(extra_key)
            count = len(values) if values is not None else len(extras or ())
            if value is not None and values is None:
                values = out[key] = [None] * count
            if extra is not None and extras is None:
                extras = out[extra_key] = [None] * count
            if values is not None:
                values.append(value)
            if extras is not None:
                extras.append(extra)

        return read

    def expression(self, node: etree._Element) -> str | None:
        """The FHIRPath of a node."""
        *ancestors, root = [node, *node.iterancestors()]
        type_ = path = etree.QName(root).localname
        if type_ not in self.definitions.resource_types:
            return None
        for child in reversed(ancestors):
            name = etree.QName(child).localname
            if type_ == "Resource":
                if name not in self.definitions.resource_types:
                    break
                type_ = name
                continue
            found = self.definitions.types[type_].by_key.get(name)
            if found is None:
                return f"{path}.{name}" if name.isidentifier() else path
            element, type_ = found
            path += f".{element.name}"
            if element.many:
                path += f"[{sum(1 for _ in child.itersiblings(child.tag, preceding=True))}]"
            if self.definitions.primitive(type_):
                type_ = "Element"
        return path


def _boolean(node: etree._Element, text: str) -> bool:
    if text not in ("true", "false"):
        raise _Misplaced(node, f"{text[:60]!r} is not a boolean; it is true or false", "value")
    return text == "true"


def _int(node: etree._Element, text: str) -> int:
    if not _integer.fullmatch(text):
        raise _Misplaced(node, f"{text[:60]!r} is not a whole number", "value")
    return int(text)


def _number(node: etree._Element, text: str) -> int | Decimal:
    if not _decimal.fullmatch(text):
        raise _Misplaced(node, f"{text[:60]!r} is not a decimal", "value")
    try:
        return int(text) if _integer.fullmatch(text) else Decimal(text)
    except ArithmeticError as error:
        raise _Misplaced(node, f"the exponent of {text[:60]} is too large", "value") from error


CONVERT: dict[str, Convert] = {
    "boolean": _boolean,
    "decimal": _number,
    "integer": _int,
    "positiveInt": _int,
    "unsignedInt": _int,
}


def _read_narrative(key: str) -> Read:
    def read(node: etree._Element, out: Json, depth: int) -> None:
        text = etree.tostring(node, encoding="unicode", with_tail=False)
        if not text.startswith("<div") or "xmlns:" in text:  # prefixes, most likely of the whole resource
            alone = etree.fromstring(f'<div xmlns="{XHTML}"/>', PARSER)
            alone.attrib.update(node.attrib)
            alone.text = node.text
            alone.extend(deepcopy(list(node)))
            etree.cleanup_namespaces(alone)
            text = etree.tostring(alone, encoding="unicode")
        out[key] = text

    return read


def _refuse_text(root: etree._Element) -> None:
    for node in root.iter(f"{{{FHIR}}}*"):
        for text in (node.text, *(child.tail for child in node)):
            if text and (said := text.strip(" \t\r\n")):
                raise _Misplaced(node, f"text does not belong here: {said[:60]!r}")


def _stranger(node: etree._Element, table: dict[str, _Entry]) -> str:
    name = etree.QName(node)
    if name.namespace not in (FHIR, XHTML):
        return f"{name.localname[:60]} is not in the namespace {FHIR}, but in {(name.namespace or 'none')[:100]!r}"
    known = ", ".join(entry[1] for entry in table.values())
    return f"there is no element {name.localname[:60]} here, only {known[:300]}"


def _position(text: bytes, offset: int) -> tuple[int, int]:
    return text.count(b"\n", 0, offset) + 1, offset - text.rfind(b"\n", 0, offset)


def _refusal(message: str, line: int, column: int) -> Outcome:
    message = f"line {line}, column {column}: {message}"
    return Outcome(400, "structure", message, issues=(Issue("error", "structure", message, None, line, column),))


@cache
def _readers(definitions: Definitions) -> _Readers:
    return _Readers(definitions)
