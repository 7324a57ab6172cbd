"""The public keys of clients, as they registered them or as their jwks_uri says, kept for a few minutes.

No longer than its Cache-Control says, but for a second: what a stranger sends must not have us ask all the time.
https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#signature-verification
"""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from fhirserver.egress import Unreachable, get

KEPT_SECONDS = 300.0
STALE_SECONDS = 3600.0  # so long old keys go on where the URL does not answer: one that was taken back must end
AGAIN_SECONDS = 10.0  # a key that is not there may be a new one
SHORTEST_SECONDS = 1.0
MOST_SETS = 1_000
MOST_KEYS = 50
SMALLEST_RSA, LARGEST_RSA = 2048, 8192
KTY = {"RS384": "RSA", "ES384": "EC"}
Key = RSAKey | ECKey


class _Kept(NamedTuple):
    """When the URL was asked last, when it answered last, with what, and for how many seconds that may be kept."""

    asked: float
    answered: float
    keys: Sequence[Mapping[str, Any]]
    good: float

    def serves(self, now: float) -> bool:
        """Whether it need not be asked again."""
        return now - self.asked < max(min(self.good, KEPT_SECONDS), SHORTEST_SECONDS) and self.lasts(now)

    def lasts(self, now: float) -> bool:
        """Whether its keys are worth something."""
        return now - self.answered < max(min(self.good, STALE_SECONDS), SHORTEST_SECONDS)


NEVER = _Kept(-KEPT_SECONDS, -STALE_SECONDS, (), STALE_SECONDS)


class KeySets:
    """Key sets that were fetched, by their URL."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def keys(self, url: str, kid: str, trusted: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Those at the URL. Asked again when they are old, or when `kid` is not among them; one after the other."""
        turn = self._turns.setdefault(url, asyncio.Lock())
        async with turn:
            return await self._keys(url, kid, trusted)

    async def _keys(self, url: str, kid: str, trusted: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        now, kept = monotonic(), self._kept.get(url, NEVER)
        has = any(key.get("kid") == kid for key in kept.keys)
        if kept.serves(now) if has else now - kept.asked < AGAIN_SECONDS:
            return kept.keys
        try:
            answer = await get(url, accept="application/json", trusted=trusted)
            found = parsed(json.loads(answer.body))
        except (Unreachable, ValueError, RecursionError):
            if not has or not kept.lasts(now):
                self._keep(url, NEVER._replace(asked=now))
                raise
            self._keep(url, kept._replace(asked=now))
            return kept.keys
        self._keep(url, _Kept(now, now, found, STALE_SECONDS if answer.seconds is None else answer.seconds))
        return found

    def _keep(self, url: str, found: _Kept) -> None:
        self._kept.pop(url, None)
        self._kept[url] = found
        if len(self._kept) > MOST_SETS:
            del self._kept[next(iter(self._kept))]


def parsed(document: Any) -> list[Mapping[str, Any]]:
    """The keys of a JSON Web Key Set; ValueError where it is none."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise ValueError(f'not a JSON Web Key Set: {{"keys": […]}} with at most {MOST_KEYS} keys')
    return keys


class Chosen(NamedTuple):
    """The one key that a token must be signed with, or why there is none."""

    key: Key | None
    reason: str = ""


def choose(keys: Sequence[Mapping[str, Any]], algorithm: str, kid: str) -> Chosen:
    found = [key for key in keys if key.get("kid") == kid and key.get("kty") == KTY[algorithm]]
    if len(found) != 1:
        return Chosen(None, f"{len(found)} keys of the client have this kid and type")
    return imported(found[0])


def imported(jwk: Mapping[str, Any]) -> Chosen:
    """A public key that is strong enough. What else it says it is for was said for other algorithms too often."""
    try:
        if not _is_strong(jwk):
            return Chosen(None, f"the key is neither RSA with {SMALLEST_RSA} to {LARGEST_RSA} bits, nor EC on P-384")
        key = import_key({name: value for name, value in jwk.items() if name not in ("key_ops", "use", "alg")})
    except (JoseError, ValueError, TypeError, KeyError):
        return Chosen(None, "the key of the client cannot be read")
    if not isinstance(key, RSAKey | ECKey) or key.is_private:
        return Chosen(None, "a private key was registered, which is private no more")
    return Chosen(key)


def _is_strong(jwk: Mapping[str, Any]) -> bool:
    if jwk.get("kty") == "RSA":
        modulus = urlsafe_b64decode(jwk["n"] + "==")
        return SMALLEST_RSA <= int.from_bytes(modulus).bit_length() <= LARGEST_RSA
    return bool(jwk.get("kty") == "EC" and jwk["crv"] == "P-384")
