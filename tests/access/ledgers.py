"""The ledger of a server from inside, beside or after the server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from brief import briefly

from fhirserver.assembly import contexts
from fhirserver.context import Context

if TYPE_CHECKING:
    from conftest import Served


def inside(served: Served, work: Callable[[Context], Awaitable[Any]], **settings: Any) -> Any:
    """What `work` makes of the context of a server like this one, but for these settings."""

    async def run() -> Any:
        async with contexts(served.settings.model_copy(update=settings)) as found:
            return await work(found[""])

    return briefly(run())


def line(number: int, patient: str | None = None) -> bytes:
    """That somebody read a patient, at some second of a minute."""
    said = ["read", "0", [f"Patient/{number}"], None, patient, False]
    at = f"2026-01-01T00:00:{number % 60:02}Z"
    return json.dumps([f"line-{number}", at, "http://x", said, ["app", None, None, None], "x"]).encode()
