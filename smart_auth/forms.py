"""What a request carries, as OAuth wants it: each parameter and header once, and nothing that no client needs.

https://www.rfc-editor.org/rfc/rfc6749#section-3.2
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from smart_auth.refusal import Refused, invalid_request

MOST_BYTES = 100_000
MOST_FIELDS = 200
SECONDS = 30.0
FORM = "application/x-www-form-urlencoded"


class Twice(Refused):
    """Something is there more than once; `once` is what is not."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        counted = Counter(name for name, _ in pairs)
        said = counted.most_common(1)[0][0][:100].encode(errors="replace").decode()
        super().__init__("invalid_request", f"{said} is there more than once")
        self.once = {name: value for name, value in pairs if counted[name] == 1}


async def form(request: Request) -> dict[str, str]:
    """The form that a request carries."""
    if media(request) != FORM:
        raise Refused("invalid_request", f"send a form, Content-Type: {FORM}", 415)
    return fields(await body(request))


def query(request: Request) -> dict[str, str]:
    return fields(request.scope["query_string"])


def fields(encoded: bytes) -> dict[str, str]:
    """Parameters that are sent empty count as left out: https://www.rfc-editor.org/rfc/rfc6749#section-3.1"""
    try:
        pairs = parse_qsl(encoded.decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError as error:
        raise invalid_request("the parameters are not percent-encoded UTF-8") from error
    except ValueError as error:
        raise invalid_request(f"there are more than {MOST_FIELDS} parameters") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Twice(pairs)
    return found


async def document(request: Request) -> Mapping[str, Any]:
    """The JSON object that a request carries."""
    if media(request) != "application/json":
        raise Refused("invalid_request", "send JSON, Content-Type: application/json", 415)
    try:
        found = json.loads((await body(request)).decode(), object_pairs_hook=_object)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half of a pair, which JSON can hold
        raise invalid_request("the body has characters that are no text") from error
    except (ValueError, RecursionError) as error:
        raise invalid_request("the body is not JSON") from error
    if not isinstance(found, dict):
        raise invalid_request("the body is not a JSON object")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two members of one name, others may read the other one: https://www.rfc-editor.org/rfc/rfc8259#section-4"""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Twice(pairs)
    return found


async def body(request: Request) -> bytes:
    chunks, size = [], 0
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_BYTES:
                    raise Refused("invalid_request", f"the body is longer than {MOST_BYTES:,} bytes", 413)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Refused("invalid_request", f"the body did not arrive within {SECONDS:g} s", 408) from error
    except ClientDisconnect as error:
        raise invalid_request("the connection closed before the body was complete") from error
    return b"".join(chunks)


def authorization(request: Request) -> str:
    """The header, empty where there is none: of two, others may read the other one."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        raise invalid_request("there is more than one Authorization header")
    return given[0] if given else ""


def media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
