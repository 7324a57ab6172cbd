"""Which version of a code system an expansion is to use. https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fhirserver.fhir.outcome import invalid
from terminology.canonical import Canonical


class Pins(NamedTuple):
    """Versions by URL: `usual` where a value set names none, `checked` where it may name no other, `forced` always."""

    usual: Mapping[str, str]
    checked: Mapping[str, str]
    forced: Mapping[str, str]

    def pinned(self, system: Canonical) -> Canonical:
        """Raises a 400 Outcome where a value set names another version than it may."""
        url, version = system.url, system.version
        if url in self.forced:
            return system._replace(version=self.forced[url])
        wanted = self.checked.get(url)
        if version is not None and wanted not in (None, version):
            said = f"version {wanted} of code system {url} is to be used, and a value set names {version}"
            raise invalid(said, "check-system-version", code="conflict")
        return system._replace(version=version or wanted or self.usual.get(url))
