"""Who asks, and what is hidden from them: the worlds of a caller differ in that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consent_rules import ACT_CODE, CONFIDENTIALITY, LOINC, SNOMED, coding, consent, deny, permit
from record import OTHERS, OWN, SECRET, SHARED, Resource, code, document, pulse, resource, to

ME = to("Practitioner/me")
FILLER = "filler"  # the client that fills all worlds
HIV = code("HIV", "75622-1")

# A second patient, whom some callers see; to all others they are the same in all worlds.
RELATIVE = [
    resource("Patient/r", name=[{"family": "Byron"}], generalPractitioner=[to("Practitioner/doctor")]),
    pulse("of-r", "r", 70, performer=[to("PractitionerRole/role")]),
]
# Who cares for the first patient, and works at their clinic.
WORKING = [
    resource("Practitioner/me", name=[{"family": "Nightingale"}]),
    resource("PractitionerRole/my", active=True, practitioner=ME, organization=to("Organization/clinic")),
    resource("CareTeam/team", status="active", subject=to("Patient/p"), participant=[{"member": ME}]),
]
# What practitioners see though it is of no patient of theirs: it is about nobody.
ABOUT_NOBODY = {
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Location",
    "Medication",
    "Questionnaire",
    "CodeSystem",
}
# Of the patient, and beyond scopes that are for a part of the record.
BEYOND_SCOPES = [
    *(pulse(f"beyond-{number}", "p", 180 + number, note=[{"text": SECRET}]) for number in range(3)),
    resource("Condition/beyond", subject=to("Patient/p"), code=code(SECRET, "82272006")),
    document("beyond", "p", "own", SECRET),
    resource("Basic/beyond", code={"text": SECRET}, subject=to("Patient/p")),
    resource("List/beyond", status="current", mode="working", subject=to("Patient/p"), title=SECRET),
]


# Of the patient, who keeps it back from those who ask: by code, by type, by labels, and what comes with it.
ASKING = {"actor": ["Practitioner/me", "RelatedPerson/mother", "app"]}
CONSENTS = [
    consent("codes", "p", deny(code=[(LOINC, "75622-1"), (SNOMED, "35489007")], **ASKING)),
    consent("types", "p", deny(class_=["Basic", "Flag"], **ASKING)),
    consent("labels", "p", deny(label="ETH", **ASKING)),
    consent("stays", "p", deny(class_="Consent", action=["correct", "collect"], **ASKING)),
    consent("other", "p", deny(actor="Practitioner/other")),
    consent("filling", "p", permit(label="V", actor=FILLER)),
]
KEPT_BACK = [
    *(pulse(f"kept-{number}", "p", 180 + number, note=[{"text": SECRET}], code=HIV) for number in range(3)),
    pulse("kept-label", "p", 190, note=[{"text": SECRET}], meta={"security": [coding(CONFIDENTIALITY, "V")]}),
    resource("Condition/kept", subject=to("Patient/p"), code=code(SECRET, "35489007", SNOMED)),
    document("kept", "p", "kept", SECRET) | {"meta": {"security": [coding(ACT_CODE, "ETH")]}},
    resource("Binary/kept", contentType="text/plain", data="WnVzZQ=="),
    resource("Basic/kept", code={"text": SECRET}, subject=to("Patient/p")),
    resource("Flag/kept", status="active", code={"text": SECRET}, subject=to("Patient/p")),
]


@dataclass(frozen=True)
class House:
    """`seen` is in all worlds, `hidden` in two of three; it changes in the third."""

    seen: Sequence[Resource]
    hidden: Sequence[Resource]
    settings: Mapping[str, Any] = field(default_factory=dict)


def _apart(resources: Sequence[Resource], *, about_nobody: bool) -> list[Resource]:
    return [each for each in resources if (each["resourceType"] in ABOUT_NOBODY) == about_nobody]


PATIENTS = House([*SHARED, *OWN, *RELATIVE, *WORKING], OTHERS)
PARTS = House([*SHARED, *OWN, *RELATIVE, *WORKING], [*OTHERS, *BEYOND_SCOPES])
_all_see = [*SHARED, *_apart(OTHERS, about_nobody=True), *OWN, *WORKING]
_hidden = [*_apart(OTHERS, about_nobody=False), *RELATIVE]
CARE_TEAM = House(_all_see, _hidden, {"practitioner_access": "care-team"})
# That there are labels in a type is not of anybody.
LABELLED = pulse("labelled", "p", 189, meta={"security": [coding(CONFIDENTIALITY, "V")]})
CONSENTED = House([*_all_see, *CONSENTS, LABELLED], [*_hidden, *KEPT_BACK], {"practitioner_access": "care-team"})
ORGANIZATION = House(_all_see, _hidden, {"practitioner_access": "organization"})


@dataclass(frozen=True)
class Asker:
    """An app with scopes; `patient` is that of its launch, `account` who is logged in."""

    house: House
    scope: str
    patient: str | None = None
    account: Mapping[str, Any] | None = None


ASKERS = {
    "app-of-a-patient": Asker(PATIENTS, "patient/*.cruds launch/patient openid", "p"),
    "patient": Asker(PATIENTS, "user/*.cruds", None, {"roles": ["patient"], "patient": "p"}),
    "proxy-of-two": Asker(PATIENTS, "user/*.cruds", None, {"roles": ["patient"], "proxy_for": ["p", "r"]}),
    "care-team": Asker(CARE_TEAM, "user/*.cruds", None, {"roles": ["practitioner"], "fhir_user": "Practitioner/me"}),
    "organization": Asker(
        ORGANIZATION, "user/*.cruds", None, {"roles": ["practitioner"], "fhir_user": "Practitioner/me"}
    ),
    "criteria": Asker(
        PARTS,
        "patient/Observation.cruds?category=laboratory patient/Patient.rus patient/Encounter.cruds"
        " patient/Practitioner.rs patient/Organization.rs",
        "p",
    ),
    "practitioner-under-consents": Asker(
        CONSENTED, "user/*.cruds", None, {"roles": ["practitioner"], "fhir_user": "Practitioner/me"}
    ),
    "proxy-under-consents": Asker(
        CONSENTED, "user/*.cruds", None, {"roles": ["patient"], "fhir_user": "RelatedPerson/mother", "proxy_for": ["p"]}
    ),
    "app-under-consents": Asker(CONSENTED, "patient/*.cruds launch/patient", "p"),
    "version-1": Asker(PARTS, "patient/Patient.read patient/Encounter.* patient/Practitioner.read", "p"),
}
