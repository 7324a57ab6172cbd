"""Strings, names and addresses, folded. https://hl7.org/fhir/R4/search.html#string"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fhirserver.search.values import CACHE, LONGEST_CACHED

Json = dict[str, Any]

WORDS = 8  # of a family name after the first
LONGEST_FOLDED = 1000  # characters; a prefix search looks no further, `:exact` compares the whole string


def fold(text: str) -> str:
    """As strings are compared: without case, accents, punctuation and surplus white space. `O'Hara` is `ohara`."""
    return _folded(text) if len(text) <= LONGEST_CACHED else _fold(text)


def apart(text: str) -> str:
    """The same, with a space for punctuation that stands between: `Smith-Jones` is `smith jones`."""
    return _apart(text) if len(text) <= LONGEST_CACHED else _fold(text, " ")


def bare(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    marked = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(mark for mark in marked if not unicodedata.combining(mark))


def _fold(text: str, between: str = "") -> str:
    plain = bare(text[: LONGEST_FOLDED * 4].translate(_APOSTROPHES))
    spaced = _mark.sub(lambda mark: between if unicodedata.category(mark[0])[0] == "P" else mark[0], plain)
    return " ".join(spaced.split())[:LONGEST_FOLDED]


_APOSTROPHES = str.maketrans(dict.fromkeys("'`\u00b4\u02bb\u02bc\u2018\u2019\u2032\uff07"))
_mark = re.compile(r"[^\w\s]|_")
_folded = lru_cache(CACHE)(_fold)
_apart = lru_cache(CACHE)(lambda text: _fold(text, " "))


@lru_cache(CACHE)
def _spaced(text: str) -> tuple[str, ...]:
    spaced = apart(text)
    return () if spaced == fold(text) else (f"{spaced} ",)


@lru_cache(CACHE)
def _later_words(family: str) -> tuple[str, ...]:
    words = apart(family).split(" ", WORDS)
    return tuple(f"{' '.join(words[i:])} " for i in range(1, len(words)))


def folded(texts: list[str]) -> list[str]:
    if len(texts) == 1:
        text = texts[0]
        return [_folded(text) if len(text) <= LONGEST_CACHED else _fold(text)]
    return list(dict.fromkeys([_folded(text) if len(text) <= LONGEST_CACHED else _fold(text) for text in texts]))


def otherwise(texts: list[str], families: list[str] | None) -> list[str]:
    """How else they may begin: with a space for punctuation, and a family name with each of its words.

    Each ends in a space, as nothing that is folded does, so that whole values can be told from these.
    """
    found = [each for text in texts for each in _spaced(text)]
    for family in families or ():
        found += _later_words(family)
    return found if len(found) < 2 else unique(found)


def string(text: str) -> list[str]:
    return [text]


def human_name(name: Json) -> list[str]:
    """Every part of a name, each searched for by itself."""
    return _parts(name, ("family", "text"), ("given", "prefix", "suffix"))


def family(name: Json) -> list[str]:
    found = name.get("family")
    return [] if found is None else [found]


def address(place: Json) -> list[str]:
    return _parts(place, ("city", "district", "state", "postalCode", "country", "text"), ("line",))


def _parts(value: Json, single: tuple[str, ...], repeated: tuple[str, ...]) -> list[str]:
    found = [value[key] for key in single if key in value]
    for key in repeated:
        if key in value:
            found += value[key]
    return [part for part in found if part is not None] if None in found else found


def unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
