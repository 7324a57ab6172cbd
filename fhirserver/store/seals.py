"""Seals of the ledger: HMAC-SHA-256, which nobody makes without the key. https://www.rfc-editor.org/rfc/rfc2104"""

from __future__ import annotations

import hmac
from hashlib import sha256

OF_EVENT, FORGOTTEN = b"event", b"forgotten"


def audit_key(secret: bytes) -> bytes:
    """Out of the secret of a server: what is derived for one purpose serves no other."""
    return hmac.digest(secret, b"audit", sha256)


def beginning(key: bytes, strand: str) -> bytes:
    """What the first line of a strand is sealed to."""
    return hmac.digest(key, strand.encode(), sha256)


def digest_of(line: bytes) -> bytes:
    return sha256(line).digest()


def sealed(key: bytes, before: bytes, number: int, digest: bytes) -> bytes:
    """The seal of a line, by its digest, to the one before it."""
    return hmac.digest(key, before + number.to_bytes(8, "big") + digest, sha256)


def sealed_event(key: bytes, seal: bytes, body: bytes) -> bytes:
    """The seal of the event that was made of a line, by the seal of that."""
    return hmac.digest(key, OF_EVENT + seal + body, sha256)


def sealed_forgotten(key: bytes, strand: str, number: int, seal: bytes) -> bytes:
    """That retention took a strand up to this number, whose seal this is."""
    return hmac.digest(key, FORGOTTEN + number.to_bytes(8, "big") + seal + strand.encode(), sha256)
