"""What the terminology service of this server knows, and how it can be asked: TerminologyCapabilities.

https://hl7.org/fhir/R4/terminologycapabilities.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

from fhirserver.access.policy import knows
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.units import UCUM
from fhirserver.interactions.terminology import known_systems
from terminology.canonical import Candidate, Canonical, latest
from terminology.expansions import PARAMETERS
from terminology.published import published_versions

DATE = "2026-11-26"
TEXT_FILTER = (
    "The beginnings of words, in any order and case, in the code, its display or a designation. Best first: the same"
    " text, then what begins with it, then the rest, short names before long ones."
)


class Version(NamedTuple):
    code: str | None
    default: bool


async def terminology_capabilities(ctx: Context) -> bytes:
    """What is stored is told to those who may use it; what R4 publishes, to everyone."""
    stored = await known_systems(ctx) if knows(ctx.caller) else []
    statement: dict[str, Any] = {
        "resourceType": "TerminologyCapabilities",
        "url": f"{ctx.base_url}/metadata?mode=terminology",
        "version": version("healthmate"),
        "name": "HealthMateTerminology",
        "title": "HealthMate terminology service",
        "status": "active",
        "date": DATE,
        "publisher": "HealthMate",
        "kind": "instance",
        "software": {"name": "HealthMate", "version": version("healthmate")},
        "implementation": {"description": "HealthMate FHIR R4 server", "url": ctx.base_url},
        "codeSystem": [_code_system(url, each) for url, each in sorted(_systems(stored).items())],
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": name, "documentation": said} for name, said in PARAMETERS.items()],
            "textFilter": TEXT_FILTER,
        },
        "codeSearch": "explicit",
        "validateCode": {"translations": False},
        "translation": {"needsMap": True},
        "closure": {"translation": False},
    }
    return json.encode(statement)


def _systems(stored: Iterable[Candidate]) -> dict[str, list[Version]]:
    """By URL, with the version that is meant where none is named. What is stored comes before what is published."""
    found: dict[str, list[Version]] = {url: [Version(code, True)] for url, code in published_versions().items()}
    by_url: dict[str, list[Candidate]] = {}
    for each in stored:
        by_url.setdefault(each.url, []).append(each)
    return found | {url: [*_versions(url, candidates)] for url, candidates in by_url.items()}


def _versions(url: str, candidates: list[Candidate]) -> Iterator[Version]:
    releases = [each for each in candidates if each.release]
    whole = [each for each in candidates if each.whole and not each.release]
    usual = latest(Canonical("CodeSystem", url), whole) or (releases or candidates)[0]
    for code in dict.fromkeys(each.version for each in candidates):
        yield Version(code or None, code == usual.version)


def _code_system(url: str, versions: Iterable[Version]) -> dict[str, Any]:
    grammar = {"compositional": True} if url == UCUM else {}
    said = [{"code": each.code, "isDefault": each.default} | grammar for each in versions if each.code is not None]
    return {"uri": url, **({"version": said} if said else {})}
