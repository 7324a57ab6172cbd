"""Profiles count as soon as they are stored: in $validate, and on writes where the server is set to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
BASE = "http://example.org/StructureDefinition/"
NAMED, CALLED, EYES, HIDDEN = (BASE + name for name in ("named-patient", "called-patient", "eyes", "hidden"))
COLOURS = "http://example.org/ValueSet/colours"
TAGS = "http://example.org/colours"


def definition(name: str, type_: str, elements: list[Json], **more: Any) -> Json:
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": BASE + name,
        "version": "1",
        "name": name.title().replace("-", ""),
        "status": "active",
        "kind": "complex-type" if type_ == "Extension" else "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "derivation": "constraint",
        "differential": {"element": [{"id": each["path"], **each} for each in ({"path": type_}, *elements)]},
        **more,
    }


def named_patient(**name: Any) -> Json:
    return definition("named-patient", "Patient", [{"id": "Patient.name", "path": "Patient.name", **name}])


CALLED_PATIENT = definition(
    "called-patient",
    "Patient",
    [{"id": "Patient.telecom", "path": "Patient.telecom", "min": 1}],
    baseDefinition=NAMED,
)
OF_EYES = definition(
    "eyes",
    "Extension",
    [
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": EYES},
        {
            "id": "Extension.value[x]",
            "path": "Extension.value[x]",
            "min": 1,
            "type": [{"code": "code"}],
            "binding": {"strength": "required", "valueSet": COLOURS},
        },
    ],
    context=[{"type": "element", "expression": "Patient"}],
)
VALUE_SET: Json = {
    "resourceType": "ValueSet",
    "id": "colours",
    "url": COLOURS,
    "status": "active",
    "compose": {"include": [{"system": TAGS, "concept": [{"code": "green"}, {"code": "brown"}]}]},
}


def patient(*profiles: str, **elements: Any) -> Json:
    return {"resourceType": "Patient", **({"meta": {"profile": list(profiles)}} if profiles else {}), **elements}


def eyes(colour: str) -> list[Json]:
    return [{"url": EYES, "valueCode": colour}]


NAME = [{"family": "Lovelace"}]


def issues(fhir: Fhir, resource: Json, query: str = "") -> list[tuple[str, str, str]]:
    """Severity, rule and place, but for what base rules recommend."""
    answer = fhir.post(f"{resource['resourceType']}/$validate{query}", resource)
    assert answer.status_code == 200, answer.text
    found = []
    for each in answer.json()["issue"]:
        codings = {
            coding["system"].rpartition(":")[2]: coding["code"] for coding in each.get("details", {}).get("coding", ())
        }
        if codings.get("constraint") != "dom-6" and codings:
            found.append((each["severity"], codings["rule"], each["expression"][0]))
    return found


@pytest.fixture(scope="module")
def strict(serve: Serve) -> Fhir:
    """A server where profiles count on writes."""
    fhir = serve(validation="profiles").client
    for each in (named_patient(min=1), CALLED_PATIENT, OF_EYES, VALUE_SET):
        assert fhir.put(f"{each['resourceType']}/{each['id']}", each).status_code == 201
    return fhir


def test_what_a_profile_asks_counts_with_the_next_request(fhir: Fhir) -> None:
    assert issues(fhir, patient(NAMED)) == [("warning", "profile-unknown", "Patient.meta.profile[0]")]
    fhir.put("StructureDefinition/named-patient", named_patient(min=1))
    assert issues(fhir, patient(NAMED)) == [("error", "cardinality-min", "Patient.name")]
    fhir.put("StructureDefinition/named-patient", named_patient(max="0"))
    assert issues(fhir, patient(NAMED)) == []
    assert issues(fhir, patient(NAMED, name=NAME)) == [("error", "cardinality-max", "Patient.name")]
    fhir.delete("StructureDefinition/named-patient")
    assert issues(fhir, patient(NAMED)) == [("warning", "profile-unknown", "Patient.meta.profile[0]")]
    assert issues(fhir, patient(f"{NAMED}|1")) == [("warning", "profile-unknown", "Patient.meta.profile[0]")]


def test_a_profile_is_asked_by_name(strict: Fhir) -> None:
    assert issues(strict, patient(), f"?profile={NAMED}") == [("error", "cardinality-min", "Patient.name")]
    assert issues(strict, patient(name=NAME), f"?mode=profile&profile={NAMED}|1") == []
    parameters = [
        {"name": "resource", "resource": patient()},
        {"name": "profile", "valueUri": NAMED},
        {"name": "mode", "valueCode": "profile"},
    ]
    answer = strict.post("Patient/$validate", {"resourceType": "Parameters", "parameter": parameters}).json()
    assert answer["issue"][0]["expression"] == ["Patient.name"]
    refused = strict.post(f"Patient/$validate?profile={NAMED}|9", patient())
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (404, "not-found")
    assert strict.post("Patient/$validate?mode=profile", patient()).status_code == 400


def test_the_issue_names_the_profile(strict: Fhir) -> None:
    (issue, *_) = strict.post(f"Patient/$validate?profile={NAMED}", patient()).json()["issue"]
    assert {"system": "urn:healthmate:profile", "code": NAMED} in issue["details"]["coding"]


def test_a_profile_that_derives_from_another_follows_it(fhir: Fhir) -> None:
    fhir.put("StructureDefinition/called-patient", CALLED_PATIENT)
    fhir.put("StructureDefinition/named-patient", named_patient(min=1))
    both = [("error", "cardinality-min", "Patient.name"), ("error", "cardinality-min", "Patient.telecom")]
    assert sorted(issues(fhir, patient(CALLED))) == both
    fhir.put("StructureDefinition/named-patient", named_patient(min=0))
    assert issues(fhir, patient(CALLED)) == both[1:]


def test_the_capability_statement_lists_them(serve: Serve) -> None:
    fhir = serve().client

    def listed() -> list[str]:
        resources = fhir.get("metadata").json()["rest"][0]["resource"]
        profiles: list[str] = next(each for each in resources if each["type"] == "Patient").get("supportedProfile", [])
        return profiles

    assert listed() == []
    for each in (named_patient(min=1), CALLED_PATIENT, OF_EYES):
        fhir.put(f"StructureDefinition/{each['id']}", each)
    assert listed() == [CALLED, NAMED]
    fhir.put("StructureDefinition/called-patient", CALLED_PATIENT | {"status": "retired"})
    assert listed() == [NAMED]


def test_another_server_of_the_database_is_told(serve: Serve) -> None:
    one = serve()
    other = serve(database=one.settings.database).client
    assert issues(other, patient(NAMED)) == [("warning", "profile-unknown", "Patient.meta.profile[0]")]
    one.client.put("StructureDefinition/named-patient", named_patient(min=1))
    for _ in range(100):
        if issues(other, patient(NAMED)) == [("error", "cardinality-min", "Patient.name")]:
            return
        time.sleep(0.05)
    pytest.fail("it still does not know the profile")


def test_of_several_versions_the_latest_counts(fhir: Fhir) -> None:
    for version, least in (("1.9", 0), ("1.10", 1)):
        one = definition("aged", "Patient", [{"path": "Patient.birthDate", "min": least}], version=version)
        fhir.put(f"StructureDefinition/aged-{version}", one | {"id": f"aged-{version}"})
    assert issues(fhir, patient(BASE + "aged")) == [("error", "cardinality-min", "Patient.birthDate")]
    assert issues(fhir, patient(BASE + "aged|1.9")) == []


@pytest.mark.parametrize(
    ("extension", "found"),
    [
        (eyes("green"), []),
        (eyes("red"), [("error", "binding", "Patient.extension[0].value")]),
        ([{"url": EYES, "valueString": "green"}], [("error", "type", "Patient.extension[0].value")]),
        ([{"url": HIDDEN, "valueString": "x"}], [("information", "extension-unknown", "Patient.extension[0].url")]),
        (
            [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                    "valueDateTime": "1974-12-25T14:35:45Z",
                }
            ],
            [("error", "extension-context", "Patient.extension[0]")],
        ),
    ],
)
def test_extensions_are_checked_by_their_definitions(
    strict: Fhir, extension: list[Json], found: list[tuple[str, str, str]]
) -> None:
    assert issues(strict, patient(extension=extension)) == found


class TestWrites:
    def test_what_breaks_a_profile_is_refused(self, strict: Fhir, fhir: Fhir) -> None:
        answer = strict.post("Patient", patient(NAMED))
        assert answer.status_code == 422
        (issue,) = answer.json()["issue"]
        assert (issue["expression"], issue["location"]) == (["Patient.name"], ["line 1, column 1"])
        assert strict.post("Patient", patient(NAMED, name=NAME)).status_code == 201
        fhir.put("StructureDefinition/named-patient", named_patient(min=1))
        assert fhir.post("Patient", patient(NAMED)).status_code == 201, "profiles do not count there"

    def test_what_is_not_known_refuses_nothing(self, strict: Fhir) -> None:
        hidden = [{"url": HIDDEN, "valueString": "x"}]
        assert strict.post("Patient", patient(BASE + "nowhere", extension=hidden)).status_code == 201

    def test_every_way_to_write(self, strict: Fhir) -> None:
        good = strict.create(patient(NAMED, name=NAME))
        path = f"Patient/{good['id']}"
        bad = {key: value for key, value in good.items() if key != "name"}
        assert strict.put(path, bad).status_code == 422
        assert strict.patch(path, [{"op": "remove", "path": "/name"}]).status_code == 422
        assert strict.put("Patient?family=Lovelace-x", patient(NAMED)).status_code == 422
        assert strict.patch("Patient?_id=" + good["id"], [{"op": "remove", "path": "/name"}]).status_code == 422
        entries = [
            ({"method": "POST", "url": "Patient"}, patient(NAMED)),
            ({"method": "PUT", "url": path}, bad),
        ]
        for request, resource in entries:
            entry = {"request": request, "resource": resource}
            for kind in ("batch", "transaction"):
                answer = strict.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
                outcome = answer.json() if kind == "transaction" else answer.json()["entry"][0]["response"]["outcome"]
                assert outcome["issue"][0]["expression"] == ["Bundle.entry[0].resource.name"]
        assert strict.get(path).json() == good

    def test_the_codes_of_extensions(self, strict: Fhir) -> None:
        assert strict.post("Patient", patient(extension=eyes("brown"))).status_code == 201
        answer = strict.post("Patient", patient(extension=eyes("blue")))
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "code-invalid")


def test_a_type_can_be_required_to_keep_a_profile(serve: Serve) -> None:
    required = (f"Patient={NAMED}", f"Person={BASE}tall", f"Person={BASE}old")
    fhir = serve(validation="profiles", required_profiles=required).client
    answer = fhir.post("Patient", patient(name=NAME))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (422, "not-found"), "it is not loaded yet"
    fhir.put("StructureDefinition/named-patient", named_patient(min=1))
    assert fhir.post("Patient", patient(name=NAME)).status_code == 201
    assert fhir.post("Patient", patient()).status_code == 422
    for name, element in (("tall", "photo"), ("old", "birthDate")):
        one = definition(name, "Person", [{"path": f"Person.{element}", "min": 1}])
        fhir.put(f"StructureDefinition/{name}", one)
    assert fhir.post("Person", {"resourceType": "Person", "birthDate": "1900"}).status_code == 201
    refused = fhir.post("Person", {"resourceType": "Person", "gender": "male"})
    assert [each.get("details", {}).get("coding", [{}])[0].get("code") for each in refused.json()["issue"]] == [
        "profile-required",
        "cardinality-min",
    ]
    assert fhir.post("Organization", {"resourceType": "Organization", "name": "x"}).status_code == 201


def test_without_validation_what_can_be_read_is_stored(serve: Serve) -> None:
    fhir = serve(validation="off").client
    observation = {"resourceType": "Observation", "status": "whatever", "subject": {"reference": "Medication/1"}}
    stored = fhir.create(observation)
    assert fhir.ids("Observation?status=whatever") == [stored["id"]]
    assert fhir.get(f"Observation/{stored['id']}", headers={"Accept": "application/fhir+xml"}).status_code == 200
    assert fhir.post("Observation", observation | {"status": 5}).status_code == 400
    assert fhir.post("Observation", observation | {"statsu": "final"}).status_code == 400
    assert fhir.post("StructureDefinition", {"resourceType": "StructureDefinition"}).status_code == 400
    assert fhir.post("Observation/$validate", observation).json()["issue"][0]["severity"] == "error"


def test_languages_are_known_by_how_they_are_written(strict: Fhir) -> None:
    binding = {"strength": "required", "valueSet": "http://hl7.org/fhir/ValueSet/all-languages"}
    element = [{"path": "Patient.communication"}, {"path": "Patient.communication.language", "binding": binding}]
    strict.put("StructureDefinition/speaking", definition("speaking", "Patient", element))
    for system, code, found in (
        ("urn:ietf:bcp:47", "nl-BE", []),
        ("urn:ietf:bcp:47", "nl_BE", [("error", "binding", "Patient.communication[0].language")]),
        ("urn:x", "nl-BE", [("error", "binding", "Patient.communication[0].language")]),
    ):
        spoken = [{"language": {"coding": [{"system": system, "code": code}]}}]
        speaking = patient(BASE + "speaking", communication=spoken)
        assert [each for each in issues(strict, speaking) if each[0] != "information"] == found


def test_a_code_of_a_system_that_is_not_here_is_not_refused(strict: Fhir) -> None:
    """Which system a bare code is of depends on all the systems of its value set."""
    element = [{"path": "Patient.communication.preferred", "min": 0}, {"path": "Patient.language"}]
    element[1]["binding"] = {"strength": "required", "valueSet": "http://example.org/ValueSet/tongues"}
    strict.put("StructureDefinition/spoken", definition("spoken", "Patient", element))
    filtered = {"system": "http://example.org/tongues", "filter": [{"property": "x", "op": "=", "value": "y"}]}
    tongues = VALUE_SET | {"id": "tongues", "url": "http://example.org/ValueSet/tongues"}
    for include in (filtered, {"valueSet": ["http://example.org/ValueSet/nowhere"]}):
        assert strict.put("ValueSet/tongues", tongues | {"compose": {"include": [include]}}).status_code < 300
        found = issues(strict, patient(BASE + "spoken", language="de"))
        assert ("warning", "binding-unknown", "Patient.language") in found
        assert strict.post("Patient", patient(BASE + "spoken", language="de")).status_code == 201
