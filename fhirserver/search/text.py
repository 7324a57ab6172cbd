"""Text as a string search compares it: without case, accents and runs of white space.

https://hl7.org/fhir/R4/search.html#string
"""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().split())
    marked = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(mark for mark in marked if not unicodedata.combining(mark)).split())
