"""What has to be used again, and so cannot be kept as a hash: sealed by AES-256-GCM under a key of the server's secret.

The key is derived for this purpose alone (HKDF, RFC 5869). What is sealed says whose it is, so that it opens for that
account and no other. Whoever copies the database opens nothing without the secret (HEALTHMATE_SECRET, if it is set).
"""

from __future__ import annotations

import logging
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "v1."  # no key of an authenticator has a dot
PURPOSE = b"healthmate: secrets of accounts"
NONCE = 12  # bytes

log = logging.getLogger(__name__)


def sealing_key(secret: bytes) -> bytes:
    """Out of the secret of a server: 256 bits."""
    return HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(secret)


def seal(key: bytes, text: str, whose: str) -> str:
    nonce = secrets.token_bytes(NONCE)
    sealed = AESGCM(key).encrypt(nonce, text.encode(), whose.encode())
    return PREFIX + urlsafe_b64encode(nonce + sealed).decode()


def is_sealed(kept: str) -> bool:
    """An earlier build kept it as it is."""
    return kept.startswith(PREFIX)


def opened(key: bytes, kept: str, whose: str) -> str | None:
    """None where it was sealed under another secret, or for somebody else."""
    if not is_sealed(kept):
        return kept
    found = unsealed(key, kept, whose)
    if found is None:
        log.warning("a secret of account %s was sealed under another HEALTHMATE_SECRET and cannot be used", whose)
    return found


def unsealed(key: bytes, text: str, whose: str) -> str | None:
    """The same of what may be anything, as it comes from outside: None where we did not seal it."""
    try:
        raw = urlsafe_b64decode(text.removeprefix(PREFIX))
        return AESGCM(key).decrypt(raw[:NONCE], raw[NONCE:], whose.encode()).decode()
    except (InvalidTag, ValueError):
        return None
