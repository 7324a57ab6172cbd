"""Records, and all kinds of people and services that ask for them, for tables and laws of consents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from brief import briefly
from consent_rules import ACT_CODE, CONFIDENTIALITY, LOINC, SNOMED, coding
from naive_consents import Who
from record import code, pulse, resource, to
from seam import person, service

from fhirserver.assembly import contexts
from fhirserver.store import emergencies

if TYPE_CHECKING:
    from conftest import Fhir, Serve, Served
    from seam import Apps

Json = dict[str, Any]

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
DOCTOR = to("Practitioner/doctor")
PROFILE = "http://example.org/fhir/StructureDefinition/private"
HIV, METHADONE, PULSE = (LOINC, "75622-1"), ("http://www.nlm.nih.gov/research/umls/rxnorm", "6813"), (LOINC, "8867-4")


def labelled(*labels: Json) -> Json:
    return {"security": [*labels]}


def gallery(p: str) -> dict[str, Json]:
    """What is in each record, by a letter. `{p}` is the patient's id."""
    about = {"subject": to(f"Patient/{p}")}
    return {
        "p": resource(f"Patient/{p}", generalPractitioner=[to("Practitioner/doctor")]),
        "o": pulse(f"{p}-o", p, 14, performer=[to("Practitioner/doctor")]),
        "h": resource(
            f"Observation/{p}-h",
            status="final",
            code=code("HIV", HIV[1]),
            effectiveDateTime="2025-06-01",
            meta=labelled(coding(ACT_CODE, "HIV")),
            derivedFrom=[to(f"Observation/{p}-o")],
            **about,
        ),
        "r": resource(
            f"Condition/{p}-r",
            code=code("Depression", "35489007", SNOMED),
            onsetDateTime="2024-05-05",
            asserter=to("Practitioner/nurse"),
            meta=labelled(coding(CONFIDENTIALITY, "R"), coding(ACT_CODE, "PSY")),
            **about,
        ),
        "v": resource(
            f"Condition/{p}-v",
            code=code("Abuse", "397940009", SNOMED),
            onsetDateTime="2026-02-02",
            meta=labelled(coding(CONFIDENTIALITY, "V")),
            **about,
        ),
        "m": resource(
            f"MedicationRequest/{p}-m",
            status="active",
            intent="order",
            authoredOn="2026-03-03",
            contained=[resource("Medication/inside", code=code("Methadone", METHADONE[1], METHADONE[0]))],
            medicationReference=to("#inside"),
            requester=to("Practitioner/nurse"),
            meta={"profile": [PROFILE]},
            **about,
        ),
    }


ALL, OPEN, CARED = "pohrvm", "pohm", "pohrm"  # everything; without what is labelled; what those see who care
# who → what it sees of a record of which no consent says anything
CALLERS = {
    "doctor": CARED,  # cares for everybody
    "nurse": OPEN,  # works at the clinic, and cares for nobody
    "admin": CARED,
    "proxy": OPEN,
    "service": OPEN,
    "study": OPEN,  # a service that is registered for research
    "rescuer": ALL,  # a practitioner who opened every record in an emergency
}


STAFF = [
    resource("Organization/clinic", name="Clinic"),
    resource("Organization/before", name="Before"),
    *(resource(f"Practitioner/{each}", name=[{"family": each}]) for each in ("doctor", "nurse", "rescuer", "other")),
    resource(
        "PractitionerRole/nurse",
        active=True,
        practitioner=to("Practitioner/nurse"),
        organization=to("Organization/clinic"),
    ),
    resource(
        "PractitionerRole/past",
        active=False,
        practitioner=to("Practitioner/nurse"),
        organization=to("Organization/before"),
    ),
    resource(
        "CareTeam/ward",
        status="active",
        participant=[{"member": to("Practitioner/doctor")}, {"member": to("Organization/clinic")}],
    ),
    resource(
        "PractitionerRole/ended",
        practitioner=to("Practitioner/nurse"),
        organization=to("Organization/before"),
        period={"end": "2021"},
    ),
    resource("CareTeam/ended", status="active", period={"end": "2021"}, participant=[{"member": DOCTOR}]),
    resource("CareTeam/left", status="active", participant=[{"member": DOCTOR, "period": {"end": "2021"}}]),
    resource("CareTeam/staying", status="active", participant=[{"member": DOCTOR, "period": {"end": "2999"}}]),
    resource(
        "Group/ended",
        type="practitioner",
        actual=True,
        member=[{"entity": DOCTOR, "period": {"end": "2021"}}],
    ),
    resource("CareTeam/over", status="inactive", participant=[{"member": to("Practitioner/doctor")}]),
    resource(
        "Group/left",
        type="practitioner",
        actual=True,
        member=[{"entity": to("Practitioner/doctor"), "inactive": True}],
    ),
    resource(
        "Group/before",
        type="practitioner",
        actual=True,
        active=False,
        member=[{"entity": to("Practitioner/doctor")}],
    ),
    resource("Group/staff", type="practitioner", actual=True, member=[{"entity": to("Practitioner/doctor")}]),
]


