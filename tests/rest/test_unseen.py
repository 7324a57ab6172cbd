"""What a caller may not see does not exist for it: two worlds that differ in nothing else answer alike.

No caller is restricted yet; here the law of access hides what is labelled as restricted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.access import policy
from fhirserver.context import Caller
from fhirserver.search.criteria import Clause, Negation, Token
from fhirserver.search.parameters import r4_registry
from fhirserver.search.query import Query

if TYPE_CHECKING:
    from conftest import Fhir, Serve

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
PULSE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
URL = "http://example.org/fhir/Questionnaire/"


def resource(name: str, /, **more: Any) -> dict[str, Any]:
    type_, _, id_ = name.partition("/")
    return {"resourceType": type_, "id": id_} | more


def pulse(id_: str, value: int, /, **more: Any) -> dict[str, Any]:
    measured = {"unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min", "value": value}
    more = {"subject": {"reference": "Patient/p"}, "effectiveDateTime": "2026-01-01", "valueQuantity": measured} | more
    return resource(f"Observation/{id_}", status="final", code=PULSE, **more)


def refers(*names: str) -> list[dict[str, Any]]:
    return [{"reference": name} for name in names]


SEEN = [
    resource(
        "Patient/p",
        name=[{"family": "Lovelace"}],
        generalPractitioner=refers("Practitioner/seen", "Practitioner/hidden"),
        link=[{"type": "seealso", "other": {"reference": "Patient/hidden"}}],
    ),
    resource("Practitioner/seen", name=[{"family": "Babbage"}]),
    resource("Patient/q", generalPractitioner=refers("Practitioner/hidden")),
    pulse("o", 60, performer=refers("Practitioner/seen", "Practitioner/hidden")),
    pulse("of-hidden", 61, subject={"reference": "Patient/hidden"}),
    resource(
        "List/l",
        status="current",
        mode="working",
        entry=[{"item": each} for each in refers("Patient/p", "Patient/hidden")],
    ),
    resource("Questionnaire/seen", status="active", url=f"{URL}seen"),
    resource(
        "QuestionnaireResponse/r", status="completed", questionnaire=f"{URL}hidden", subject=refers("Patient/p")[0]
    ),
    resource(
        "DocumentReference/d",
        status="current",
        subject={"reference": "Patient/p"},
        content=[{"attachment": {"url": "Binary/seen"}}, {"attachment": {"url": "Binary/hidden"}}],
    ),
    resource(
        "Binary/seen", contentType="text/plain", data="aGk=", securityContext={"reference": "DocumentReference/d"}
    ),
]
HIDDEN = [
    resource("Patient/hidden", name=[{"family": "Lovelace"}]),
    resource("Practitioner/hidden", name=[{"family": "Zuse"}]),
    pulse("hidden", 200, hasMember=refers("Observation/o")),
    resource("Questionnaire/hidden", status="active", url=f"{URL}hidden"),
    resource("Binary/hidden", contentType="text/plain", data="aGk="),
    resource("QuestionnaireResponse/hidden", status="completed", questionnaire=f"{URL}seen"),
]


def narrow(caller: Caller, query: Query, permission: str = "s") -> Query:
    """As a consent would: what carries the label is not seen."""
    asked = policy_restrict(caller, query, permission)
    label = Clause(r4_registry()[asked.type_]["_security"], None, (Token(None, "R"),))
    return replace(asked, criteria=(*asked.criteria, Negation(label)))


policy_restrict = policy.restrict


@pytest.fixture(scope="module")
def worlds(serve: Serve) -> Iterator[tuple[Fhir, Fhir]]:
    """One with what is hidden, and one without it."""
    whole, seen = (serve(secret="that of both").client for _ in range(2))
    for each in SEEN:
        assert whole.put(f"{each['resourceType']}/{each['id']}", each).status_code == 201
        assert seen.put(f"{each['resourceType']}/{each['id']}", each).status_code == 201
    for each in HIDDEN:
        labelled = each | {"meta": {"security": [LABEL]}}
        assert whole.put(f"{each['resourceType']}/{each['id']}", labelled).status_code == 201
    users = [
        m for n, m in sys.modules.items() if n.startswith("fhirserver.") and m is not policy and hasattr(m, "restrict")
    ]
    with pytest.MonkeyPatch.context() as patch:
        for module in users:
            patch.setattr(module, "restrict", narrow)
        yield whole, seen


def answer(fhir: Fhir, path: str) -> tuple[int, str]:
    """Without what is of this answer alone: its id and times, and where the server listens."""
    found = fhir.get(path)
    text = found.text.replace(fhir.base_url, "http://fhir")
    text = re.sub(r'"lastUpdated":"[^"]*"', "", text)
    return found.status_code, re.sub(r'^\{"resourceType":"Bundle","id":"[^"]*"', "", text)


@pytest.mark.parametrize(
    "path",
    [
        "Patient",
        "Patient?_sort=family",
        "Patient?name=lovelace&_total=accurate&_count=1",
        "Patient?_summary=count",
        "?_type=Patient,Practitioner",
        "Patient/p/Observation",
        "Patient/p/*",
        "Patient?_list=l",
        "Observation?subject:Patient.name=lovelace",
        "Patient?general-practitioner.name=zuse",
        "Patient?_has:Observation:patient:value-quantity=gt100",
        "Observation?_filter=value-quantity gt 100",
        "Patient?_include=Patient:general-practitioner",
        "Patient?_include=Patient:*",
        "Observation?_include=Observation:performer&_include=Observation:subject",
        "Observation?_include=Observation:subject&_include:iterate=Patient:general-practitioner",
        "Patient?_revinclude=Observation:subject",
        "Observation?_id=o&_revinclude=Observation:has-member",
        "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire",
        "Questionnaire?_revinclude=QuestionnaireResponse:questionnaire",
        "Patient/p/$everything",
        "Patient/p/$everything?_type=Practitioner,Binary",
        "Patient/p/$everything?_count=2",
        "Patient/q/$everything",
        "Observation/$lastn?patient=Patient/p",
        "Observation/$stats?subject=Patient/p&code=8867-4&statistic=maximum,count",
        "Observation/$series?patient=Patient/p&code=8867-4",
    ],
)
def test_what_is_hidden_is_not_there(worlds: tuple[Fhir, Fhir], path: str) -> None:
    whole, seen = worlds
    assert answer(whole, path) == answer(seen, path)
    assert "hidden" in whole.get("Practitioner/hidden").text  # it is, for who may see it


def test_what_is_hidden_can_be_seen_without_a_restriction(worlds: tuple[Fhir, Fhir]) -> None:
    """Otherwise the rows above would say nothing."""
    whole, _ = worlds
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("fhirserver.") and module is not policy and hasattr(module, "restrict"):
                patch.setattr(module, "restrict", policy_restrict)
        for path in ("Patient", "Patient?_include=Patient:*", "Patient/q/$everything", "Patient/p/$everything"):
            assert '/hidden","resource"' in whole.get(path).text, path
