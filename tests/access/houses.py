"""Who asks, and what is hidden from them: the worlds of a caller differ in that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from record import OTHERS, OWN, SECRET, SHARED, Resource, code, document, pulse, resource, to

ME = to("Practitioner/me")

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
    "version-1": Asker(PARTS, "patient/Patient.read patient/Encounter.* patient/Practitioner.read", "p"),
}
