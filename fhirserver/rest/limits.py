"""How many requests a minute: 429, and how many are left. https://www.rfc-editor.org/rfc/rfc6585#section-4"""

from __future__ import annotations

from starlette.types import Scope

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Request
from fhirserver.rest.responses import Header
from smart_auth.addresses import neighbourhood, origin
from smart_auth.limits import Exceeded, taken


def of_address(ctx: Context, scope: Scope, times: int = 1) -> list[Header]:
    most = ctx.settings.requests_per_address
    return [] if most is None else _counted(ctx, "address", neighbourhood(origin(ctx.settings, scope)), most, times)


def of_caller(ctx: Context, times: int = 1) -> list[Header]:
    """Of the app, and of the person whom it acts for."""
    out: list[Header] = []
    client, user = ctx.settings.requests_per_client, ctx.settings.requests_per_user
    if client is not None and ctx.caller.client is not None:
        out += _counted(ctx, "client", ctx.caller.client, client, times)
    if user is not None and ctx.caller.user is not None:
        out += _counted(ctx, "user", ctx.caller.user, user, times)
    return out


def of_entries(ctx: Context, scope: Scope, asked: Request) -> list[Header] | None:
    """Each entry of a batch or transaction is a request, and the Bundle was counted as one. None where it is none."""
    more = _entries(asked) - 1
    return [*of_address(ctx, scope, more), *of_caller(ctx, more)] if more > 0 else None


def _entries(asked: Request) -> int:
    body = asked.body
    if asked.path or not isinstance(body, dict) or body.get("type") not in ("batch", "transaction"):
        return 0
    entries = body.get("entry")
    return len(entries) if isinstance(entries, list) else 0


def _counted(ctx: Context, kind: str, of: str, most: int, times: int) -> list[Header]:
    try:
        told = taken(ctx.auth, kind, of, most, times)
    except Exceeded as error:
        entries = f"; each entry of this Bundle counts, {times + 1} in all" if times > 1 else ""
        raise Outcome(429, "throttled", f"{error}{entries}", headers=tuple(error.headers.items())) from None
    return [(name.encode(), value.encode()) for name, value in told.items()]
