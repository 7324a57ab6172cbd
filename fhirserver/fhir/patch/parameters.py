"""What one operation of a FHIRPath Patch says: the parts of its parameter, and a value as an element can hold it.

https://hl7.org/fhir/R4/fhirpatch.html#concept
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from fhirserver.fhir.definitions import Definitions, Element
from fhirserver.fhir.outcome import Outcome

PARTS = {"type", "path", "name", "value", "index", "source", "destination"}


class Value(NamedTuple):
    """A value with its type; `sibling` holds the id and extensions of a primitive."""

    type: str
    json: Any
    sibling: dict[str, Any] | None = None


class Parts:
    """The parts of one operation, by name, and how to refuse them."""

    def __init__(self, i: int, parameter: Any, definitions: Definitions) -> None:
        self.place = f"Parameters.parameter[{i}]"
        self.definitions = definitions
        self.parts: dict[str, dict[str, Any]] = {}
        self.path = ""
        if not isinstance(parameter, dict) or parameter.get("name") != "operation":
            raise self.malformed("a parameter of a FHIRPath Patch is named 'operation'")
        parts = parameter.get("part")
        for part in parts if isinstance(parts, list) else []:
            name = part.get("name") if isinstance(part, dict) else None
            if not isinstance(name, str) or name not in PARTS or name in self.parts:
                raise self.malformed(f"the part {name!r} is not known or stands twice")
            self.parts[name] = part
        self.type = self.text("type")
        self.path = self.text("path")

    def malformed(self, message: str) -> Outcome:
        return Outcome(400, "invalid", self._sentence(message), self.place)

    def refused(self, message: str) -> Outcome:
        return Outcome(422, "processing", self._sentence(message), self.place)

    def _sentence(self, message: str) -> str:
        return f"{self.place} ({self.path}): {message}" if self.path else f"{self.place}: {message}"

    def text(self, name: str) -> str:
        part = self.parts.get(name, {})
        value = next((part[key] for key in ("valueString", "valueCode") if key in part), None)
        if not isinstance(value, str) or not value:
            raise self.malformed(f"the part '{name}' with a valueString is missing")
        return value

    def number(self, name: str) -> int:
        part = self.parts.get(name, {})
        keys = ("valueInteger", "valueUnsignedInt", "valuePositiveInt")
        value = next((part[key] for key in keys if key in part), None)
        if type(value) is not int or value < 0:
            raise self.malformed(f"the part '{name}' with a valueInteger from 0 on is missing")
        return value

    def value(self, element: Element) -> Value:
        part = self.parts.get("value")
        if part is None:
            raise self.malformed("the part 'value' is missing")
        return self._value(part, element)

    def child(self, type_: str, name: str) -> Element | None:
        """An element by its name: `deceased`, and also `deceased[x]` and `deceasedBoolean`."""
        definition = self.definitions.types["Element" if self.definitions.primitive(type_) else type_]
        found = definition.by_name.get(name.removesuffix("[x]"))
        return found or (definition.by_key[name][0] if name in definition.by_key else None)

    def _value(self, part: dict[str, Any], element: Element) -> Value:
        if isinstance(part.get("part"), list):
            return self._composed(part["part"], element)
        if isinstance(part.get("resource"), dict):
            return self._fitting(Value("Resource", copy.deepcopy(part["resource"])), element)
        choices = self.definitions.types["Parameters.parameter"].by_name["value"]
        for type_ in choices.types:
            key = choices.key(type_)
            if key in part or f"_{key}" in part:
                return self._fitting(Value(type_, *copy.deepcopy((part.get(key), part.get(f"_{key}")))), element)
        raise self.malformed(f"the value of {element.name} is missing")

    def _composed(self, parts: list[Any], element: Element) -> Value:
        """A backbone element is no value[x]: its children come as parts."""
        (type_, *others) = element.types
        if others or self.definitions.primitive(type_):
            raise self.refused(f"{element.name} takes no parts")
        out: dict[str, Any] = {}
        for part in parts:
            name = part.get("name") if isinstance(part, dict) else None
            child = self.child(type_, name) if isinstance(name, str) else None
            if child is None:
                raise self.refused(f"{type_} has no element {name}")
            if not put(out, child, self._value(part, child)):
                raise self.refused(f"{name} stands twice")
        return Value(type_, out)

    def _fitting(self, value: Value, element: Element) -> Value:
        """A choice needs one of its types; elsewhere a string may stand for a code: JSON writes them alike."""
        if value.type in element.types:
            return value
        (wanted, *_) = element.types
        primitive = self.definitions.primitive
        alike = primitive(wanted) and primitive(value.type) and _json_kind(wanted) == _json_kind(value.type)
        if not element.choice and (alike or self.definitions.is_a(value.type, wanted)):
            return value
        raise self.refused(f"{element.name} takes {' or '.join(element.types[:5])}, not {value.type}")


def _json_kind(type_: str) -> str:
    if type_ in ("integer", "positiveInt", "unsignedInt", "decimal"):
        return "number"
    return "boolean" if type_ == "boolean" else "text"


def put(holder: dict[str, Any], element: Element, value: Value) -> bool:
    """Sets an element, or appends to it where it repeats; False where it is there already."""
    if element.many:
        insert(holder, element, len(pair(holder, element.name)[0]), value)
        return True
    if any(f"{mark}{element.key(type_)}" in holder for type_ in element.types for mark in ("", "_")):
        return False
    key = element.key(value.type)
    if value.json is not None:
        holder[key] = value.json
    if value.sibling is not None:
        holder[f"_{key}"] = value.sibling
    return True


def insert(holder: dict[str, Any], element: Element, index: int, value: Value) -> None:
    items, siblings = pair(holder, element.name)
    items.insert(index, value.json)
    siblings.insert(index, value.sibling)
    store(holder, element.name, items, siblings)


def pair(holder: dict[str, Any], key: str) -> tuple[list[Any], list[Any]]:
    """The items of an array and their `_name` siblings, as long as each other."""
    items, siblings = ([*value] if isinstance(value := holder.get(name), list) else [] for name in (key, f"_{key}"))
    length = max(len(items), len(siblings))
    return items + [None] * (length - len(items)), siblings + [None] * (length - len(siblings))


def store(holder: dict[str, Any], key: str, items: list[Any], siblings: list[Any]) -> None:
    """Both arrays back; what holds nothing is not stored."""
    for name, values in ((key, items), (f"_{key}", siblings)):
        if all(value is None for value in values):
            holder.pop(name, None)
        else:
            holder[name] = values
