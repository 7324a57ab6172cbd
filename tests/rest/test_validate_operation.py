"""$validate at all levels, as a client that wants to know before it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Fhir, Serve

Json = dict[str, Any]
PATIENT: Json = {"resourceType": "Patient", "gender": "female", "birthDate": "1975-01-30"}
WRONG: Json = {"resourceType": "Patient", "gender": "woman", "birthDate": "1975-02-30"}
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def validated(fhir: Fhir, path: str, resource: Any = None, **kwargs: Any) -> list[Json]:
    answer = fhir.post(path, resource, **kwargs) if resource is not None else fhir.get(path, **kwargs)
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    issues: list[Json] = answer.json()["issue"]
    return issues


def of(severity: str, issues: list[Json]) -> list[str]:
    return [each["expression"][0] for each in issues if each["severity"] == severity]


def call(resource: Json | None = None, **values: str) -> Json:
    parameters: list[Json] = [{"name": "resource", "resource": resource}] if resource else []
    parameters += [{"name": "mode", "valueCode": values["mode"]}] if "mode" in values else []
    parameters += [{"name": "profile", "valueUri": values["profile"]}] if "profile" in values else []
    return {"resourceType": "Parameters", "parameter": parameters}


def rules(issues: list[Json]) -> list[tuple[str, str]]:
    """Severity and rule of each issue that has one."""
    return [(each["severity"], each["details"]["coding"][0]["code"]) for each in issues if "details" in each]


@pytest.mark.parametrize("path", ["$validate", "Patient/$validate", "Patient/x/$validate"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_level_takes_the_resource_or_parameters(fhir: Fhir, path: str, wrapped: bool) -> None:
    good, bad = (call(each) if wrapped else each for each in (PATIENT, WRONG))
    assert of("error", validated(fhir, path, good)) == []
    assert of("error", validated(fhir, path, bad)) == ["Patient.gender", "Patient.birthDate"]


def test_what_is_sound_is_answered_with_one_issue_that_says_so(fhir: Fhir) -> None:
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Ada</div>'}
    (issue,) = validated(fhir, "Patient/$validate", PATIENT | {"text": narrative})
    assert (issue["severity"], issue["code"]) == ("information", "informational")


@pytest.mark.parametrize("mode", ["", "?mode=create", "?mode=update"])
@pytest.mark.parametrize(
    ("expression", "sentence"), [("Patient.nme", "no element nme at position 9"), (None, "says by")]
)
def test_a_search_parameter_is_held_to_what_it_could_find(
    fhir: Fhir, mode: str, expression: str | None, sentence: str
) -> None:
    parameter: Json = {
        "resourceType": "SearchParameter",
        "id": "own",
        "url": "http://acme.org/own",
        "name": "own",
        "status": "active",
        "description": "own",
        "code": "own",
        "base": ["Patient"],
        "type": "string",
    }
    bad = parameter | ({"expression": expression} if expression else {})
    found = [each for each in validated(fhir, f"SearchParameter/$validate{mode}", bad) if each["severity"] == "error"]
    assert [each["expression"] for each in found] == [["SearchParameter.expression"]]
    assert sentence in found[0]["diagnostics"]
    for fine in (bad | {"status": "draft"}, parameter | {"expression": "Patient.name.family"}):
        assert of("error", validated(fhir, f"SearchParameter/$validate{mode}", fine)) == []


def test_what_should_be_otherwise_is_a_warning(fhir: Fhir) -> None:
    (issue,) = validated(fhir, "Patient/$validate", PATIENT)
    assert issue["severity"] == "warning"
    assert "dom-6" in str(issue["details"])


def test_the_type_of_the_url_is_that_of_the_resource(fhir: Fhir) -> None:
    (issue,) = validated(fhir, "Observation/$validate", PATIENT)
    assert "the URL says Observation, the resource says Patient" in issue["diagnostics"]
    assert of("error", validated(fhir, "$validate", PATIENT | {"resourceType": "Person"})) == []


def test_what_is_stored_is_validated_where_nothing_is_sent(fhir: Fhir) -> None:
    stored = fhir.create(PATIENT)
    assert of("error", validated(fhir, f"Patient/{stored['id']}/$validate")) == []
    assert fhir.get("Patient/nobody/$validate").status_code == 404
    assert fhir.get("Patient/$validate").status_code == 400
    assert fhir.post("Patient/$validate", call(mode="create")).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Patient/$validate?mode=nonsense", PATIENT),
        ("Patient/$validate?colour=red", PATIENT),
        ("Patient/$validate?mode=delete", None),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "colour", "valueCode": "red"}]}),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": {"name": "resource"}}),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": True}),
        ("Patient/$validate", call(PATIENT) | {"parameter": 2 * call(PATIENT)["parameter"]}),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueCode": ["x"]}]}),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(fhir: Fhir, path: str, body: Json | None) -> None:
    answer = fhir.post(path, body) if body else fhir.get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_parameters_that_are_no_call_are_a_resource(fhir: Fhir) -> None:
    other = {"resourceType": "Parameters", "parameter": [{"name": "colour"}]}
    assert of("error", validated(fhir, "$validate", other)) == ["Parameters.parameter[0]"]


class TestModes:
    def test_what_would_not_be_stored_is_no_good_to_create(self, fhir: Fhir) -> None:
        tag = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
        part = PATIENT | {"meta": {"tag": [tag]}}
        assert of("error", validated(fhir, "Patient/$validate", part)) == []
        assert of("error", validated(fhir, "Patient/$validate?mode=create", part)) == ["Patient.meta.tag"]
        linked = PATIENT | {"managingOrganization": {"reference": "Organization?name=x"}}
        assert of("error", validated(fhir, "Patient/$validate", call(linked, mode="create"))) == [
            "Patient.managingOrganization"
        ]

    def test_an_update_needs_the_id_of_the_url(self, fhir: Fhir) -> None:
        assert of("error", validated(fhir, "Patient/a/$validate?mode=update", PATIENT | {"id": "a"})) == []
        assert of("error", validated(fhir, "Patient/a/$validate?mode=update", PATIENT | {"id": "b"})) == ["Patient.id"]
        assert of("error", validated(fhir, "Patient/$validate?mode=update", PATIENT)) == ["Patient.id"]
        own = {"resourceType": "OperationDefinition", "id": "healthmate-explain", "name": "X", "status": "draft"}
        own |= {"kind": "query", "code": "x", "system": False, "type": False, "instance": False}
        assert "can only be read" in str(validated(fhir, "OperationDefinition/$validate?mode=update", own))

    def test_deleting_is_asked_of_what_is_there(self, serve: Serve) -> None:
        fhir = serve(referential_integrity=True).client
        patient = fhir.create(PATIENT)
        path = f"Patient/{patient['id']}/$validate"
        assert [each["severity"] for each in validated(fhir, path + "?mode=delete")] == ["information"]
        assert validated(fhir, path, call(mode="delete"))[0]["severity"] == "information"
        fhir.create({"resourceType": "Person", "link": [{"target": {"reference": f"Patient/{patient['id']}"}}]})
        (issue,) = validated(fhir, path + "?mode=delete")
        assert (issue["severity"], issue["code"]) == ("error", "conflict")
        assert validated(fhir, "Patient/nobody/$validate?mode=delete")[0]["code"] == "not-found"
        lost = PATIENT | {"managingOrganization": {"reference": "Organization/nowhere"}}
        assert of("error", validated(fhir, "Patient/$validate?mode=create", lost)) == [
            "Patient.managingOrganization.reference"
        ]


MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"


def preferred(issue: Json) -> bool:
    return ("information", "binding") in rules([issue])


class TestBindings:
    """https://hl7.org/fhir/R4/terminologies.html#strength"""

    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ({"coding": [{"system": MARITAL, "code": "M"}]}, []),
            ({"coding": [{"system": MARITAL, "code": "M", "display": "Married"}]}, []),
            ({"coding": [{"system": MARITAL, "code": "M", "display": "Divorced"}]}, [("warning", "display")]),
            ({"coding": [{"system": "http://example.org/own", "code": "M"}]}, [("warning", "binding")]),
            ({"text": "it is complicated"}, [("warning", "binding")]),
            ({"coding": [{"system": MARITAL, "code": "Married"}]}, [("error", "unknown-code")]),
            (
                {"coding": [{"system": "http://example.org/own", "code": "M"}, {"system": MARITAL, "code": "M"}]},
                [],
            ),
        ],
    )
    def test_of_an_extensible_one(self, fhir: Fhir, value: Json, found: list[tuple[str, str]]) -> None:
        issues = validated(fhir, "Patient/$validate", PATIENT | {"maritalStatus": value})
        assert [each for each in rules(issues) if each != ("warning", "invariant")] == found
        assert all("Patient.maritalStatus" in each["expression"] for each in issues if "dom-6" not in str(each))

    def test_of_a_preferred_one(self, fhir: Fhir) -> None:
        other = {"coding": [{"system": "http://example.org/own", "code": "x"}]}
        resource = {"resourceType": "Encounter", "status": "planned", "class": {"system": ACT, "code": "AMB"}}
        stay = {"admitSource": other, "dietPreference": other, "specialCourtesy": [{"text": "flowers"}]}
        (issue,) = [
            each for each in validated(fhir, "$validate", resource | {"hospitalization": stay}) if preferred(each)
        ]
        assert (issue["severity"], issue["expression"]) == ("information", ["Encounter.hospitalization.admitSource"])

    def test_a_code_that_its_system_does_not_have_is_wrong_anywhere(self, fhir: Fhir) -> None:
        resource = {"resourceType": "Encounter", "status": "planned", "class": {"system": ACT, "code": "NOPE"}}
        (issue,) = [each for each in validated(fhir, "$validate", resource) if each["severity"] == "error"]
        assert rules([issue]) == [("error", "unknown-code")]
        assert issue["expression"] == ["Encounter.class"]

    def test_what_is_not_known_here_is_said(self, fhir: Fhir) -> None:
        sequence = {"resourceType": "MolecularSequence", "coordinateSystem": 1}
        kind = {"coding": [{"system": "http://loinc.org", "code": "LA9658-1"}]}
        issues = validated(fhir, "$validate", sequence | {"structureVariant": [{"variantType": kind}]})
        (issue,) = [each for each in issues if "variantType" in str(each.get("expression"))]
        assert issue["severity"] == "warning"
        assert "http://loinc.org/vs/LL379-9" in issue["diagnostics"]

    def test_a_bundle_is_looked_at_to_its_end(self, fhir: Fhir) -> None:
        married = PATIENT | {"maritalStatus": {"text": "it is complicated"}}
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": 150 * [{"resource": married}]}
        bundle["entry"] = [*bundle["entry"], {"resource": WRONG}]
        issues = validated(fhir, "$validate", bundle)
        assert of("error", issues) == ["Bundle.entry[150].resource.gender", "Bundle.entry[150].resource.birthDate"]
        assert len(issues) == 100


