"""Where in the text of a request the things are that issues speak of, by line and column from 1.

Asked only of what is refused or reported. What is missing is where it should be: in the nearest element that is there.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from fhirserver.fhir.definitions import Definitions, TypeDefinition
from fhirserver.fhir.outcome import Issue
from fhirserver.fhir.xml.places import Path, Place, in_xml

_step = re.compile(r"(\w+)(?:\[(\d+)\])?")
_token = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]",:]+', re.DOTALL)

OPENING, CLOSING = (b"{", b"["), (b"}", b"]")
Json = dict[str, Any]
Token = re.Match[bytes]
Offsets = dict[Path, int]


class Sent(NamedTuple):
    """A body as it was written, and what was read of it."""

    content: bytes
    format: str
    document: Any


def placed(sent: Sent | None, issues: Sequence[Issue], definitions: Definitions, at: Path = ()) -> list[Issue]:
    """The issues with their places; `at` is the path of the resource in the body that they are about."""
    paths: dict[int, Path] = {}
    if sent is not None:
        resource = _at(sent.document, at)
        for index, issue in enumerate(issues):
            if issue.line is None and (path := path_of(issue.expression, resource, definitions)) is not None:
                paths[index] = (*at, *path)
    if sent is None or not paths:
        return list(issues)
    wanted = frozenset(paths.values())
    found = in_xml(sent.content, sent.document, wanted) if sent.format == "xml" else in_json(sent.content, wanted)
    places = {index: found[path] for index, path in paths.items() if path in found}
    return [
        issue._replace(line=places[index][0], column=places[index][1]) if index in places else issue
        for index, issue in enumerate(issues)
    ]


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def path_of(expression: str | None, resource: Any, definitions: Definitions) -> Path | None:
    """The JSON properties and indices that lead where an expression leads, as far as there is something."""
    type_, _, rest = (expression or "").partition(".")
    if not type_ or not isinstance(resource, dict) or resource.get("resourceType") != type_:
        return None
    way = _Way(resource)
    for name, index in _step.findall(rest):
        found = way.property(name, definitions.types.get(type_))
        if found is None:
            break
        key, type_ = found
        way.enter(key)
        if index:
            way.enter(int(index))
        if isinstance(way.node, dict) and isinstance(way.node.get("resourceType"), str):
            type_ = way.node["resourceType"]
        elif definitions.primitive(type_):
            type_ = "Element"
    return tuple(way.path)


class _Way:
    """From a resource to a value in it; `above` is what each step started from."""

    def __init__(self, resource: Json) -> None:
        self.node: Any = resource
        self.path: list[str | int] = []
        self.above: list[Any] = []

    def enter(self, step: str | int) -> None:
        inside = isinstance(self.node, list) and isinstance(step, int) and step < len(self.node)
        if inside or isinstance(step, str):
            self.above.append(self.node)
            self.path.append(step)
            self.node = self.node[step]

    def property(self, name: str, definition: TypeDefinition | None) -> tuple[str, str] | None:
        """The JSON property of an element, and the type of its value."""
        if not isinstance(self.node, dict) and not self._beside():
            return None
        element = definition.by_name.get(name) if definition else None
        keys = {element.key(type_): type_ for type_ in element.types} if element else {name: ""}
        for key, type_ in keys.items():
            if key in self.node:
                return key, type_
            if f"_{key}" in self.node:
                return f"_{key}", "Element"
        return None

    def _beside(self) -> bool:
        """From a primitive to its id and extensions, which stand in `_name`."""
        at = next((n for n in reversed(range(len(self.path))) if isinstance(self.path[n], str)), None)
        if at is None:
            return False
        steps = [f"_{self.path[at]}", *self.path[at + 1 :]]
        node = self.above[at]
        for step in steps:
            known = step in node if isinstance(node, dict) else isinstance(node, list) and int(step) < len(node)
            if not known:
                return False
            node = node[step]
        self.node, self.path[at:] = node, steps
        return isinstance(node, dict)


def in_json(content: bytes, wanted: Collection[Path]) -> dict[Path, Place]:
    """Properties begin with their names, members of arrays with themselves."""
    content = content.removeprefix(BOM_UTF8)
    offsets: dict[Path, int] = {(): len(content) - len(content.lstrip())}
    ahead = {path[:length] for path in wanted for length in range(len(path) + 1)}
    tokens = _token.finditer(content)
    _value(next(tokens), tokens, (), ahead, offsets)
    return {path: _place(content, offsets[path]) for path in wanted if path in offsets}


def _value(first: Token, tokens: Iterator[Token], path: Path, ahead: Collection[Path], offsets: Offsets) -> None:
    """Past one value, whose first token is read; what nobody asks about is passed over."""
    if first[0] == b"{":
        while (name := next(tokens))[0] != b"}":
            key = name[0][1:-1].decode() if b"\\" not in name[0] else msgspec.json.decode(name[0], type=str)
            _part((*path, key), name.start(), next(tokens), tokens, ahead, offsets)
    elif first[0] == b"[":
        index = 0
        while (token := next(tokens))[0] != b"]":
            _part((*path, index), token.start(), token, tokens, ahead, offsets)
            index += 1


def _part(
    path: Path, start: int, first: Token, tokens: Iterator[Token], ahead: Collection[Path], offsets: Offsets
) -> None:
    if path in ahead:
        offsets[path] = start
        _value(first, tokens, path, ahead, offsets)
        return
    depth, token = 0, first[0]
    while depth := depth + (token in OPENING) - (token in CLOSING):
        token = next(tokens)[0]


def _place(content: bytes, offset: int) -> Place:
    line = content.rfind(b"\n", 0, offset) + 1
    return content.count(b"\n", 0, offset) + 1, len(content[line:offset].decode(errors="replace")) + 1
