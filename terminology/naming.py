"""One code system under several names: its URL, its OID. https://hl7.org/fhir/R4/namingsystem.html"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from terminology.canonical import Canonical

Json = Mapping[str, Any]
URNS = {"oid": "urn:oid:", "uuid": "urn:uuid:"}

# https://hl7.org/fhir/R4/terminologies-systems.html, beyond those that the published code systems say themselves
OIDS = {
    "1.0.3166.1.2.2": "urn:iso:std:iso:3166",
    "2.16.840.1.113883.3.26.1.1": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "2.16.840.1.113883.3.26.1.5": "http://hl7.org/fhir/ndfrt",
    "2.16.840.1.113883.4.9": "http://fdasis.nlm.nih.gov",
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "2.16.840.1.113883.6.101": "http://nucc.org/provider-taxonomy",
    "2.16.840.1.113883.6.103": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.12": "http://www.ama-assn.org/go/cpt",
    "2.16.840.1.113883.6.139": "http://hl7.org/fhir/sid/icpc-2",
    "2.16.840.1.113883.6.24": "urn:iso:std:iso:11073:10101",
    "2.16.840.1.113883.6.281": "http://www.genenames.org",
    "2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "2.16.840.1.113883.6.69": "http://hl7.org/fhir/sid/ndc",
    "2.16.840.1.113883.6.73": "http://www.whocc.no/atc",
    "2.16.840.1.113883.6.8": "http://unitsofmeasure.org",
    "2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "2.16.840.1.113883.12.292": "http://hl7.org/fhir/sid/cvx",
}


class Name(NamedTuple):
    """`type` is oid, uuid, uri or other; an OID or UUID is written as itself, without `urn:oid:`."""

    type: str
    value: str
    preferred: bool = False


def plain(identifier: str) -> str:
    """An OID or UUID as itself."""
    for urn in URNS.values():
        identifier = identifier.removeprefix(urn)
    return identifier


class NamingSystem:
    """Taken apart once, and never changed."""

    size = 1

    def __init__(self, resource: Json) -> None:
        self.name: str = resource.get("name", "")
        self.kind: str = resource.get("kind", "")
        self.names = tuple(
            [
                Name(each.get("type", "other"), plain(each["value"]), each.get("preferred") is True)
                for each in resource.get("uniqueId", ())
                if "value" in each
            ]
        )

    def needs(self) -> Iterator[Canonical]:
        """Nothing by itself: `service` looks for the code system in the version that is asked for."""
        yield from ()

    def called(self, type_: str) -> str | None:
        """Its name of a type, the preferred one first."""
        of_type = [each for each in self.names if each.type == type_]
        chosen = next((each for each in of_type if each.preferred), of_type[0] if of_type else None)
        return None if chosen is None else chosen.value

    @property
    def forms(self) -> frozenset[str]:
        """All of its names as a coding may have them."""
        return frozenset(URNS.get(each.type, "") + each.value for each in self.names)

    @property
    def url(self) -> str | None:
        """What a code system is called in codings."""
        if (uri := self.called("uri")) is not None:
            return uri
        for type_, urn in URNS.items():
            if (found := self.called(type_)) is not None:
                return urn + found
        return None
