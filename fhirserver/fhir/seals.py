"""Sealed texts: what this server gave out and takes back. A client can neither forge one nor use it elsewhere."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from fhirserver.fhir.outcome import Outcome, invalid

SIGNATURE = 16
LONGEST = 1 << 14


def seal(secret: bytes, payload: bytes, purpose: bytes) -> str:
    """URL-safe text that opens for the same purpose only."""
    return urlsafe_b64encode(_signature(secret, payload, purpose) + payload).decode().rstrip("=")


def unseal(secret: bytes, text: str, purpose: bytes) -> bytes:
    """The payload; 400 for what was not sealed with this secret for this purpose."""
    try:
        raw = urlsafe_b64decode(text[:LONGEST].encode("ascii") + b"=" * (-len(text[:LONGEST]) % 4))
    except ValueError as error:
        raise _foreign() from error
    signature, payload = raw[:SIGNATURE], raw[SIGNATURE:]
    if not hmac.compare_digest(signature, _signature(secret, payload, purpose)):
        raise _foreign()
    return payload


def _signature(secret: bytes, payload: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, b"%d:%b%b" % (len(purpose), purpose, payload), "sha256")[:SIGNATURE]


def _foreign() -> Outcome:
    return invalid("this cursor was not given out for this search; start again from the first page", "_cursor")
