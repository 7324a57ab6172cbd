"""A patient's record, what it refers to, and the data of others that must not be seen through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Fhir

Resource = dict[str, Any]
LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
FORM = "http://example.org/fhir/Questionnaire/form"
SECRET = "Zuse"  # in all that is of others


def resource(name: str, /, **more: Any) -> Resource:
    type_, _, id_ = name.partition("/")
    return {"resourceType": type_, "id": id_} | more


def to(name: str) -> dict[str, str]:
    return {"reference": name}


def code(text: str, value: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": value}], "text": text}


def pulse(name: str, patient: str, value: int, category: str = "vital-signs", /, **more: Any) -> Resource:
    measured = {"value": value, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    body = {"status": "final", "code": code("pulse", "8867-4"), "subject": to(f"Patient/{patient}")}
    body |= {"category": [code(category, category, CATEGORY)], "effectiveDateTime": f"2026-01-{value % 28 + 1:02}"}
    return resource(f"Observation/{name}", **(body | {"valueQuantity": measured} | more))


def document(name: str, patient: str, binary: str, title: str) -> Resource:
    attachment = {"url": f"Binary/{binary}", "title": title}
    return resource(
        f"DocumentReference/{name}",
        status="current",
        subject=to(f"Patient/{patient}"),
        content=[{"attachment": attachment}],
    )


def summary(name: str, patient: str, said: str, base: str = "") -> Resource:
    """A document about a patient, here or elsewhere."""
    composition = resource(
        "Composition/c",
        status="final",
        type={"text": said},
        subject=to(f"Patient/{patient}"),
        date="2024-01-01",
        author=[to("Practitioner/doctor")],
        title=said,
    )
    of_patient = resource(f"Patient/{patient}", name=[{"family": said}])
    named = [(f"{base}Composition/c", composition), (f"{base}Patient/{patient}", of_patient)]
    if not base:
        named = [("urn:uuid:0b2c9c1e-7a55-4d2c-8f0e-6a6f3c7f3d11", composition)]
    return resource(
        f"Bundle/{name}",
        type="document",
        identifier={"system": "urn:documents", "value": said},
        timestamp="2024-01-01T00:00:00Z",
        entry=[{"fullUrl": url, "resource": each} for url, each in named],
    )


# What a record names, and is about nobody.
SHARED = [
    resource("Organization/clinic", name="Clinic", partOf=to("Organization/trust")),
    resource("Organization/trust", name="Trust"),
    resource("Practitioner/doctor", name=[{"family": "Babbage"}]),
    resource("Practitioner/nurse", name=[{"family": "Seacole"}]),
    resource("PractitionerRole/role", practitioner=to("Practitioner/nurse"), organization=to("Organization/clinic")),
    resource("Location/ward", name="Ward", partOf=to("Location/house")),
    resource("Location/house", name="House", managingOrganization=to("Organization/trust")),
    resource("Medication/aspirin", code=code("Aspirin", "1191", "http://www.nlm.nih.gov/research/umls/rxnorm")),
    resource("Questionnaire/form", status="active", url=FORM),
]

OWN = [
    resource(
        "Patient/p",
        name=[{"family": "Lovelace"}],
        generalPractitioner=[to("Practitioner/doctor")],
        managingOrganization=to("Organization/clinic"),
    ),
    pulse("old", "p", 59),
    pulse("pulse", "p", 60, performer=[to("PractitionerRole/role")]),
    pulse("lab", "p", 61, "laboratory", hasMember=[to("Observation/pulse")]),
    resource(
        "Condition/cold",
        subject=to("Patient/p"),
        code=code("Cold", "82272006", "http://snomed.info/sct"),
        asserter=to("Practitioner/doctor"),
    ),
    resource(
        "Encounter/visit",
        status="finished",
        subject=to("Patient/p"),
        location=[{"location": to("Location/ward")}],
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
    ),
    resource(
        "MedicationRequest/order",
        status="active",
        intent="order",
        subject=to("Patient/p"),
        medicationReference=to("Medication/aspirin"),
    ),
    document("letter", "p", "letter", "Letter"),
    resource("Binary/letter", contentType="text/plain", data="aGk="),
    document("scan", "p", "scan", "Scan"),
    resource("Binary/scan", contentType="text/plain", data="aGk=", securityContext=to("DocumentReference/scan")),
    resource("Binary/own", contentType="text/plain", data="aGk=", securityContext=to("Patient/p")),
    document("mistaken", "p", "loose", "It names what is secured for somebody else"),
    resource("Device/implant", patient=to("Patient/p"), lotNumber="own"),
    resource("List/list", status="current", mode="working", subject=to("Patient/p"), entry=[{"item": to("Patient/p")}]),
    resource(
        "QuestionnaireResponse/answers",
        status="completed",
        subject=to("Patient/p"),
        questionnaire=FORM,
        author=to("Patient/p"),
    ),
    resource("Group/family", type="person", actual=True, member=[{"entity": to("Patient/p")}]),
    summary("summary", "p", "Summary"),
]

OTHERS = [
    resource("Organization/other", name=SECRET),
    resource("Practitioner/other", name=[{"family": SECRET}]),
    resource("PractitionerRole/other", practitioner=to("Practitioner/doctor"), specialty=[{"text": SECRET}]),
    resource("Location/other", name=SECRET, partOf=to("Location/ward")),
    resource("Medication/other", code={"text": SECRET}, manufacturer=to("Organization/clinic")),
    resource("Questionnaire/other", status="active", url=f"{FORM}-other", title=SECRET),
    resource(
        "Patient/q",
        name=[{"family": SECRET}, {"family": "Lovelace"}],
        generalPractitioner=[to("Practitioner/doctor"), to("Practitioner/other")],
        link=[{"other": to("Patient/p"), "type": "seealso"}],
    ),
    pulse("other", "q", 200, note=[{"text": SECRET}], hasMember=[to("Observation/pulse")]),
    pulse("other-lab", "q", 201, "laboratory", note=[{"text": SECRET}], derivedFrom=[to("Observation/lab")]),
    pulse("focused", "q", 202, note=[{"text": SECRET}], focus=[to("Patient/p")], encounter=to("Encounter/visit")),
    resource("Condition/other", subject=to("Patient/q"), code={"text": SECRET}, encounter=to("Encounter/visit")),
    resource(
        "Encounter/other",
        status="finished",
        subject=to("Patient/q"),
        partOf=to("Encounter/visit"),
        location=[{"location": to("Location/ward")}],
        type=[{"text": SECRET}],
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
    ),
    resource(
        "MedicationRequest/other",
        status="active",
        intent="order",
        subject=to("Patient/q"),
        medicationReference=to("Medication/aspirin"),
        note=[{"text": SECRET}],
        contained=[resource("Medication/inside", code={"text": SECRET})],
        reasonReference=[to("Condition/cold")],
        supportingInformation=[to("#inside")],
    ),
    document("other", "q", "other", SECRET),
    resource("Binary/other", contentType="text/plain", data="WnVzZQ=="),
    resource("Binary/loose", contentType="text/plain", data="WnVzZQ==", securityContext=to("Patient/q")),
    resource("Device/other", patient=to("Patient/q"), lotNumber=SECRET),
    resource(
        "List/other",
        status="current",
        mode="working",
        title=SECRET,
        subject=to("Patient/q"),
        entry=[{"item": to("Observation/pulse")}, {"item": to("Patient/p")}],
    ),
    resource(
        "QuestionnaireResponse/other",
        status="completed",
        subject=to("Patient/q"),
        questionnaire=FORM,
        item=[{"linkId": "1", "answer": [{"valueString": SECRET}]}],
    ),
    resource("Group/others", type="person", actual=True, name=SECRET, member=[{"entity": to("Patient/q")}]),
    resource(
        "Provenance/other",
        target=[to("Observation/pulse"), to("Observation/other")],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"who": {"display": SECRET}}],
    ),
    resource("Basic/other", code={"text": SECRET}, subject=to("Patient/q")),
    resource("Flag/other", status="active", code={"text": SECRET}, subject=to("Patient/q")),
    resource(
        "Consent/foreign",
        status="inactive",
        scope=code("privacy", "patient-privacy", "http://terminology.hl7.org/CodeSystem/consentscope"),
        category=[code("privacy", "59284-0")],
        patient=to("Patient/q"),
        policyRule={"text": SECRET},
        provision={"type": "deny", "data": [{"meaning": "instance", "reference": to("Observation/other")}]},
    ),
    summary("other", "q", SECRET, "http://other.example/"),
    summary("others", "q", SECRET),
    resource("CodeSystem/other", status="active", content="complete", url=f"{FORM}-codes", title=SECRET),
    pulse("other-gone", "q", 203, note=[{"text": SECRET}]),
    pulse("corrected", "q", 204, note=[{"text": SECRET}]),
]


def put(fhir: Fhir, each: Resource) -> None:
    answer = fhir.put(f"{each['resourceType']}/{each['id']}", each)
    assert answer.status_code in (200, 201), answer.text


def fill(fhir: Fhir, *, others: bool, mutated: bool = False) -> None:
    """The record of one patient; with it those of others; and these as they may be at another time."""
    for each in (*SHARED, *OWN):
        put(fhir, each)
    put(fhir, pulse("pulse", "p", 62, performer=[to("PractitionerRole/role")]))
    assert fhir.delete("Observation/old").status_code == 204
    if not others:
        return
    for each in OTHERS:
        put(fhir, each)
    put(fhir, pulse("other", "q", 205, note=[{"text": SECRET}]))
    assert fhir.delete("Observation/other-gone").status_code == 204
    for number in range(7 if mutated else 3):
        put(fhir, pulse(f"more-{number}", "q", 100 + 3 * number, note=[{"text": SECRET}]))
    if mutated:
        for each in OTHERS[:12]:
            put(fhir, each | {"language": "de"})
        for name in ("Flag/other", "Basic/other", "Observation/other"):
            assert fhir.delete(name).status_code == 204
