"""Which representation a client sends and wants. https://hl7.org/fhir/R4/http.html#mime-type"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from fhirserver.fhir.outcome import Outcome, in_query

Format = Literal["json", "xml"]
JSON_TYPE = "application/fhir+json"
XML_TYPE = "application/fhir+xml"
CONTENT_TYPE: dict[Format, bytes] = {
    "json": b"application/fhir+json; charset=utf-8",
    "xml": b"application/fhir+xml; charset=utf-8",
}
NAMES: dict[str, Format] = {
    "json": "json",
    "application/json": "json",
    "text/json": "json",
    JSON_TYPE: "json",
    "application/json+fhir": "json",
    "xml": "xml",
    "application/xml": "xml",
    "text/xml": "xml",
    XML_TYPE: "xml",
    "application/xml+fhir": "xml",
}
FHIR_TYPES = frozenset({JSON_TYPE, XML_TYPE, "application/json+fhir", "application/xml+fhir"})
ANY = ("*/*", "application/*", "*")
PATCH_TYPE = "application/json-patch+json"
FORM_TYPE = "application/x-www-form-urlencoded"
VERSIONS = ("4.0", "4.0.1")


class Preference(NamedTuple):
    """https://hl7.org/fhir/R4/http.html#ops, https://hl7.org/fhir/R4/search.html#errors"""

    returned: str | None = None
    strict: bool = False


@lru_cache(maxsize=1024)
def wanted(accept: str | None, format_: str | None) -> Format:
    """406 for what this server cannot write. `_format` goes before Accept."""
    if format_ is not None:
        found = NAMES.get(media_type(format_.replace(" ", "+")))
        if found is None:
            raise Outcome(406, "not-supported", f"_format={format_} is not known; use json or xml", in_query("_format"))
        return found
    if not accept:
        return "json"
    for _, _, name in sorted(_ranked(accept)):
        if name in ANY:
            return "json"
        if name in NAMES:
            return NAMES[name]
        if name == "text/*":
            return "xml"
    raise Outcome(
        406, "not-supported", f"Accept: {accept} leaves nothing; this server writes {JSON_TYPE} and {XML_TYPE}"
    )


def acceptable(accept: str) -> list[str]:
    """The media types that a client names, but for those it refuses."""
    return [name for _, _, name in _ranked(accept)]


def _ranked(accept: str) -> list[tuple[float, int, str]]:
    """(-quality, position, media type) of what is acceptable at all."""
    ranked = []
    for position, part in enumerate(accept.split(",")):
        name, *parameters = (piece.strip() for piece in part.lower().split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
            if parameter.startswith("fhirversion=") and parameter[12:].strip('"') not in VERSIONS:
                quality = 0.0
        if quality > 0:
            ranked.append((-quality, position, name))
    return ranked


@lru_cache(maxsize=256)
def sent(content_type: str | None, readable: str) -> Format | Literal["patch", "form"]:
    """415 for a body that this server does not read; `readable` says what it does."""
    name = media_type(content_type or "")
    if name == PATCH_TYPE:
        return "patch"
    if name == FORM_TYPE:
        return "form"
    if name not in NAMES:
        said = f"Content-Type: {content_type}" if content_type else "a body without Content-Type"
        raise Outcome(415, "not-supported", f"{said} is not read here; send {readable}")
    charset = _parameter(content_type or "", "charset")
    if charset and charset not in ("utf-8", "utf8", "us-ascii"):
        raise Outcome(415, "not-supported", f"charset {charset} is not read here; FHIR is UTF-8")
    version = _parameter(content_type or "", "fhirversion")
    if version and version not in VERSIONS:
        raise Outcome(415, "not-supported", f"FHIR {version} is not read here; this is a server of FHIR 4.0")
    return NAMES[name]


def media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


def _parameter(text: str, name: str) -> str | None:
    for piece in text.lower().split(";")[1:]:
        key, _, value = piece.partition("=")
        if key.strip() == name:
            return value.strip().strip('"')
    return None


@lru_cache(maxsize=256)
def preference(prefer: str | None) -> Preference:
    """Prefer: return=minimal|representation|OperationOutcome, handling=strict|lenient. Others are left alone."""
    if not prefer:
        return Preference()
    named = {}
    for part in prefer.replace(";", ",").split(","):
        key, _, value = part.strip().partition("=")
        named[key.strip().lower()] = value.strip().strip('"')
    returned = named.get("return")
    known = ("minimal", "representation", "OperationOutcome")
    return Preference(returned if returned in known else None, named.get("handling") == "strict")
