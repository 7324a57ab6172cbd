"""What a request gives an operation: from the URL or, by POST, from a Parameters resource.

https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.changes import accepted
from fhirserver.interactions.exchange import Request

Values = list[tuple[str, Any]]


def given(ctx: Context, request: Request) -> Values:
    """Names and values in their order: simple values as a URL would carry them, complex ones as they are."""
    values: Values = [*request.pairs]
    if request.body is None:
        return values
    for index, parameter in enumerate(accepted(ctx, request.body, "Parameters").get("parameter", ())):
        found = [value for key, value in parameter.items() if key.startswith("value")]
        if len(found) != 1 or not isinstance(parameter.get("name"), str):
            raise invalid("a name and a value are expected", f"Parameters.parameter[{index}]")
        values.append((parameter["name"], found[0] if isinstance(found[0], dict) else _text(found[0])))
    return values


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def taken(operation: str, values: Iterable[tuple[str, Any]], known: Collection[str]) -> dict[str, list[Any]]:
    """The values by name. A parameter that the operation does not have is refused, not ignored."""
    found: dict[str, list[Any]] = {}
    for name, value in values:
        if name not in known:
            shown = ", ".join(each for each in known if each != "_cursor")
            raise invalid(
                f"{operation} has no parameter {name[:80]!r} here; it has {shown}", name[:80], code="not-supported"
            )
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


def whole(values: dict[str, list[Any]], name: str, default: int, most: int) -> int:
    """A number from 1 to `most`."""
    text = once(values, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise invalid(f"{name}={text[:80]} is not a whole number from 1 to {most:,}", name)
    return int(text)
