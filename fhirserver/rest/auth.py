"""Who asks: the access token of a request. https://www.rfc-editor.org/rfc/rfc6750"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from starlette.types import Scope as Connection

from fhirserver.context import Caller, Context, Trail
from fhirserver.fhir.outcome import Outcome
from fhirserver.rest.bodies import Headers
from smart_auth.addresses import ELSEWHERE, may_administer
from smart_auth.known import Grant
from smart_auth.scopes import Scope, parse
from smart_auth.tokens import find

REALM = 'Bearer realm="healthmate"'


async def known(ctx: Context, headers: Headers, connection: Connection) -> Context:
    """For whom the token stands for. Without one it is for who may ask at all: anyone when open, else nobody."""
    header = headers.get(b"authorization")
    if header is None:
        return ctx
    if [name for name, _ in connection["headers"]].count(b"authorization") > 1:
        raise Outcome(400, "invalid", "there is more than one Authorization header; which of them counts is open")
    scheme, _, secret = header.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise refused("only access tokens are taken here: Authorization: Bearer …", "invalid_request")
    grant = await find(ctx.auth, secret.strip())
    if grant is None:
        raise refused("the access token is unknown, expired or revoked", "invalid_token")
    if not may_administer(ctx.settings, grant.roles, connection):
        raise Outcome(403, "forbidden", ELSEWHERE)
    return replace(
        ctx, caller=_caller(grant, ctx.settings.practitioner_access), trail=None if ctx.ledger is None else Trail()
    )


def _caller(grant: Grant, practice: str) -> Caller:
    return Caller(
        name=grant.user or grant.client,
        scopes=_scopes(grant.scope),
        patient=grant.patient,
        user=grant.user,
        fhir_user=grant.fhir_user,
        roles=grant.roles,
        records=grant.records,
        practice=practice,
        own=grant.own,
        purposes=grant.purposes,
        client=grant.client,
        token=grant.token,
    )


@lru_cache(maxsize=1_000)
def _scopes(text: str) -> tuple[Scope, ...]:
    return tuple(scope for each in text.split() if (scope := parse(each)) is not None)


def refused(said: str, error: str) -> Outcome:
    challenge = f'{REALM}, error="{error}", error_description="{said}"'
    return Outcome(401, "login", said, headers=(("www-authenticate", challenge),))
