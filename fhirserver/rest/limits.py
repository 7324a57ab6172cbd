"""How many requests a minute: 429, and how many are left. https://www.rfc-editor.org/rfc/rfc6585#section-4"""

from __future__ import annotations

from starlette.types import Scope

from fhirserver.context import Context
from fhirserver.fhir.outcome import Outcome
from fhirserver.rest.responses import Header
from smart_auth.addresses import neighbourhood, origin
from smart_auth.limits import Exceeded, taken


def of_address(ctx: Context, scope: Scope) -> list[Header]:
    most = ctx.settings.requests_per_address
    return [] if most is None else _counted(ctx, "address", neighbourhood(origin(ctx.settings, scope)), most)


def of_caller(ctx: Context) -> list[Header]:
    """Of the app, and of the person whom it acts for."""
    out: list[Header] = []
    client, user = ctx.settings.requests_per_client, ctx.settings.requests_per_user
    if client is not None and ctx.caller.client is not None:
        out += _counted(ctx, "client", ctx.caller.client, client)
    if user is not None and ctx.caller.user is not None:
        out += _counted(ctx, "user", ctx.caller.user, user)
    return out


def _counted(ctx: Context, kind: str, of: str, most: int) -> list[Header]:
    try:
        told = taken(ctx.auth, kind, of, most)
    except Exceeded as error:
        raise Outcome(429, "throttled", str(error), headers=tuple(error.headers.items())) from None
    return [(name.encode(), value.encode()) for name, value in told.items()]
