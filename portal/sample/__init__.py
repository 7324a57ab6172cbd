"""A SMART app of two pages, served by the sandbox beside the record: how small one can be, and whether launches work.

It knows nothing of this server but its FHIR base; a copy of it elsewhere, registered there, does the same.
https://hl7.org/fhir/smart-app-launch/app-launch.html
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

PREFIX = "/sample"
FILES = {
    "index.html": "text/html; charset=utf-8",
    "launch.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@cache
def _content(name: str) -> bytes:
    return (resources.files(__name__) / name).read_bytes()


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /sample/…"""
    name = scope["path"].removeprefix(PREFIX).lstrip("/") or "index.html"
    answer: Response
    if scope["method"] not in ("GET", "HEAD") or name not in FILES:
        answer = PlainTextResponse("Nothing is here. The sample app is at /sample/\n", 404)
    elif scope["path"] == PREFIX:  # what it loads is beside it, below the slash
        answer = Response(status_code=308, headers={"Location": f"{PREFIX}/"})
    else:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        answer = Response(_content(name), media_type=FILES[name], headers=headers)
    await answer(scope, receive, send)
