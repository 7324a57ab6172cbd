"""The law of provisions and their exceptions, as it is defined, and what it costs to ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from consent_rules import consent, deny, permit
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.access.narrowing import Party, shown_to
from fhirserver.consents.provisions import MOST_DEEP, MOST_PROVISIONS, Rule, Some, read
from fhirserver.consents.ruling import Asked, Seeker, hides
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.criteria import AllOf, AnyOf, Criterion, Negation
from fhirserver.search.joined import EVERYTHING
from fhirserver.search.judged import Judged, meets

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ASKED = Asked("Observation", "r", NOW, {})
PEOPLE, CODES, PURPOSES = ("Practitioner/a", "Practitioner/b"), ("1", "2", "3"), ("TREAT", "ETREAT", "HRESCH")


def some(*values: Any) -> st.SearchStrategy[Some | None]:
    known = st.lists(st.sampled_from(values), max_size=2, unique=True)
    return st.one_of(st.none(), st.builds(lambda found, clear: Some(tuple(found), clear), known, st.booleans()))


def rules(parts: st.SearchStrategy[list[Rule]]) -> st.SearchStrategy[Rule]:
    return st.builds(
        lambda denies, actors, purposes, codes, inner, clear: Rule(
            denies, actors=actors, purposes=purposes, codes=codes, parts=tuple(inner), clear=clear
        ),
        st.booleans(),
        some(*PEOPLE),
        some(*PURPOSES),
        some(*((None, code) for code in CODES)),
        parts,
        st.sampled_from((True, True, True, False)),
    )


LEAF = rules(st.just([]))
RULES = st.recursive(LEAF, lambda inner: rules(st.lists(inner, max_size=3)), max_leaves=12)


class Defined:
    """What `ruling` says of itself, word by word."""

    def __init__(self, seeker: Seeker, code: str) -> None:
        self.seeker, self.code = seeker, code

    def hides(self, rule: Rule, purposeful: bool = False) -> bool:
        purposeful = purposeful or rule.purposes is not None
        if not self.met(rule, generous=True):
            return False
        if any(self.hides(part, purposeful) for part in rule.parts):
            return True
        holds = purposeful or not self.seeker.emergency
        return rule.denies and holds and not any(self.permits(part, purposeful) for part in rule.parts)

    def permits(self, rule: Rule, purposeful: bool) -> bool:
        purposeful = purposeful or rule.purposes is not None
        if not self.met(rule, generous=False) or any(self.hides(part, purposeful) for part in rule.parts):
            return False
        return not rule.denies or any(self.permits(part, purposeful) for part in rule.parts)

    def met(self, rule: Rule, *, generous: bool) -> bool:
        bare = rule._replace(denies=True, parts=(), purposes=rule.purposes)
        seeker = self.seeker._replace(emergency=False)
        judged = Judged("1", (), NOW, {"code": [self.code]})
        if generous:
            return meets(hides(bare, seeker, ASKED), judged)
        exception = Rule(True, parts=(bare._replace(denies=False),))
        return not meets(hides(exception, seeker, ASKED), judged)


@given(
    RULES,
    st.frozensets(st.sampled_from(PEOPLE)),
    st.frozensets(st.sampled_from(PURPOSES)),
    st.booleans(),
    st.sampled_from(CODES),
)
def test_what_is_asked_is_what_is_defined(
    rule: Rule, names: frozenset[str], purposes: frozenset[str], emergency: bool, code: str
) -> None:
    seeker = Seeker(names, purposes, emergency)
    judged = Judged("1", (), NOW, {"code": [code]})
    assert meets(hides(rule, seeker, ASKED), judged) is Defined(seeker, code).hides(rule)


def leaves(criterion: Criterion) -> Iterator[Criterion]:
    match criterion:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Negation(part):
            yield from leaves(part)
        case _:
            yield criterion


def nested(deep: int, *, permits: bool = False) -> dict[str, Any]:
    around = permit if permits and deep % 2 else deny
    parts = [nested(deep - 1, permits=permits)] if deep > 1 else []
    return around(*parts, data=("instance", f"Observation/{deep}"))


def test_what_lies_deep_is_asked_as_often_as_it_is_deep() -> None:
    """It was twice as often with each provision around it, so that one Consent held up every search."""
    for permits in (False, True):
        rule = read(consent("c", "p", nested(MOST_DEEP, permits=permits)), "").rule
        assert rule is not None
        seeker = Seeker(frozenset(), frozenset({"TREAT"}))
        assert len([*leaves(hides(rule, seeker, ASKED))]) <= MOST_DEEP * (MOST_DEEP + 1)


def test_what_is_too_large_to_be_asked_hides_all_of_the_record() -> None:
    for provision in (
        nested(MOST_DEEP + 1),
        permit(*(deny(data=("instance", f"Observation/{each}")) for each in range(MOST_PROVISIONS))),
        permit(deny(data=[("instance", f"Observation/{each}") for each in range(1_000)])),
    ):
        found = read(consent("c", "p", provision), "")
        assert found.rule == Rule(True)
        assert [path for path, _ in found.unclear] == ["Consent.provision"]


def test_what_many_differing_consents_say_is_bounded() -> None:
    """MongoDB refuses a filter that is larger than it takes; one that is nearly so would hold up all others."""

    def alike(number: int, code: str) -> dict[Rule, list[str]]:
        found = {}
        for each in range(number):
            rule = read(consent("c", "p", deny(code=("s", f"{code}{each}"))), "").rule
            assert rule is not None
            found[rule] = [f"Patient/{each}"]
        return found

    who = Party(Seeker(frozenset(), frozenset({"TREAT"})), (), None)
    shown_to(alike(100, "x"), who, ASKED, EVERYTHING, labels=False)
    for number, code in ((5_000, "x"), (50, "x" * 10_000)):
        with pytest.raises(Outcome, match="consents that differ"):
            shown_to(alike(number, code), who, ASKED, EVERYTHING, labels=False)
