"""Media types, of which `:below` and `:above` are told by their text: `image/png` is below `image`.

Parameters are not taken apart: `text/xml; charset=UTF-8` is below `text/xml`, and nothing more is known of it.
https://hl7.org/fhir/R4/search.html#mimetype
"""

from __future__ import annotations

import re

from fhirserver.fhir.outcome import invalid
from fhirserver.search.readers import shown

BINDING = "http://hl7.org/fhir/ValueSet/mimetypes"

_name = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_media_type = re.compile(rf"(?P<type>{_name})(?P<subtype>/{_name})?(?P<any>/\*?)?(?P<parameters>\s*;.*)?", re.DOTALL)


def narrower(text: str) -> list[str]:
    """How the media types below this one begin. Raises a 400 Outcome."""
    match = _read(text)
    if match["subtype"] is None:
        return [f"{match['type']}/"]
    return [f"{text};", f"{text} "]


def broader(text: str) -> list[str]:
    """The media type and those above it."""
    match = _read(text)
    whole = f"{match['type']}{match['subtype'] or ''}"
    return [*dict.fromkeys((text, whole, f"{match['type']}/*", match["type"]))]


def _read(text: str) -> re.Match[str]:
    match = _media_type.fullmatch(text)
    if match is None or (match["subtype"] and match["any"]) or (match["parameters"] and not match["subtype"]):
        raise invalid(f"{shown(text)!r} is not a media type: write image, image/png or text/xml; charset=UTF-8")
    return match
