"""What a browser sees: Jinja2 templates, one style sheet, and no script inside a page.

https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from smart_auth.refusal import Refused
from smart_auth.server import Auth

_STRICT = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; frame-ancestors 'none'"
)
REFERRER = "same-origin"  # under no-referrer a browser sends forms with `Origin: null`, as if they came from elsewhere
FILES = {"style.css": "text/css; charset=utf-8", "passkeys.js": "text/javascript; charset=utf-8"}


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("smart_auth", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(auth: Auth, template: str, status: int = 200, /, *, leads_away: bool = False, **values: Any) -> HTMLResponse:
    """A page. Browsers hold `form-action` against redirects too, so it is left out where a form leads to an app."""
    html = _templates().get_template(f"{template}.html").render(base=auth.issuer, **values)
    policy = _STRICT if leads_away else f"{_STRICT}; form-action 'self'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": REFERRER}
    return HTMLResponse(html, status, headers)


def about(wrong: str | None, name: str, hint: str = "", here: bool = True) -> Markup:
    """The attributes of a field that say what describes it: its hint, and where it is the one that is `wrong`, why."""
    is_wrong = here and name == wrong
    described = " ".join(each for each in (hint, "problem" if is_wrong else "") if each)
    said = Markup(' aria-describedby="{}"').format(described) if described else Markup("")
    return said + Markup(' aria-invalid="true"') if is_wrong else said


def problem(auth: Auth, request: Request, refused: Refused) -> Response:
    """A refusal as a page, for who sits before a browser."""
    if "text/html" not in request.headers.get("accept", ""):
        return refused.response()
    answer = render(auth, "problem", refused.status, session=None, problem=refused.description)
    answer.headers.update(refused.headers)
    return answer


async def file(auth: Auth, request: Request) -> Response:
    """A file that pages load."""
    name = request.url.path.rpartition("/")[2]
    if name not in FILES:
        raise Refused("not_found", "nothing is here", 404)
    headers = {"Content-Type": FILES[name], "Cache-Control": "public, max-age=3600"}
    return Response(_content(name), headers=headers)


@cache
def _content(name: str) -> bytes:
    return resources.files("smart_auth.pages").joinpath(name).read_bytes()
