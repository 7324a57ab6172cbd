"""References by canonical URL: `url|version` is one version of a definition, `url` whichever is here.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fhirserver.fhir.definitions import Definitions
from fhirserver.search.criteria import AllOf, AnyOf, Clause, Criterion, Negation, Reference, Token
from fhirserver.search.expressions import parse, routes
from fhirserver.search.parameters import Parameter, Registry

LOCAL = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9.-]{1,64})(?:/_history/.*)?")
DEFINITIONS = 1_000  # that one search goes through by URL: each may be a condition of its own
# Modifiers of our own making: the URL, said without a version; and with a version that begins so, and goes on.
UNVERSIONED = "unversioned"
VERSIONS = "versions"
_ends_of_versions = re.compile(r"[.+-]|$")


@cache
def _ends(definitions: Definitions, expression: str, type_: str) -> frozenset[str]:
    return frozenset(route.type for route in routes(definitions, parse(expression), type_))


def refers(registry: Registry, parameter: Parameter, type_: str) -> bool:
    """Some parameters of type reference hold canonical URLs or whole resources, not References."""
    return not _ends(registry.definitions, parameter.expression, type_).isdisjoint({"Reference", "Extension"})


def by_url(registry: Registry, parameter: Parameter, type_: str) -> bool:
    return not _ends(registry.definitions, parameter.expression, type_).isdisjoint({"canonical", "uri"})


def leads(registry: Registry, parameter: Parameter, type_: str) -> bool:
    """Whether a parameter leads to resources of their own, and not into its own (`bundled.holds`)."""
    return parameter.type == "reference" and (refers(registry, parameter, type_) or by_url(registry, parameter, type_))


def canonicals(values: Sequence[str]) -> set[str]:
    """With the version where one was said; the index holds both forms then."""
    versioned = {value.partition("|")[0] for value in values if "|" in value}
    return {value for value in values if value not in versioned and not LOCAL.fullmatch(value)}


def named(stored: Iterable[Sequence[str]]) -> set[str]:
    """What these values of a parameter name: canonicals, and resources of this server."""
    return {each for values in stored for each in (*canonicals(values), *filter(LOCAL.fullmatch, values))}


def namings(document: Mapping[str, Any]) -> int:
    """In how many ways a definition may be named by URL; a parameter of one's own may give it many URLs."""
    search = document.get("search", {})
    versions = [form for form in search.get("version", ()) if not form.endswith(" ")]
    return max(1, len(search.get("url", ()))) * max(1, len(versions))


def related(clause: Clause) -> Criterion:
    """`:below` are the versions that begin as one is said to, `:above` those that are less precise.

    All versions of a URL are below it. https://hl7.org/fhir/R4/search.html#versions
    """
    parameter = clause.parameter
    forms = [form for value in clause.values if isinstance(value, Reference) for form in value.forms]
    if clause.modifier == "below":
        exact = Clause(parameter, None, (Reference(tuple(forms)),))
        versions = tuple(form for form in forms if "|" in form)
        return AnyOf((exact, Clause(parameter, VERSIONS, versions))) if versions else exact
    urls = dict.fromkeys(form.partition("|")[0] for form in forms)
    broader = Reference(tuple(dict.fromkeys(each for form in forms if "|" in form for each in _less_precise(form))))
    return AnyOf((Clause(parameter, None, (broader,)), Clause(parameter, UNVERSIONED, tuple(urls))))


def _less_precise(canonical: str) -> list[str]:
    """`url|1.2` and `url|1`."""
    url, _, version = canonical.partition("|")
    return [f"{url}|{version[: end.start()]}" for end in _ends_of_versions.finditer(version)]


def versioned(registry: Registry, type_: str, clause: Clause) -> Criterion:
    """`url=http://…|3` of definitions themselves: by their URL, and by their version.

    What is above a version is so told of other parameters of type uri, too: no text says that a version is missing.
    """
    parameter, modifier, values = clause
    version = registry[type_].get("version") if parameter.code == "url" else None
    if parameter.type != "uri" or ((version is None or version.type != "token") and modifier != "above"):
        return clause
    parts = [
        _of_version(parameter, version, modifier, value) for value in values if isinstance(value, str) and "|" in value
    ]
    if not parts:
        return clause
    if modifier == "ne":
        return AllOf((Clause(parameter, "missing", (False,)), *map(Negation, parts)))
    plain = tuple(value for value in values if not (isinstance(value, str) and "|" in value))
    parts = [Clause(parameter, modifier, plain), *parts] if plain else parts
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _of_version(parameter: Parameter, version: Parameter | None, modifier: str | None, canonical: str) -> Criterion:
    """`version` is the parameter of those that have their version beside their URL, not in it."""
    url, _, said = canonical.partition("|")
    whole = Clause(parameter, None, (url,))
    if not said:
        return whole
    if version is None:
        return AnyOf((Clause(parameter, None, tuple(_less_precise(canonical))), Clause(parameter, UNVERSIONED, (url,))))
    named = [Clause(version, None, (Token(None, said),))]
    if modifier == "below":
        named += [Clause(version, "sw", (Token(None, said + separator),)) for separator in ".+-"]
    if modifier == "above":
        broader = tuple(Token(None, each.partition("|")[2]) for each in _less_precise(canonical))
        named = [Clause(version, None, broader), Clause(version, "missing", (True,))]
    return AllOf((whole, AnyOf(tuple(named))))


def leading_to(parameter: Parameter, type_: str, documents: Iterable[Mapping[str, Any]]) -> Criterion:
    """What refers to one of these definitions: by its URL and version, by its URL alone, or by its id."""
    forms: list[str] = []
    urls: list[str] = []
    for document in documents:
        search = document.get("search", {})
        forms.append(f"{type_}/{document['_id']}")
        for url in search.get("url", ()):
            urls.append(url)
            forms += [f"{url}|{version}" for version in search.get("version", ()) if _is_version(version)]
    exact = Clause(parameter, None, (Reference(tuple(forms)),))
    return AnyOf((exact, Clause(parameter, UNVERSIONED, tuple(dict.fromkeys(urls))))) if urls else exact


def _is_version(form: str) -> bool:
    """One of the forms in which a version is stored is the version itself."""
    return "|" not in form and not form.endswith(" ")


def referred_to(registry: Registry, type_: str, stored: Iterable[Sequence[str]]) -> Criterion:
    """The definitions of a type to which these values of a parameter refer."""
    own = registry[type_]
    versions: dict[str, set[str]] = {}
    ids: set[str] = set()
    for values in stored:
        ids.update(match[2] for value in values if (match := LOCAL.fullmatch(value)) and match[1] == type_)
        for canonical in canonicals(values):
            url, _, version = canonical.partition("|")
            versions.setdefault(url, set()).add(version)
    any_ = [url for url, known in versions.items() if "" in known or "version" not in own]
    parts: list[Criterion] = [Clause(own["_id"], None, tuple(sorted(ids))), Clause(own["url"], None, tuple(any_))]
    for url, known in versions.items():
        if url not in any_:
            tokens = tuple(Token(None, version) for version in sorted(known))
            parts.append(AllOf((Clause(own["url"], None, (url,)), Clause(own["version"], None, tokens))))
    return AnyOf(tuple(parts))