class House(NamedTuple):
    """A served record, the client of a server that is open, and apps of those who ask."""

    served: Served
    open: Fhir
    callers: Mapping[str, Fhir]


def store(fhir: Fhir, resources: Sequence[Json]) -> None:
    for at in range(0, len(resources), 200):
        entries = [
            {"request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}, "resource": each}
            for each in resources[at : at + 200]
        ]
        answer = fhir.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
        failed = [each for each in answer.json()["entry"] if each["response"]["status"][:3] not in ("200", "201")]
        assert not failed, failed[:2]


def opened(served: Served, account: str, patients: Sequence[str]) -> None:
    """Records are open in an emergency, as $break-glass opens them."""

    async def story() -> None:
        async with contexts(served.settings) as found:
            for patient in patients:
                await emergencies.begin(found[""].store, account, patient, NOW + DAY)

    briefly(story())


def housed(serve: Serve, apps: Apps, resources: Sequence[Json], patients: Sequence[str]) -> House:
    """A server that was started after all these were stored."""
    filling = serve()
    store(filling.client, [*STAFF, *resources])
    served = serve(open=False, database=filling.settings.database)
    practitioners = ("doctor", "nurse", "rescuer")
    people = {
        each: person(served, each, roles=["practitioner"], fhir_user=f"Practitioner/{each}") for each in practitioners
    }
    people["admin"] = person(served, "admin", roles=["admin"])
    people["proxy"] = person(served, "proxy", roles=["patient"], fhir_user="RelatedPerson/mother", proxy_for=patients)
    service(served, "study", "HRESCH")
    opened(served, people["rescuer"], patients)
    callers = {each: apps(served, "user/*.cruds", user=id_) for each, id_ in people.items()}
    callers |= {each: apps(served, "system/*.cruds", client=each) for each in ("service", "study")}
    return House(served, filling.client, callers)


def found(fhir: Fhir) -> dict[str, set[str]]:
    """What a caller finds by searches, by patient."""
    seen: dict[str, set[str]] = {}
    ids = [(id_, "p") for id_ in fhir.ids("Patient?_count=500")]
    for type_ in ("Observation", "Condition", "MedicationRequest"):
        ids += [tuple(id_.rsplit("-", 1)) for id_ in fhir.ids(f"{type_}?_count=1000")]
    for patient, letter in ids:
        seen.setdefault(patient, set()).add(letter)
    return seen


def who(*names: str, purposes: str = "") -> Who:
    return Who(names=frozenset(names), purposes=frozenset(purposes.split()))


TEAMS = ("CareTeam/staying", "CareTeam/ward", "Group/staff")
CLINIC = ("PractitionerRole/nurse", "Organization/clinic", "CareTeam/ward")
NAIVE: Mapping[str, Callable[[frozenset[str]], Who]] = {
    "doctor": lambda all_: who(*TEAMS, "Practitioner/doctor", purposes="TREAT")._replace(cares=all_),
    "nurse": lambda all_: who("Practitioner/nurse", *CLINIC, purposes="TREAT"),
    "rescuer": lambda all_: who("Practitioner/rescuer", purposes="TREAT")._replace(emergencies=all_),
    "admin": lambda all_: who(purposes="HSYSADMIN")._replace(admin=True),
    "proxy": lambda all_: who("RelatedPerson/mother")._replace(proxies=all_),
    "service": lambda all_: who("service"),
    "study": lambda all_: who("study", purposes="HRESCH"),
}
