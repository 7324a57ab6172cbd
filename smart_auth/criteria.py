"""Criteria of a scope in plain words, for who is asked to allow it: `category=laboratory`, `date=ge2024`.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from __future__ import annotations

import re
from functools import cache

from fhirserver.fhir.definitions import search_table

OF_EVERYTHING = {
    "_id": "id",
    "_lastUpdated": "last change",
    "_profile": "profile",
    "_security": "security label",
    "_source": "source",
    "_tag": "tag",
}
ALIKE = {"eq": "{}", "ne": "not {}", "ap": "about {}"}
TIMES = ALIKE | {"ge": "{} or later", "gt": "after {}", "sa": "after {}", "le": "{} or earlier"}
TIMES |= {"lt": "before {}", "eb": "before {}"}
AMOUNTS = ALIKE | {"ge": "{} or more", "gt": "more than {}", "sa": "more than {}", "le": "{} or less"}
AMOUNTS |= {"lt": "less than {}", "eb": "less than {}"}
COMPARED = {"date": TIMES, "number": AMOUNTS, "quantity": AMOUNTS}
_compared = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?([0-9+\-.][^|]*)(?:\|[^|]*\|([^|]*))?")


def said(criterion: str, type_: str) -> str:
    """`category is laboratory or exam`"""
    name, _, value = criterion.partition("=")
    words = COMPARED.get(_kind(name, type_))
    values = (_compared_by(words, each) if words else _short(each) for each in value.split(","))
    return f"{OF_EVERYTHING.get(name, name)} is {' or '.join(values)}"


def _compared_by(words: dict[str, str], value: str) -> str:
    found = _compared.fullmatch(value)
    if found is None:
        return value
    prefix, number, unit = found.groups()
    return words[prefix or "eq"].format(f"{number} {unit}" if unit else number)


def _short(value: str) -> str:
    """A code without the URL of its system."""
    return value.rpartition("|")[2] or value


@cache
def _kind(name: str, type_: str) -> str:
    """The type of a search parameter."""
    bases = {"Resource", "DomainResource", type_}
    rows = (row for row in search_table()["parameters"] if row["code"] == name)
    return next((str(row["type"]) for row in rows if not bases.isdisjoint(row["base"])), "")
