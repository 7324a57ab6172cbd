"""Ids of resources, and those that the server gives. https://hl7.org/fhir/R4/datatypes.html#id"""

from __future__ import annotations

import re
import secrets
import time

URIS = "urn:ietf:rfc:3986"  # the system of identifiers that are URIs
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def new_id() -> str:
    """A UUID version 7: ids sort by the time they were given, so that new ones sit together in every index."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
