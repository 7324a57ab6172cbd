"""Who sees what of whom under which consents: a table of decisions, each by read and by search, and both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from consent_house import (
    ALL,
    CALLERS,
    DAY,
    HIV,
    METHADONE,
    NAIVE,
    NOW,
    PROFILE,
    PULSE,
    House,
    found,
    gallery,
    housed,
)
from consent_rules import ACT_CODE, LOINC, SCOPE, SNOMED, coding, concept, consent, deny, permit, said
from naive_consents import sees

if TYPE_CHECKING:
    from conftest import Serve
    from seam import Apps

Json = dict[str, Any]

YESTERDAY, TODAY, TOMORROW = ((NOW + DAY * each).date().isoformat() for each in (-1, 0, 1))
LAST_YEAR = (NOW - 365 * DAY).date().isoformat()


class Case(NamedTuple):
    """Consents of one patient, and what others see: `seen` where it is not what they see without."""

    name: str
    provisions: Sequence[Json | None]
    seen: Mapping[str, str]
    more: Mapping[str, Any] = {}


def all_but(letters: str, *spared: str, lifted: bool = True) -> dict[str, str]:
    """What everybody sees without these, but those who are spared; `lifted`: and but in an emergency."""
    also = ("rescuer",) if lifted else ()
    return {
        who: "".join(each for each in seen if each not in letters)
        for who, seen in CALLERS.items()
        if who not in (*spared, *also)
    }


def only(letters: str, *who: str) -> dict[str, str]:
    """The same for these, and nobody else."""
    return {each: "".join(one for one in CALLERS[each] if one not in letters) for each in who}


def more(letters: str, *who: str) -> dict[str, str]:
    return {each: "".join(one for one in ALL if one in CALLERS[each] or one in letters) for each in who}


OUT = {"policyRule": concept(ACT_CODE, "OPTOUT")}
RULES: tuple[Case, ...] = (
    Case("none", [], {}),
    Case("deny all", [deny()], all_but(ALL)),
    Case("permit all", [permit()], {}),
    Case("the policy denies", [None], all_but(ALL), {"policyRule": concept(ACT_CODE, "OPTOUT")}),
    Case("the policy permits", [None], {}),
    Case(
        "the policy denies with exceptions",
        [said(None, permit(actor="Practitioner/nurse"))],
        all_but(ALL, "nurse"),
        {"policyRule": concept(ACT_CODE, "OPTOUTE")},
    ),
    Case("opted out but for one", [permit(actor="Practitioner/nurse")], all_but(ALL, "nurse"), OUT),
    Case("opted out of all, and of some", [deny(class_="Observation")], all_but(ALL), OUT),
    Case("opted out of some for others", [deny(permit(actor="study"), class_="Observation")],
         all_but(ALL, "study") | only("prvm", "study"), OUT),
    Case("opted out, and in again", [permit()], {}, OUT),
    Case("opted out until yesterday", [said(None, period=[LAST_YEAR, YESTERDAY])], {}, OUT),
    Case("opted out until tomorrow", [said(None, period=[LAST_YEAR, TOMORROW])], all_but(ALL), OUT),
    Case("opted out but for one, until yesterday",
         [permit(actor="Practitioner/nurse", period=[LAST_YEAR, YESTERDAY])], all_but(ALL), OUT),
    Case("opted out but for one, until tomorrow",
         [permit(actor="Practitioner/nurse", period=[LAST_YEAR, TOMORROW])], all_but(ALL, "nurse"), OUT),
    Case("opted out, an exception that does not say so", [said(None, actor="Practitioner/nurse")],
         all_but(ALL, "nurse"), OUT),
    Case("opted in, an exception that does not say so", [said(None, actor="Practitioner/nurse")], only(ALL, "nurse")),
    Case("opted in, an exception in one that does not say so",
         [said(None, permit(code=HIV), actor="Practitioner/nurse")], only("porvm", "nurse")),
    Case("opted in for a time", [said(None, deny(code=HIV), period=[LAST_YEAR, TOMORROW])], all_but("h")),
    Case("for emergencies only", [None], all_but(ALL), {"policyRule": concept(ACT_CODE, "EMRGONLY")}),
    Case("opted out in other words", [None], all_but(ALL), {"policyRule": concept("urn:oid:2.16.840.1.1", "OptOut")}),
    Case("a policy that nobody knows", [None], {}, {"policyRule": concept(ACT_CODE, "SOMETHING")}),
    Case("opted out of research", [deny(class_="Condition")], all_but("rv"),
         OUT | {"scope": concept(SCOPE, "research")}),
    Case("inactive", [deny()], {}, {"status": "inactive"}),
    Case("draft", [deny()], {}, {"status": "draft"}),
    Case("proposed", [deny()], {}, {"status": "proposed"}),
    Case("rejected", [deny()], {}, {"status": "rejected"}),
    Case("entered in error", [deny()], {}, {"status": "entered-in-error"}),
    Case("research without data", [deny()], {}, {"scope": concept(SCOPE, "research")}),
    Case("a treatment refused", [deny(code=PULSE)], {}, {"scope": concept(SCOPE, "treatment")}),
    Case("research about data", [deny(class_="Observation")], all_but("oh"), {"scope": concept(SCOPE, "research")}),
    # actors
    Case("deny the nurse", [deny(actor="Practitioner/nurse")], only(ALL, "nurse")),
    Case("deny two", [deny(actor=["Practitioner/nurse", "Practitioner/doctor"])], only(ALL, "nurse", "doctor")),
    Case("deny somebody else", [deny(actor="Practitioner/other")], {}),
    Case("deny somebody elsewhere", [deny(actor="https://elsewhere.example/Practitioner/nurse")], {}),
    Case("deny a role", [deny(actor="PractitionerRole/nurse")], only(ALL, "nurse")),
    Case("deny a past role", [deny(actor="PractitionerRole/past")], {}),
    Case("deny an organization", [deny(actor="Organization/clinic")], only(ALL, "nurse")),
    Case("deny an organization of before", [deny(actor="Organization/before")], {}),
    Case("deny a team", [deny(actor="CareTeam/ward")], only(ALL, "doctor", "nurse")),
    Case("deny a team of before", [deny(actor="CareTeam/over")], {}),
    Case("deny a group", [deny(actor="Group/staff")], only(ALL, "doctor")),
    Case("deny a group that somebody left", [deny(actor="Group/left")], {}),
    Case("deny a team that is over", [deny(actor="CareTeam/ended")], {}),
    Case("deny a team that somebody left", [deny(actor="CareTeam/left")], {}),
    Case("deny a team that somebody stays in", [deny(actor="CareTeam/staying")], only(ALL, "doctor")),
    Case("deny a group that somebody was in for a time", [deny(actor="Group/ended")], {}),
    Case("deny a group of before", [deny(actor="Group/before")], {}),
    Case("permit a group that somebody left", [deny(permit(actor="Group/left"))], all_but(ALL)),
    Case("deny a proxy", [deny(actor="RelatedPerson/mother")], only(ALL, "proxy")),
    Case("deny a service", [deny(actor="study")], only(ALL, "study")),
    Case("deny who cannot be told", [deny(actor={"display": "my neighbour"})], all_but(ALL)),
    Case("permit the doctor only", [deny(permit(actor="Practitioner/doctor"))], all_but(ALL, "doctor")),
    Case("permit the clinic only", [deny(permit(actor="Organization/clinic"))], all_but(ALL, "nurse")),
    Case("permit who cannot be told", [deny(permit(actor={"display": "x"}))], all_but(ALL)),
    # purposes
    Case("deny research", [deny(purpose="HRESCH")], only(ALL, "study", "service")),
    Case("deny a kind of research", [deny(purpose="CLINTRCH")], only(ALL, "service")),
    Case("deny treatment", [deny(purpose="TREAT")], only(ALL, "doctor", "nurse", "service", "rescuer")),
    Case("deny emergencies", [deny(purpose="ETREAT")], only(ALL, "service", "rescuer")),
    Case("deny breaking the glass", [deny(purpose="BTG")], only(ALL, "service", "rescuer")),
    Case("deny what families ask", [deny(purpose="PATRQT")], only(ALL, "proxy", "service")),
    Case("deny administration", [deny(purpose="HOPERAT")], only(ALL, "admin", "service")),
    Case("deny an unknown purpose", [deny(purpose="NONSENSE")], all_but(ALL, lifted=False)),
    Case("permit treatment only", [deny(permit(purpose="TREAT"))], all_but(ALL, "doctor", "nurse")),
    Case("permit research only", [deny(permit(purpose="HRESCH"))], all_but(ALL, "study")),
    # actions
    Case("deny access", [deny(action="access")], all_but(ALL)),
    Case("deny disclosure", [deny(action="disclose")], all_but(ALL)),
    Case("deny collection", [deny(action="collect")], {}),
    Case("deny correction", [deny(action="correct")], {}),
    Case("deny what nobody knows", [deny(action={"coding": [coding(LOINC, "x")]})], all_but(ALL)),
    # periods
    Case("deny as of now", [deny(period=[YESTERDAY])], all_but(ALL)),
    Case("deny until tomorrow", [deny(period=[LAST_YEAR, TOMORROW])], all_but(ALL)),
    Case("deny until yesterday", [deny(period=[LAST_YEAR, YESTERDAY])], {}),
    Case("deny as of tomorrow", [deny(period=[TOMORROW])], {}),
    Case("an exception that is over", [deny(permit(period=[LAST_YEAR, YESTERDAY]))], all_but(ALL)),
    # data
    Case("deny observations", [deny(class_="Observation")], all_but("oh")),
    Case("deny patients", [deny(class_="Patient")], all_but("p")),
    Case("deny two types", [deny(class_=["Condition", "MedicationRequest"])], all_but("rvm")),
    Case("deny a profile", [deny(class_=PROFILE)], all_but("m")),
    Case("deny a code", [deny(code=HIV)], all_but("h")),
    Case("deny a code of what is contained", [deny(code=METHADONE)], all_but("m")),
    Case("deny a category", [deny(code=("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs"))],
         all_but("o")),
    Case("deny a text", [deny(code={"text": "HIV"})], all_but(ALL)),
    Case("permit a text only", [deny(permit(code={"text": "HIV"}))], all_but(ALL)),
    Case("permit one code only", [deny(permit(code=PULSE))], all_but("phrvm")),
    Case("deny a sensitivity", [deny(label="HIV")], all_but("h")),
    Case("deny what is restricted", [deny(label="R")], all_but("rv")),
    Case("deny what is normal", [deny(label="N")], all_but(ALL)),
    Case("deny what is very restricted", [deny(label="V")], all_but("v")),
    Case("permit what is normal", [deny(permit(label="N"))], all_but("rv")),
    Case("permit what is restricted", [deny(permit(label="R"))], more("r", "nurse", "proxy", "service", "study") | {
        "doctor": "pohrm", "admin": "pohrm"}),
    Case("unlock for the nurse", [permit(label="R", actor="Practitioner/nurse")], more("r", "nurse")),
    Case("unlock all for the doctor", [permit(label="V", actor="Practitioner/doctor")], more("v", "doctor")),
    Case("unlock for research", [permit(label="R", purpose="HRESCH")], more("r", "study")),
    Case("unlock one code", [permit(label="V", code=(SNOMED, "397940009"))], {
        who: "".join(each for each in ALL if each in seen or each == "v") for who, seen in CALLERS.items()}),
    Case("permit without a label", [permit(actor="Practitioner/nurse")], {}),
    Case("deny a time", [deny(dates=["2026-01-01", "2026-02-28"])], all_but("ov")),
    Case("deny all before", [deny(dates=[None, "2025-12-31"])], all_but("hr")),
    Case("deny all since", [deny(dates=["2026-03-01"])], all_but("pm")),
    Case("permit a time only", [deny(permit(dates=["2024-01-01", "2024-12-31"]))], all_but("pohvm")),
    Case("deny one resource", [deny(data=("instance", "Observation/{p}-o"))], all_but("o")),
    Case("deny it and what refers to it", [deny(data=("dependents", "Observation/{p}-o"))], all_but("oh")),
    Case("deny it and what it refers to", [deny(data=("related", "Observation/{p}-h"))], all_but("poh")),
    Case("deny by author", [deny(data=("authoredby", "Practitioner/nurse"))], all_but("rm")),
    Case("permit by author only", [deny(permit(data=("authoredby", "Practitioner/doctor")))], all_but("phrvm")),
    # several conditions, several provisions, several consents
    Case("deny a code to one", [deny(code=HIV, actor="Practitioner/nurse")], only("h", "nurse")),
    Case("deny a type for a purpose", [deny(class_="Condition", purpose="HRESCH")], only("rv", "study", "service")),
    Case("an exception to an exception", [deny(permit(deny(code=HIV), actor="Practitioner/nurse"))],
         all_but(ALL, "nurse") | only("h", "nurse")),
    Case("two exceptions", [deny(permit(actor="Practitioner/nurse"), permit(actor="study"))],
         all_but(ALL, "nurse", "study")),
    Case("a deny beats a permit beside it", [permit(deny(class_="Observation"), permit(class_="Observation"))],
         all_but("oh")),
    Case("a permit lifts no other deny", [deny(actor="Practitioner/nurse"), permit(actor="Practitioner/nurse")],
         only(ALL, "nurse")),
    Case("two denies", [deny(code=HIV), deny(class_="MedicationRequest")], all_but("hm")),
    Case("unlock and deny", [permit(label="R", actor="Practitioner/nurse"), deny(code=(SNOMED, "35489007"))],
         all_but("r")),
)  # fmt: skip


def name_of(number: int) -> str:
    return f"r{number}"


def in_record(node: Any, patient: str) -> Any:
    """With the patient's id in its place."""
    if isinstance(node, dict):
        return {key: in_record(each, patient) for key, each in node.items()}
    if isinstance(node, list):
        return [in_record(each, patient) for each in node]
    return node.replace("{p}", patient) if isinstance(node, str) else node


