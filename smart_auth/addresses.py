"""Where a request comes from, and who has to come from somewhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Set
from functools import cache, lru_cache

from starlette.types import Scope

from fhirserver.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED = b"x-forwarded-for"
LONGEST = 100
ELSEWHERE = "administrators are let in from the addresses that HEALTHMATE_ADMIN_NETWORKS names, and not from here"


def origin(settings: Settings, scope: Scope) -> str:
    """The last address that no proxy of ours has: what stands before it, anybody could have written."""
    client: tuple[str, int] | None = scope.get("client")
    host = client[0] if client else ""
    if not settings.trusted_proxies:
        return host
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == FORWARDED]
    said = [_without_port(text.strip()) for line in lines for text in line.split(",")]
    while said and within(host, settings.trusted_proxies):
        host = said.pop()
    return host[:LONGEST]


@lru_cache(maxsize=10_000)
def neighbourhood(host: str) -> str:
    """What has to wait together. Of IPv6 a household has a /64, and can take a new address for every try."""
    found = _parsed(host)
    if found is None:
        return host
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _without_port(said: str) -> str:
    """Some proxies write it along, another one for every connection."""
    if said.startswith("["):
        return said[1:].partition("]")[0]
    host, _, port = said.partition(":")
    return host if port.isdecimal() else said


def within(host: str, names: tuple[str, ...]) -> bool:
    found = _parsed(host)
    return found is not None and any(found in network for network in _networks(names))


def may_administer(settings: Settings, roles: Set[str], scope: Scope) -> bool:
    """Whether who has these roles is let in from there: administrators may have to come from known networks."""
    if "admin" not in roles or not settings.admin_networks:
        return True
    return within(origin(settings, scope), settings.admin_networks)


def _parsed(host: str) -> Address | None:
    """An address; one of IPv4 as such, though it came to a socket of IPv6."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


@cache
def _networks(names: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)
