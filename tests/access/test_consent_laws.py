"""Laws of consents: a deny never adds to what is seen, and random ones mean what the naive rules say."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from consent_house import CALLERS, DAY, HIV, METHADONE, NAIVE, NOW, PROFILE, PULSE, House, found, gallery, housed
from consent_rules import ACT_CODE, SNOMED, concept, consent, said
from hypothesis import given
from hypothesis import strategies as st
from naive_consents import sees

if TYPE_CHECKING:
    from conftest import Serve
    from seam import Apps

Json = dict[str, Any]
TODAY = NOW.date().isoformat()
PATIENTS = 60
CONDITIONS: dict[str, list[Any]] = {
    "actor": [
        *("Practitioner/doctor", "Practitioner/nurse", "Organization/clinic", "CareTeam/ward", "Group/staff"),
        *("RelatedPerson/mother", "study", "service", "Practitioner/other", {"display": "a neighbour"}),
    ],
    "purpose": ["TREAT", "ETREAT", "BTG", "HRESCH", "CLINTRCH", "PATRQT", "HOPERAT"],
    "action": ["access", "disclose", "collect", "correct"],
    "class_": ["Observation", "Condition", "MedicationRequest", "Patient", PROFILE],
    "code": [HIV, METHADONE, PULSE, (SNOMED, "35489007"), (SNOMED, "397940009"), {"text": "HIV"}],
    "label": ["U", "N", "R", "V", "HIV", "PSY", "ETH"],
    "data": [
        *(("instance", "Observation/{p}-o"), ("dependents", "Observation/{p}-o")),
        *(("authoredby", "Practitioner/nurse"), ("authoredby", "Practitioner/doctor")),
    ],
}
PERIODS = {
    "period": [[TODAY], ["2020-01-01", (NOW - DAY).date().isoformat()], [(NOW + DAY).date().isoformat()]],
    "dates": [["2026-01-01", "2026-02-28"], [None, "2025-12-31"], ["2026-03-01"]],
}


def provision(random: Random, patient: str, deep: int = 0) -> Json:
    conditions: dict[str, Any] = {}
    for name in random.sample([*CONDITIONS], random.choice((0, 1, 1, 2))):
        some = random.sample(CONDITIONS[name], random.choice((1, 1, 2)))
        conditions[name] = [_about(each, patient) for each in some]
    if random.random() < 0.15:
        name = random.choice([*PERIODS])
        conditions[name] = random.choice(PERIODS[name])
    parts = [provision(random, patient, deep + 1) for _ in range(random.choice((0, 0, 1, 2)))] if deep < 3 else []
    return said(random.choice(("deny", "permit")), *parts, **conditions)


def _about(value: Any, patient: str) -> Any:
    match value:
        case (str() as meaning, str() as name) if "{p}" in name:
            return meaning, name.replace("{p}", patient)
    return value


def consents(random: Random, patient: str) -> list[Json]:
    """Some are opted out, and some do not say at the top what they do."""
    found = []
    for at in range(random.choice((1, 1, 2, 3))):
        top = provision(random, patient)
        if len(top) > 1 and random.random() < 0.25:
            del top["type"]
        policy = "OPTOUT" if random.random() < 0.25 else "OPTIN"
        found.append(consent(f"{patient}-{at}", patient, top, policyRule=concept(ACT_CODE, policy)))
    return found


def denying(random: Random, some: list[Json], patient: str) -> list[Json]:
    """The same with one deny more: in one of their provisions, or in a Consent of its own."""
    added = provision(random, patient, 3) | {"type": "deny"}
    changed = deepcopy(some)
    places = [changed[random.randrange(len(changed))]["provision"]]
    while inner := places[-1].get("provision"):
        places.append(random.choice(inner))
    if random.random() < 0.3:
        return [*changed, consent(f"{patient}-more", patient, added)]
    random.choice(places).setdefault("provision", []).append(added)
    return changed


def visible(some: list[Json], patient: str, who: str) -> set[str]:
    asking = NAIVE[who](frozenset({patient}))
    return {letter for letter, each in gallery(patient).items() if sees(some, each, patient, asking, TODAY)}


@given(st.integers(0, 2**32), st.sampled_from([*CALLERS]))
def test_a_deny_adds_nothing_by_definition(seed: int, who: str) -> None:
    random = Random(seed)
    before = consents(random, "x")
    assert visible(denying(random, before, "x"), "x", who) <= visible(before, "x", who)


def name_of(number: int) -> str:
    return f"l{number}"


RANDOM = Random(5)
BEFORE = {name_of(number): consents(RANDOM, name_of(number)) for number in range(PATIENTS)}
AFTER = {patient: denying(RANDOM, some, patient) for patient, some in BEFORE.items()}


@pytest.fixture(scope="module")
def houses(serve: Serve, apps: Apps) -> list[House]:
    """Two records that differ in one deny for each patient."""
    made = []
    for some in (BEFORE, AFTER):
        resources = [each for patient in some for each in (*gallery(patient).values(), *some[patient])]
        made.append(housed(serve, apps, resources, [*some]))
    return made


@pytest.mark.parametrize("who", CALLERS)
def test_random_consents_mean_what_the_naive_rules_say_and_a_deny_adds_nothing(houses: list[House], who: str) -> None:
    before, after = (found(house.callers[who]) for house in houses)
    for patient in BEFORE:
        assert before.get(patient, set()) == visible(BEFORE[patient], patient, who), BEFORE[patient]
        assert after.get(patient, set()) == visible(AFTER[patient], patient, who), AFTER[patient]
        assert after.get(patient, set()) <= before.get(patient, set()), AFTER[patient]
    random = Random(who)
    for patient in random.sample([*BEFORE], 12):
        for letter, each in gallery(patient).items():
            status = houses[1].callers[who].get(f"{each['resourceType']}/{each['id']}").status_code
            assert status == (200 if letter in after.get(patient, set()) else 404), (patient, letter)


def test_random_consents_keep_something_back_and_not_all() -> None:
    """Otherwise the law would say little."""
    seen = [len(visible(BEFORE[patient], patient, "nurse")) for patient in BEFORE]
    assert min(seen) == 0
    assert max(seen) >= 4
    assert len({*seen}) >= 4
    assert sum(len(visible(AFTER[each], each, "nurse")) for each in AFTER) < sum(seen)