class TestPlaces:
    """Line and column of the source text, however it comes."""

    PRETTY = '{\n  "resourceType": "Patient",\n  "gender": "woman"\n}'
    XML = '<Patient xmlns="http://hl7.org/fhir">\n  <gender value="woman"/>\n</Patient>'

    def post(self, fhir: Fhir, path: str, text: str, kind: str = "json") -> list[Json]:
        answer = fhir.post(path, content=text.encode(), headers={"Content-Type": f"application/fhir+{kind}"})
        issues: list[Json] = answer.json()["issue"]
        return [each for each in issues if each["severity"] == "error"]

    @pytest.mark.parametrize("path", ["Patient", "Patient/$validate"])
    def test_of_what_is_written_and_what_is_asked(self, fhir: Fhir, path: str) -> None:
        (issue,) = self.post(fhir, path, self.PRETTY)
        assert issue["location"] == ["line 3, column 3"]
        (issue,) = self.post(fhir, path, self.XML, "xml")
        assert issue["location"] == ["line 2, column 3"]

    def test_of_a_resource_in_parameters(self, fhir: Fhir) -> None:
        text = f'{{"resourceType": "Parameters", "parameter": [\n{{"name": "resource", "resource": {self.PRETTY}}}]}}'
        (issue,) = self.post(fhir, "$validate", text)
        assert (issue["location"], issue["expression"]) == (["line 4, column 3"], ["Patient.gender"])

    @pytest.mark.parametrize("kind", ["batch", "transaction"])
    def test_of_an_entry(self, fhir: Fhir, kind: str) -> None:
        request = '"request": {"method": "POST", "url": "Patient"}'
        entries = [f'{{"resource": {each},\n{request}}}' for each in ('{"resourceType": "Patient"}', self.PRETTY)]
        text = f'{{"resourceType": "Bundle", "type": "{kind}", "entry": [\n{", ".join(entries)}]}}'
        answer = fhir.post("", content=text.encode(), headers={"Content-Type": "application/fhir+json"}).json()
        outcome = answer["entry"][1]["response"]["outcome"] if kind == "batch" else answer
        assert outcome["issue"][0]["location"] == ["line 5, column 3"]
