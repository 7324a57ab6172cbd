"""A release of a large code system into the database, by who runs the server."""

from __future__ import annotations

from pathlib import Path

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from terminology.releases import load
from terminology.releases.load import Receipt, Report


async def load_release(ctx: Context, kind: str, path: Path, version: str | None, report: Report) -> Receipt:
    """Beside a running server too: what its URL means changes when all of it is there."""
    authorize(ctx.caller, "load", None)
    return await load.load(ctx.store.database, kind, path, version, report)
