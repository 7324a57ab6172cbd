"""What both patch formats keep to: how large a patch may be, what it may not change, what counts as nothing."""

from __future__ import annotations

from typing import Any

MAX_OPERATIONS = 1_000


def identity(resource: Any) -> tuple[Any, Any]:
    """Type and id: no patch changes them."""
    return (resource.get("resourceType"), resource.get("id")) if isinstance(resource, dict) else (None, None)


def blank(value: Any) -> bool:
    """FHIR has no empty objects or arrays, so what a patch empties is taken away."""
    if isinstance(value, list):
        return all(item is None for item in value)
    return isinstance(value, dict) and not value
