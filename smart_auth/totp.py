"""Codes of an authenticator: https://www.rfc-editor.org/rfc/rfc6238, in the form that every authenticator knows."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

PERIOD = 30
DIGITS = 6
DRIFT = 1  # periods that a clock may be off


def new_key() -> str:
    """160 bits: https://www.rfc-editor.org/rfc/rfc4226#section-4"""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def uri(key: str, account: str, issuer: str) -> str:
    """What the QR code says: https://github.com/google/google-authenticator/wiki/Key-Uri-Format"""
    label = quote(f"{issuer}:{account}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': key, 'issuer': issuer})}"


def period(at: datetime) -> int:
    return int(at.timestamp()) // PERIOD


def code(key: str, counter: int) -> str:
    """https://www.rfc-editor.org/rfc/rfc4226#section-5.3"""
    found = hmac.digest(base64.b32decode(key), counter.to_bytes(8, "big"), "sha1")
    offset = found[-1] & 15
    number = int.from_bytes(found[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching(key: str, typed: str, at: datetime) -> int | None:
    """The period whose code was typed, now or just before or after."""
    digits = typed.replace(" ", "")
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    near = range(period(at) - DRIFT, period(at) + DRIFT + 1)
    found = [counter for counter in near if hmac.compare_digest(code(key, counter), digits)]
    return found[-1] if found else None
