"""What a request gives an operation: from the URL or, by POST, from a Parameters resource.

https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Issue, invalid, operation_outcome
from fhirserver.interactions.changes import accepted
from fhirserver.interactions.exchange import Request, located

Values = list[tuple[str, Any]]


def given(ctx: Context, request: Request) -> Values:
    """Names and values in their order: simple values as a URL would carry them, complex ones and resources as they are.

    Of a parameter with parts, the value is the list of their names and values.
    """
    values: Values = [*request.pairs]
    if request.body is not None:
        values += _read(accepted(ctx, request.body, "Parameters").get("parameter", ()), "Parameters.parameter")
    return values


def _read(parameters: Iterable[dict[str, Any]], where: str) -> Values:
    values: Values = []
    for index, parameter in enumerate(parameters):
        found = [value for key, value in parameter.items() if key.startswith("value") or key == "resource"]
        if len(found) + ("part" in parameter) != 1 or not isinstance(parameter.get("name"), str):
            raise invalid("a name and a value are expected", f"{where}[{index}]")
        if not found:
            value: Any = _read(parameter["part"], f"{where}[{index}].part")
        else:
            value = found[0] if isinstance(found[0], dict) else _text(found[0])
        values.append((parameter["name"], value))
    return values


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Taken(NamedTuple):
    """The values of an operation by name, and what was left out of them and why."""

    values: dict[str, list[Any]]
    ignored: tuple[Issue, ...]


def leniently(ctx: Context, request: Request, operation: str, known: Collection[str]) -> Taken:
    """As a search takes its parameters: those that are not known or have no value are left out, which is told.

    Under `Prefer: handling=strict` they are refused. https://hl7.org/fhir/R4/search.html#errors
    """
    found: dict[str, list[Any]] = {}
    left: list[tuple[str, str]] = []
    for name, value in given(ctx, request):
        if name not in known:
            left.append((name, _unknown(operation, name, known)))
        elif isinstance(value, str) and (not value or value.isspace()):
            left.append((name, f"{name}: has no value"))
        else:
            found.setdefault(name, []).append(value)
    return Taken(found, (*request.ignored, *left_out(request, left)))


def left_out(request: Request, left: Sequence[tuple[str, str]]) -> tuple[Issue, ...]:
    """A warning for each (name, sentence). Who asked to be refused is."""
    if left and request.strict:
        raise invalid(left[0][1], left[0][0], code="not-supported")
    issues = [Issue("warning", "not-supported", f"{sentence}; it was ignored", name) for name, sentence in left]
    return (*located(request, issues),)


def outcome(issues: Sequence[Issue]) -> list[dict[str, Any]]:
    """What an answer of Parameters says about what was left out, if anything was."""
    return [{"name": "outcome", "resource": operation_outcome(list(issues))}] if issues else []


def _unknown(operation: str, name: str, known: Collection[str]) -> str:
    shown = ", ".join(each for each in known if each != "_cursor")
    return f"{operation} has no parameter {name[:80]!r} here; it has {shown or 'none'}"


def taken(operation: str, values: Iterable[tuple[str, Any]], known: Collection[str]) -> dict[str, list[Any]]:
    """The values by name. A parameter that the operation does not have is refused, not ignored."""
    found: dict[str, list[Any]] = {}
    for name, value in values:
        if name not in known:
            raise invalid(_unknown(operation, name, known), name, code="not-supported")
        found.setdefault(name, []).append(value)
    return found


def once(values: dict[str, list[Any]], name: str) -> str | None:
    """The one simple value of a parameter that may be left out."""
    match values.get(name, []):
        case []:
            return None
        case [str() as text]:
            return text
    raise invalid(f"{name}: one simple value is expected", name)


def truth(values: dict[str, list[Any]], name: str) -> bool | None:
    text = once(values, name)
    if text not in (None, "true", "false"):
        raise invalid(f"{name}={(text or '')[:80]} is neither true nor false", name)
    return None if text is None else text == "true"


def complex_(values: dict[str, list[Any]], name: str, what: str) -> dict[str, Any] | None:
    """The one complex value, or resource, of a parameter that may be left out; it cannot come in a URL."""
    match values.get(name, []):
        case []:
            return None
        case [dict() as found] if found.get("resourceType", what) == what:
            return found
    raise invalid(f"{name}: one {what} is expected, in Parameters that are posted", name)


def parameters(*values: tuple[str, str, Any]) -> bytes:
    """Parameters of names, types (as in value[x]; `part` with a list of the same) and values; None is left out."""
    return json.encode({"resourceType": "Parameters", "parameter": _written(values)})


def _written(values: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "part": _written(value)} if type_ == "part" else {"name": name, f"value{type_}": value}
        for name, type_, value in values
        if value is not None
    ]


def whole(values: dict[str, list[Any]], name: str, default: int, most: int) -> int:
    """A number from 1 to `most`."""
    text = once(values, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise invalid(f"{name}={text[:80]} is not a whole number from 1 to {most:,}", name)
    return int(text)
