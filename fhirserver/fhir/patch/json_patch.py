"""JSON Patch: https://hl7.org/fhir/R4/http.html#patch, https://www.rfc-editor.org/rfc/rfc6902"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import jsonpatch
import jsonpointer

from fhirserver.fhir.json import MAX_DEPTH, MAX_NODES
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.patch.rules import MAX_OPERATIONS, blank, identity

_MEMBERS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}


def json_patch(resource: dict[str, Any], operations: Any) -> dict[str, Any]:
    """https://www.rfc-editor.org/rfc/rfc6902"""
    if not isinstance(operations, list):
        raise Outcome(400, "invalid", "a JSON Patch is an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise Outcome(400, "too-costly", f"a patch may have at most {MAX_OPERATIONS} operations")
    result: dict[str, Any] = copy.deepcopy(resource)
    nodes = _size(result).nodes
    for i, operation in enumerate(operations):
        _check(i, operation)
        nodes += _growth(i, operation, result, nodes)
        try:
            jsonpatch.JsonPatch([operation]).apply(result, in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise _refusal(422, i, operation, "the value is another one") from error
        except jsonpointer.JsonPointerException as error:  # whose text may hold the whole resource
            raise _refusal(422, i, operation, "the path leads to nothing in this resource") from error
        except jsonpatch.JsonPatchException as error:
            raise _refusal(422, i, operation, str(error)) from error
        if identity(result) != identity(resource):
            raise _refusal(422, i, operation, "the type and the id of a resource stay as they are")
    pruned: dict[str, Any] = _without_empty(result)
    return pruned


def _check(i: int, operation: Any) -> None:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise Outcome(400, "invalid", f"operation {i} of the patch is no object with an 'op'")
    members = _MEMBERS.get(operation["op"])
    if members is None:
        raise Outcome(400, "invalid", f"operation {i} of the patch: {operation['op']!r} is no operation of JSON Patch")
    for member in members:
        if member not in operation:
            raise _refusal(400, i, operation, f"'{member}' is missing")
        if member == "value":
            continue
        pointer = operation[member]
        if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            raise _refusal(400, i, operation, f"'{member}' is no JSON Pointer")
        try:
            jsonpointer.JsonPointer(pointer)
        except jsonpointer.JsonPointerException as error:
            raise _refusal(400, i, operation, f"'{member}' is no JSON Pointer: {error}") from error
        if pointer == "" and operation["op"] != "test":
            raise _refusal(422, i, operation, "the whole resource cannot be patched; use an update")


def _growth(i: int, operation: dict[str, Any], result: dict[str, Any], nodes: int) -> int:
    """How many values an operation adds; refused where the result would be too large or too deep."""
    name = operation["op"]
    if name in ("test", "remove"):
        return 0
    value = operation.get("value")
    if name in ("move", "copy"):
        value = jsonpointer.JsonPointer(operation["from"]).resolve(result, None)
    if isinstance(value, jsonpointer.EndOfList):
        raise _refusal(422, i, operation, "'from' points behind the end of an array")
    size = _size(value)
    if operation["path"].count("/") + size.depth > MAX_DEPTH or nodes + size.nodes > MAX_NODES:
        raise _refusal(400, i, operation, "the resource would become too large or too deep", code="too-costly")
    return 0 if name == "move" else size.nodes


def _refusal(status: int, i: int, operation: Any, message: str, *, code: str | None = None) -> Outcome:
    code = code or ("invalid" if status == 400 else "processing")
    return Outcome(status, code, f"operation {i} of the patch ({operation['op']} {operation.get('path')}): {message}")


class _Size(NamedTuple):
    nodes: int
    depth: int


def _size(value: Any) -> _Size:
    nodes, depth, level = 1, 0, [value]
    while level:
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        nodes += len(level)
        depth += 1
    return _Size(nodes, depth)


def _without_empty(value: Any) -> Any:
    """The value without the arrays and objects that hold nothing."""
    if isinstance(value, dict):
        kept = {key: _without_empty_items(item, key) for key, item in value.items()}
        return {key: item for key, item in kept.items() if not blank(item)}
    return value


def _without_empty_items(value: Any, key: str) -> Any:
    if not isinstance(value, list):
        return _without_empty(value)
    items = [_without_empty_items(item, key) for item in value]
    if key.startswith("_"):  # the items belong to those of the primitive beside, so places are kept
        return [None if blank(item) else item for item in items]
    return [item for item in items if not blank(item)]
