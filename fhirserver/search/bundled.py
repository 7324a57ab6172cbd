"""What a document or a message says of itself: its first resource, to which `composition` and `message` lead.

    search.#: ["composition"]
    search.#Composition: [{#: ["composition"], type: [...], #Patient: [{_id: "p1", #: ["subject", "patient"], ...}]}]

R4 calls both parameters references. Nothing refers there: a chain (`Bundle?composition.type=…`) asks the resource that
the Bundle holds. Its values lie beside those of the Bundle as if it were contained, and in them those of the entries
to which it refers. https://hl7.org/fhir/R4/bundle.html#search, https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fhirserver.fhir.references import parse
from fhirserver.search.canonicals import LOCAL
from fhirserver.search.contained import HOPS, REFERRED, Inner, elements, knowing
from fhirserver.search.parameters import Parameter

Json = dict[str, Any]

WHOLE = "Bundle.entry[0].resource"  # the expression of both parameters
# By the type of the Bundle: which parameter leads to its first resource, and of what type that is.
FIRST: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"document": ("composition", "Composition"), "message": ("message", "MessageHeader")}
)
_CODES = frozenset(code for code, _ in FIRST.values())


def holds(parameter: Parameter) -> bool:
    """Whether a parameter leads to a resource within the Bundle."""
    return parameter.expression == WHOLE and parameter.code in _CODES


def stored(
    bundle: Json, values: Callable[[Json], Json], references: Callable[[Json], Iterable[tuple[str, str]]]
) -> Json:
    """The first resource by key, with what it refers to in the Bundle. `references` (code, URL) are those of one."""
    code, type_ = FIRST.get(bundle.get("type", ""), ("", ""))
    entries: list[Json] = bundle.get("entry", [])
    if not entries or entries[0].get("resource", {}).get("resourceType") != type_:
        return {}
    known = _Known([each for each in entries if "resource" in each])
    inside: dict[str, Inner] = {}
    asked = ["0"]
    for _ in range(HOPS):
        reached = dict.fromkeys(each for each in asked if each not in inside)
        asked = []
        for place in reached:
            resource = known.resource(place)
            referred: dict[str, list[str]] = {}
            for by, url in references(resource):
                if (to := known.place(url, place)) and by not in (codes := referred.setdefault(to, [])):
                    codes.append(by)
            inside[place] = Inner(resource["resourceType"], resource.get("id"), values(resource), referred)
            asked += referred
    return {REFERRED: [code], **elements(inside, {"0": [code]})}


def patient_of(bundle: Json, base_url: str) -> str | None:
    """The patient here whom a document is about: the `subject` of its Composition, as that server means it."""
    entries: list[Json] = bundle.get("entry", [])
    if bundle.get("type") != "document" or not entries:
        return None
    composition = entries[0].get("resource", {})
    if composition.get("resourceType") != "Composition":
        return None
    subject = composition.get("subject", {}).get("reference", "")
    written = parse(entries[0].get("fullUrl", "").removeprefix(f"{base_url}/"))
    elsewhere = written is not None and written.base is not None
    if elsewhere and not subject.startswith(f"{base_url}/"):
        return None
    found = parse(subject.removeprefix(f"{base_url}/"))
    return f"Patient/{found.id}" if found is not None and (found.base, found.type) == (None, "Patient") else None


class _Known:
    """The entries of a Bundle, each at its place, by what they may be referred to: `fullUrl`, or type and id."""

    def __init__(self, entries: Sequence[Json]) -> None:
        self._entries = entries
        self._places: dict[str, str] = {}
        for place, entry in enumerate(entries):
            for name in (entry.get("fullUrl"), _name(entry["resource"])):
                self._places.setdefault(name or "", str(place))  # of two of a name, the first
        urls = ((each.get("fullUrl"), each["resource"]["resourceType"]) for each in entries)
        self._types = {url: {"type": type_} for url, type_ in urls if url}

    def resource(self, place: str) -> Json:
        """As it is there, whose references to others have the types of these."""
        found: Json = knowing(self._entries[int(place)]["resource"], self._types)
        return found

    def place(self, url: str, of: str) -> str | None:
        """To what a reference leads that the entry at a place has; a relative one first on the server of that."""
        match = LOCAL.fullmatch(url)
        if match is None:
            return self._places.get(url)
        entry, local = self._entries[int(of)], f"{match[1]}/{match[2]}"
        base = entry.get("fullUrl", "").removesuffix(_name(entry["resource"]))
        return self._places.get(base + local) or self._places.get(local)


def _name(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"
