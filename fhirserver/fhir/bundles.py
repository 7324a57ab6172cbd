"""Bundles put together from bytes: the resources in them are never decoded on the way out.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from fhirserver.fhir import json

STATUSES = {"POST": "201 Created", "PUT": "200 OK", "DELETE": "204 No Content"}


def instant(time: datetime) -> str:
    """A FHIR instant in UTC, which the time is in, with milliseconds."""
    naive = time if time.tzinfo is None else time.replace(tzinfo=None)  # to write a zone costs four times as much
    return naive.isoformat(timespec="milliseconds") + "Z"


def entry(
    full_url: str | None = None,
    resource: bytes = b"",
    *,
    mode: str | None = None,
    score: float | None = None,
    request: tuple[str, str] | None = None,
    response: Mapping[str, object] | None = None,
) -> bytes:
    """One Bundle.entry. `request` is (method, url)."""
    parts = []
    if full_url:
        parts.append(b'"fullUrl":' + json.encode(full_url))
    if resource:
        parts.append(b'"resource":' + resource)
    if mode:
        parts.append(b'"search":' + _search(mode, score))
    if request:
        parts.append(b'"request":' + json.encode({"method": request[0], "url": request[1]}))
    if response:
        parts.append(b'"response":' + json.encode(response))
    return b"{" + b",".join(parts) + b"}"


def search_entries(base_url: str, resources: Iterable[tuple[str, str, bytes]], mode: str) -> list[bytes]:
    """An entry of a searchset for each resource, by type, id and JSON. Ids have nothing to escape."""
    beginnings: dict[str, bytes] = {}
    end = b',"search":{"mode":"%b"}}' % mode.encode()
    entries = []
    for type_, id_, resource in resources:
        beginning = beginnings.get(type_)
        if beginning is None:
            beginning = beginnings[type_] = b'{"fullUrl":%b' % json.encode(f"{base_url}/{type_}/")[:-1]
        entries.append(b'%b%b","resource":%b%b' % (beginning, id_.encode(), resource, end))
    return entries


def version_entry(full_url: str, resource: bytes, request: tuple[str, str], version: int, written: datetime) -> bytes:
    """An entry of a history: `request` is (method, url) of what made the version. Nothing here has to be escaped.

    https://hl7.org/fhir/R4/http.html#history
    """
    method, url = request
    end = (
        f'"request":{{"method":"{method}","url":"{url}"}},"response":{{"status":"{STATUSES[method]}",'
        f'"etag":"W/\\"{version}\\"","lastModified":"{instant(written)}"}}}}'
    ).encode()
    if not resource:
        return b'{"fullUrl":"%b",%b' % (full_url.encode(), end)
    return b'{"fullUrl":"%b","resource":%b,%b' % (full_url.encode(), resource, end)


def _search(mode: str, score: float | None) -> bytes:
    """https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.search.score"""
    ranked = b"" if score is None else b',"score":' + json.encode(score)
    return b'{"mode":"%b"%b}' % (mode.encode(), ranked)


def bundle(
    type_: str,
    entries: Iterable[bytes],
    *,
    id_: str | None = None,
    updated: datetime | None = None,
    total: int | None = None,
    links: Sequence[tuple[str, str]] = (),
    tags: Sequence[Mapping[str, str]] = (),
) -> bytes:
    """A Bundle as JSON. `links` are (relation, url), `tags` Codings about it."""
    head: dict[str, object] = {"resourceType": "Bundle"}
    if id_:
        head["id"] = id_
    if updated:
        head["meta"] = {"lastUpdated": instant(updated), **({"tag": tags} if tags else {})}
    head["type"] = type_
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    parts = list(entries)
    if not parts:
        return json.encode(head)
    parts[0] = b'%b,"entry":[%b' % (json.encode(head)[:-1], parts[0])
    parts[-1] += b"]}"
    return b",".join(parts)  # copied once: a page may have megabytes
