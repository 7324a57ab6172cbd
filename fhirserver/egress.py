"""The one way in which this server asks another for something: a GET whose address is looked at before it is used.

A URL that a client gives must not reach what only this machine or its network can. The name is resolved once and the
connection goes to the address that was looked at, so that a second answer of the DNS changes nothing.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping
from functools import lru_cache
from ssl import SSLContext
from typing import NamedTuple

import httpx

SECONDS = 5.0
MOST_BYTES = 200_000
PLAIN = "identity"
_nat64 = ipaddress.ip_network("64:ff9b::/96")
_unicast = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out: the rest may lead into a network of ours

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unreachable(Exception):
    """It is not asked, or does not answer as it should; the text says why."""


class Answer(NamedTuple):
    """What is there, and for how many seconds it may be kept where that is said."""

    body: bytes
    seconds: int | None


async def get(url: str, *, accept: str, trusted: Collection[str] = ()) -> Answer:
    """What is there. Hosts that are `trusted` may be asked without TLS, and may have a private address."""
    asked, allowed = check(url, trusted)
    try:
        async with asyncio.timeout(SECONDS):
            address = await _resolved(asked, allowed)
            return await _get(asked, address, accept)
    except TimeoutError as error:
        raise Unreachable(f"{asked.host} did not answer within {SECONDS:g} s") from error
    except httpx.HTTPError as error:
        raise Unreachable(f"{asked.host} did not answer: {error}") from error


def check(url: str, trusted: Collection[str]) -> tuple[httpx.URL, bool]:
    """What to ask, and whether it may be anywhere. Raises Unreachable for what is not asked, whatever its address."""
    asked = _parsed(url)
    allowed = asked.host in trusted
    if asked.scheme != "https" and not (allowed and asked.scheme == "http"):
        raise Unreachable(f"{url[:200]} is not https")
    if not allowed and is_private(asked.host):
        raise Unreachable(f"{asked.host} is not on the public internet")
    return asked, allowed


def is_private(host: str) -> bool:
    """Of an address, and of the names that are this machine's: https://www.rfc-editor.org/rfc/rfc6761#section-6.3"""
    name = host.removesuffix(".")
    try:
        return not is_public(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _parsed(url: str) -> httpx.URL:
    try:
        asked = httpx.URL(url)
        host = asked.host  # decoded here where it is in Punycode
    except (httpx.InvalidURL, ValueError) as error:
        raise Unreachable(f"{url[:200]!r} is not a URL") from error
    if not host or asked.userinfo or (asked.port or 0) > 65_535:
        raise Unreachable(f"{url[:200]!r} is not a URL of a server")
    return asked


async def _resolved(asked: httpx.URL, allowed: bool) -> str:
    """The first of its addresses, when all of them are public."""
    port = asked.port or (443 if asked.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(asked.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{asked.host} has no address") from error
    addresses = [str(each[4][0]) for each in found]
    if not addresses or not (allowed or all(is_public(address) for address in addresses)):
        raise Unreachable(f"{asked.host} is not on the public internet")
    return addresses[0]


def is_public(address: str) -> bool:
    return all(
        each.is_global and not each.is_multicast and (each.version == 4 or each in _unicast)
        for each in _meant(ipaddress.ip_address(address))
    )


def _meant(address: Address) -> list[Address]:
    """An address, and those that it leads to through a translation."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _nat64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [address, *(each for each in inside if each is not None)]


@lru_cache(maxsize=1)
def _certificates() -> SSLContext:
    return httpx.create_ssl_context(trust_env=False)


async def _get(asked: httpx.URL, address: str, accept: str) -> Answer:
    headers = {"Host": asked.netloc.decode("ascii"), "Accept": accept, "User-Agent": "HealthMate"}
    headers["Accept-Encoding"] = PLAIN  # a few packed bytes can be gigabytes
    named = {"sni_hostname": asked.host}  # whose certificate it must be
    client = httpx.AsyncClient(verify=_certificates(), trust_env=False, timeout=SECONDS, follow_redirects=False)
    async with client, client.stream("GET", asked.copy_with(host=address), headers=headers, extensions=named) as answer:
        if answer.status_code != 200:
            raise Unreachable(f"{asked.host} answered {answer.status_code}")
        if (packed := answer.headers.get("content-encoding", PLAIN).strip().lower()) != PLAIN:
            raise Unreachable(f"{asked.host} answered what is packed by {packed[:20]}, which was not asked for")
        chunks, size = [], 0
        async for chunk in answer.aiter_raw():
            size += len(chunk)
            if size > MOST_BYTES:
                raise Unreachable(f"{asked.host} answered more than {MOST_BYTES:,} bytes")
            chunks.append(chunk)
        return Answer(b"".join(chunks), kept_for(answer.headers))


def kept_for(headers: Mapping[str, str]) -> int | None:
    """https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2; what cannot be read is not kept."""
    pairs = (each.partition("=") for each in headers.get("cache-control", "").lower().split(","))
    said = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    if "no-store" in said or "no-cache" in said:
        return 0
    ages = [_seconds(said[name]) for name in ("max-age", "s-maxage") if name in said]
    return max(0, min(ages) - _seconds(headers.get("age", "0"))) if ages else None


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
