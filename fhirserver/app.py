"""The server as an ASGI application: `create_app(settings)`. Where each path goes."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

import pymongo
from pymongo.errors import PyMongoError
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.assembly import Post, contexts, left
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.choosing import Offered
from fhirserver.rest.bodies import Bodies
from fhirserver.rest.dispatch import serve
from fhirserver.rest.queue import Queue
from fhirserver.rest.responses import content_type, send
from fhirserver.settings import Settings, is_loopback
from portal import sample
from smart_auth.app import create as authorizing
from smart_auth.server import Auth

log = logging.getLogger(__name__)
FHIR = "/fhir"
AUTH = "/auth"
DISCOVERY = "/.well-known/smart-configuration"
_host = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]+)?")
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
NO_TENANT = json.encode(Outcome(404, "not-found", "the FHIR API of a tenant is at [base]/[tenant]").resource())


def create_app(settings: Settings, post: Post = left) -> ASGIApp:
    """FHIR under /fhir (or /fhir/[tenant]), /healthz (the process lives), /readyz (the database answers)."""
    return Application(settings, post)


def _offering(ctx: Context) -> Auth:
    """The authorization server, told whose record an app may be let into: what it cannot know itself."""
    return replace(ctx.auth, choices=Offered(ctx))


def _say_where_the_secret_is(settings: Settings) -> None:
    if settings.secret is None and not settings.open and not settings.demo:
        log.warning(
            "HEALTHMATE_SECRET is not set, so the secret lies in the database: whoever reads that opens the keys of"
            " authenticators, and whoever writes there forges the seals of the audit (docs/security.md)"
        )


async def _say_what_is_dated(ctx: Context) -> None:
    if dated := ctx.rules.dated(await ctx.store.types()):
        said = "%s: another release indexed these, and did it otherwise; `healthmate reindex` does it again"
        log.warning(said, ", ".join(dated))


@lru_cache(maxsize=64)
def _host_name(header: bytes) -> str:
    """The name in a Host header without its port; nothing for what is no Host."""
    match = _host.fullmatch(header.decode("latin-1"))
    return match[1] if match else ""


class Application:
    def __init__(self, settings: Settings, post: Post = left) -> None:
        self.settings = settings
        self.post = post
        self.contexts: dict[str, Context] = {}
        self.authorizing: dict[str, ASGIApp] = {}
        at_work, wide = settings.max_at_work, settings.max_wide_at_work
        self.queue = Queue(
            at_work,
            wide,
            settings.max_waiting,
            silence=settings.request_timeout / 2,
            patience=settings.max_waiting_seconds,
        )
        self.bodies = Bodies(settings.max_bodies_mb * 1_000_000, settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send_: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send_)
            return
        if scope["type"] != "http" or not self.contexts:
            raise RuntimeError(f"cannot serve {scope['type']} before start-up")
        path: str = scope["path"]
        if self.settings.open and not self._addressed_here(scope):
            await send(send_, 421, b"this server is open, so it answers under its own name only\n", [PLAIN])
        elif path.startswith(FHIR) and path.endswith(DISCOVERY):
            await self._discovery(scope, receive, send_)
        elif path.startswith(FHIR) and (len(path) == len(FHIR) or path[len(FHIR)] == "/"):
            await self._fhir(scope, receive, send_)
        elif path.startswith(AUTH) and (len(path) == len(AUTH) or path[len(AUTH)] == "/"):
            await self._auth(scope, receive, send_)
        elif path.startswith(sample.PREFIX) and self.settings.demo and not self.settings.tenants:
            await sample.serve(scope, receive, send_)
        elif path == "/healthz":
            await send(send_, 200, b"ok\n", [PLAIN])
        elif path == "/readyz":
            await self._ready(send_)
        else:
            message = f"Nothing is here. The FHIR API is at {self.settings.base_url}/metadata\n"
            await send(send_, 404, message.encode(), [PLAIN])

    async def _fhir(self, scope: Scope, receive: Receive, send_: Send) -> None:
        """The record that the URL names. Without tenants there is one; with them, the first segment says whose."""
        prefix = FHIR.encode()
        if self.settings.tenants:
            prefix += b"/" + scope["raw_path"][len(FHIR) + 1 :].partition(b"/")[0]
        tenant = prefix[len(FHIR) + 1 :].decode("latin-1")
        ctx = self.contexts.get(tenant)
        if ctx is None:
            await send(send_, 404, NO_TENANT, [content_type("json")], head=scope["method"] == "HEAD")
            return
        if ctx.rules is not ctx.live.rules:
            ctx = self.contexts[tenant] = ctx.fresh()
        await serve(ctx, self.queue, self.bodies, prefix, scope, receive, send_)

    async def _auth(self, scope: Scope, receive: Receive, send_: Send) -> None:
        """The authorization server of the record; with tenants, the first segment says whose."""
        tenant = scope["path"][len(AUTH) + 1 :].partition("/")[0] if self.settings.tenants else ""
        app = self.authorizing.get(tenant)
        if app is None:
            await send(send_, 404, b"Nothing is here: a tenant logs in below /auth/[tenant]\n", [PLAIN])
            return
        root = scope.get("root_path", "") + AUTH + (f"/{tenant}" if tenant else "")
        await app({**scope, "root_path": root}, receive, send_)

    async def _discovery(self, scope: Scope, receive: Receive, send_: Send) -> None:
        """SMART's configuration stands below the FHIR base; who is asked is the authorization server."""
        below = scope["path"][len(FHIR) :].removesuffix(DISCOVERY)
        await self._auth({**scope, "path": AUTH + below + DISCOVERY}, receive, send_)

    def _addressed_here(self, scope: Scope) -> bool:
        """Whether the Host is this machine: a web page that rebinds its own name to 127.0.0.1 must not read records.

        https://www.rfc-editor.org/rfc/rfc9110#name-421-misdirected-request
        """
        name = _host_name(dict(scope["headers"]).get(b"host", b""))
        return is_loopback(name) or name == urlsplit(self.settings.base_url).hostname

    async def _ready(self, send_: Send) -> None:
        ctx = next(iter(self.contexts.values()))
        try:
            with pymongo.timeout(2):
                await ctx.store.database.command("ping")
        except PyMongoError as error:
            log.warning("not ready: %s", error)
            await send(send_, 503, b"the database does not answer\n", [PLAIN])
        else:
            await send(send_, 200, b"ready\n", [PLAIN])

    async def _lifespan(self, receive: Receive, send_: Send) -> None:
        await receive()
        try:
            async with contexts(self.settings, self.post) as self.contexts:
                _say_where_the_secret_is(self.settings)
                self.authorizing = {tenant: authorizing(_offering(ctx)) for tenant, ctx in self.contexts.items()}
                for ctx in self.contexts.values():
                    await _say_what_is_dated(ctx)
                await send_({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if not self.contexts:
                await send_({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send_({"type": "lifespan.shutdown.complete"})
