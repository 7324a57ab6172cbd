"""Clients as administrators see them: which are registered, the next one, and an end to one."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from smart_auth import clients, events, login, registration, visits
from smart_auth.administration import administrator
from smart_auth.clients import BACKEND
from smart_auth.refusal import NO_STORE, Refused
from smart_auth.server import Auth
from smart_auth.visits import Visit

KINDS = {  # of a form, and how such a client proves itself
    "public": "none",
    "confidential": "client_secret_basic",
    "asymmetric": "private_key_jwt",
    "backend": "private_key_jwt",
}
TEXTS = ("client_name", "scope", "jwks_uri", "launch_uri")


async def _page(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    found = await _listed(visit.auth)
    if visit.json:
        return JSONResponse({"clients": found}, headers=NO_STORE)
    typed = visits.typed(visit.fields if refused else {})
    return visit.page("clients", refused, clients=found, made=None, typed=typed)


async def _listed(auth: Auth) -> list[dict[str, Any]]:
    """`dynamic`: it registered itself, and nobody here has looked at it."""
    return [clients.shown(each) | {"dynamic": each.dynamic} for each in await clients.listed(auth)]


async def _add(visit: Visit) -> Response:
    """JSON has the metadata of RFC 7591, with a client_id if it should be a certain one."""
    admin = administrator(visit)
    metadata = {**visit.fields} if visit.json else _of_form(visit)
    metadata.pop("password", None)
    id_ = visit.text("client_id", 100) or None
    client, secret = registration.described(visit.auth, metadata, id_=id_, dynamic=False)
    await login.again(visit)
    await clients.add(visit.auth, client)
    await events.record(visit.auth, "client-added", admin.id, client.id, name=client.name)
    made = clients.shown(client) | secret
    if visit.json:
        return JSONResponse(made, 201, NO_STORE)
    return visit.page("clients", clients=await _listed(visit.auth), made=made, typed=visits.typed({}))


def _of_form(visit: Visit) -> dict[str, Any]:
    kind = visit.text("kind", 20)
    metadata: dict[str, Any] = {name: value for name in TEXTS if (value := visit.text(name, 4_000))}
    metadata["token_endpoint_auth_method"] = KINDS.get(kind, kind)
    metadata["redirect_uris"] = visit.text("redirect_uris", 40_000).split()
    metadata["purposes"] = visit.text("purposes", 400).replace(",", " ").split()
    return metadata | ({"grant_types": [BACKEND]} if kind == "backend" else {})


async def _remove(visit: Visit) -> Response:
    admin, id_ = administrator(visit), visit.text("client_id", 100, needed=True)
    if not await clients.remove(visit.auth, id_):
        raise Refused("not_found", "there is no such client", 404)
    await events.record(visit.auth, "client-removed", admin.id, id_)
    return visit.done({"removed": True}, "/clients")


ROUTES: dict[str, dict[str, visits.Handler]] = {
    "/clients": {"GET": visits.shown(_page), "POST": visits.submitted(_add, _page)},
    "/clients/remove": {"GET": visits.leads("/clients"), "POST": visits.submitted(_remove, _page)},
}
