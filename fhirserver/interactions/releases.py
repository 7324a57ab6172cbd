"""Releases of large code systems in the database, for who runs the server."""

from __future__ import annotations

from pathlib import Path

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from terminology.releases import load, releases
from terminology.releases.load import Receipt, Report
from terminology.releases.releases import Listed


async def load_release(ctx: Context, kind: str, path: Path, version: str | None, report: Report) -> Receipt:
    """Beside a running server too: what its URL means changes when all of it is there."""
    authorize(ctx.caller, "load", None)

    def step(what: str, done: int, total: int) -> None:
        if ctx.store.space is not None:
            ctx.store.space.claim()
        report(what, done, total)

    return await load.load(ctx.store.database, kind, path, version, step)


async def listed_releases(ctx: Context) -> list[Listed]:
    authorize(ctx.caller, "load", None)
    return await releases.listed(ctx.store.database)


async def forget_release(ctx: Context, url: str, version: str) -> bool:
    """Whether it was there. What its URL means is then the one that was current before."""
    authorize(ctx.caller, "load", None)
    return await releases.forget(ctx.store.database, {"url": url, "version": version}) > 0
