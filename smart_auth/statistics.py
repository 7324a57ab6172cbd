"""How many there are of what, for administrators: accounts, sessions, access that was given, and what failed lately."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from fhirserver.settings import ROLES
from smart_auth import failures, sessions, tokens, visits
from smart_auth.administration import administrator
from smart_auth.refusal import NO_STORE, Refused
from smart_auth.server import Auth, Document
from smart_auth.visits import Visit

SAID: Mapping[str, str] = {
    "users": "Accounts",
    **{role: f"of them with the role {role}" for role in ROLES},
    "unconfirmed": "of them not confirmed",
    "disabled": "of them disabled",
    "secondFactor": "of them with an authenticator",
    "passkeys": "Passkeys",
    "sessions": "People logged in, by browser",
    "clients": "Registered apps and services",
    "grants": "Access in force",
    "offline": "of it beyond a log-in",
    "logIns": "Log-ins in the last 24 hours",
    "failedLogIns": "Attempts that failed in the last 24 hours",
    "turnedAway": "Attempts that had to wait in the last 24 hours",
}


async def counted(auth: Auth) -> dict[str, int]:
    """By the names of `SAID`."""
    alive = {"expires": {"$gt": auth.now()}}
    of: dict[str, tuple[str, Document]] = {
        "users": ("users", {}),
        **{role: ("users", {"roles": role}) for role in ROLES},
        "unconfirmed": ("users", {"verified": False}),
        "disabled": ("users", {"disabled": True}),
        "secondFactor": ("users", {"totp": {"$exists": True}}),
        "passkeys": ("passkeys", {}),
        "sessions": ("sessions", {**sessions.alive(auth), "half": False}),
        "clients": ("clients", {}),
        "grants": ("grants", {**alive, "revoked": None}),
        "offline": ("grants", {**alive, "revoked": None, "scope": tokens.OFFLINE}),
        "logIns": ("events", {"kind": "log-in", "at": {"$gt": auth.now() - failures.DAY}}),
    }
    numbers = await asyncio.gather(*(auth[name].count_documents(query) for name, query in of.values()))
    return dict(zip(of, numbers, strict=True)) | await failures.lately(auth)


async def _page(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    counts = await counted(visit.auth)
    if visit.json:
        return JSONResponse({"statistics": counts}, headers=NO_STORE)
    return visit.page("statistics", refused, counts=[(SAID[name], number) for name, number in counts.items()])


ROUTES: dict[str, dict[str, visits.Handler]] = {"/statistics": {"GET": visits.shown(_page)}}