def consents_of(number: int) -> list[Json]:
    patient, case = name_of(number), RULES[number]
    return [
        in_record(consent(f"{patient}-{at}", patient, each, **case.more), patient)
        for at, each in enumerate(case.provisions)
    ]


@pytest.fixture(scope="module")
def house(serve: Serve, apps: Apps) -> House:
    """A record for each case."""
    resources = []
    for number in range(len(RULES)):
        resources += [*gallery(name_of(number)).values(), *consents_of(number)]
    return housed(serve, apps, resources, [name_of(number) for number in range(len(RULES))])


ROWS = [(number, who) for number in range(len(RULES)) for who in CALLERS]


def expected(number: int, who: str) -> set[str]:
    return {*RULES[number].seen.get(who, CALLERS[who])}


def test_the_table_is_large() -> None:
    assert len(ROWS) >= 200
    assert len({case.name for case in RULES}) == len(RULES)


@pytest.mark.parametrize("who", CALLERS)
def test_what_is_found(house: House, who: str) -> None:
    seen = found(house.callers[who])
    wrong = {}
    for number, case in enumerate(RULES):
        got = seen.get(name_of(number), set())
        if got != expected(number, who):
            wrong[case.name] = "".join(sorted(got)), "".join(sorted(expected(number, who)))
    assert not wrong


@pytest.mark.parametrize("who", CALLERS)
def test_what_is_read(house: House, who: str) -> None:
    wrong = {}
    for number, case in enumerate(RULES):
        for letter, each in gallery(name_of(number)).items():
            status = house.callers[who].get(f"{each['resourceType']}/{each['id']}").status_code
            if status != (200 if letter in expected(number, who) else 404):
                wrong[case.name, letter] = status
    assert not wrong


@pytest.mark.parametrize("who", CALLERS)
def test_the_naive_rules_say_the_same(who: str) -> None:
    patients = frozenset(name_of(number) for number in range(len(RULES)))
    wrong = {}
    for number, case in enumerate(RULES):
        if any(word in str(case.provisions) for word in ("related", "NONSENSE")):
            continue
        if case.more.get("scope"):
            continue
        patient = name_of(number)
        asking = NAIVE[who](patients)
        got = {
            letter
            for letter, each in gallery(patient).items()
            if sees(consents_of(number), each, patient, asking, TODAY)
        }
        if got != expected(number, who):
            wrong[case.name] = "".join(sorted(got)), "".join(sorted(expected(number, who)))
    assert not wrong
