"""What a person grants lies within what an app asked, whatever their form says; and they read it in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_auth import wording
from smart_auth.consent import granted
from smart_auth.earlier import filled
from smart_auth.scopes import Scope, parse

KINDS = (*wording.KINDS, *wording.CATEGORIES_CALLED)
LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
TYPES = ("*", "Observation", "Patient", "Condition", "MedicationRequest")
letters = st.sets(st.sampled_from("cruds"), min_size=1).map(frozenset)
scopes = st.builds(Scope, st.sampled_from(["patient", "user"]), st.sampled_from(TYPES), letters, st.just(frozenset()))
granular = st.just("patient/Observation.rs?category=laboratory")
others = st.sampled_from(["openid", "fhirUser", "launch", "launch/patient", "offline_access"])
asked = st.lists(st.one_of(scopes.map(str), others, granular), min_size=1, max_size=8, unique=True)
names = st.one_of(
    st.integers(0, 9).map(lambda n: f"scope.{n}"),
    st.integers(0, 9).map(lambda n: f"writing.{n}"),
    st.builds("kind.{}.{}".format, st.integers(0, 9), st.sampled_from([*KINDS, "Binary", "*"])),
)
forms = st.dictionaries(names, st.sampled_from(["on", "no", "yes", "patient/*.cruds"]))


@given(asked, forms)
def test_nothing_is_granted_that_was_not_asked(asked: list[str], form: dict[str, str]) -> None:
    wide = [found for text in asked if (found := parse(text))]
    for text in granted(asked, form):
        narrow = parse(text)
        if narrow is None:
            assert text in asked
        else:
            assert any(each.contains(narrow) for each in wide)


@given(asked)
def test_all_ticked_is_all_that_was_asked(asked: list[str]) -> None:
    assert granted(asked, {f"scope.{n}": "on" for n in range(len(asked))}) == tuple(asked)


@given(asked)
def test_nothing_ticked_is_nothing(asked: list[str]) -> None:
    assert set(granted(asked, {})) <= {"launch"}


def filled_in(asked: list[str], before: tuple[list[str], tuple[str, ...]]) -> dict[str, str]:
    """The form as it is shown to who decided before, sent as it is."""
    form: dict[str, str] = {}
    for number, text in enumerate(asked):
        line = filled(text, *before)
        form |= {f"scope.{number}": "on"} if line.ticked else {}
        form |= {f"writing.{number}": "no"} if line.reading else {}
        form |= {f"kind.{number}.{kind}": "on" for kind in line.kinds}
    return form


@given(asked, forms, asked)
def test_allow_gives_back_nothing_that_was_kept(first: list[str], form: dict[str, str], more: list[str]) -> None:
    before = granted(first, form)
    allowed = [found for text in before if (found := parse(text))]
    both = list(dict.fromkeys([*first, *more]))
    again = granted(first, filled_in(first, (first, before)))
    for text in again:
        narrow = parse(text)
        assert text in before or text == "launch" or (narrow and any(each.contains(narrow) for each in allowed))
    assert {*granted(both, filled_in(both, (first, before)))} <= {*again, *before, "launch"} | {*both} - {*first}


@pytest.mark.parametrize(
    "form",
    [
        {"scope.0": "on"},
        {"scope.0": "on", "writing.0": "no"},
        {"scope.0": "on", "kind.0.Goal": "on", "kind.0.Patient": "on"},
        {"scope.0": "on", "kind.0.Goal": "on", "writing.0": "no"},
        {"scope.1": "on", "kind.1.laboratory": "on"},
        {"scope.2": "on"},
        {},
    ],
)
def test_the_form_is_filled_in_as_it_was_sent(form: dict[str, str]) -> None:
    asked = ["user/*.cruds", "patient/Observation.rs", "offline_access"]
    assert filled_in(asked, (asked, granted(asked, form))) == form


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"scope.0": "on"}, ("patient/*.cruds",)),
        ({"scope.0": "on", "writing.0": "no"}, ("patient/*.rs",)),
        (
            {"scope.0": "on", "kind.0.Goal": "on", "kind.0.Patient": "on"},
            ("patient/Goal.cruds", "patient/Patient.cruds"),
        ),
        ({"scope.0": "on", "kind.0.Goal": "on", "writing.0": "no"}, ("patient/Goal.rs",)),
        ({"kind.0.Goal": "on"}, ()),
        ({"scope.0": "on", "kind.0.Binary": "on"}, ("patient/*.cruds",)),
    ],
)
def test_what_is_ticked_is_narrowed(form: dict[str, str], found: tuple[str, ...]) -> None:
    assert granted(["patient/*.cruds"], form) == found


@pytest.mark.parametrize(
    ("asked", "form", "found"),
    [
        ("patient/Observation.rs", {"kind.0.laboratory": "on"}, [f"patient/Observation.rs?category={LAB}"]),
        ("patient/Observation.read", {"kind.0.laboratory": "on"}, [f"patient/Observation.rs?category={LAB}"]),
        ("patient/Observation.rs", {"kind.0.health-concern": "on"}, ["patient/Observation.rs"]),
        (f"patient/Observation.rs?category={LAB}", {"kind.0.survey": "on"}, [f"patient/Observation.rs?category={LAB}"]),
        ("patient/Goal.rs", {"kind.0.laboratory": "on"}, ["patient/Goal.rs"]),
    ],
)
def test_categories_narrow_what_has_them(asked: str, form: dict[str, str], found: list[str]) -> None:
    assert list(granted([asked], {"scope.0": "on"} | form)) == found


@pytest.mark.parametrize("type_", wording.CATEGORIES)
def test_each_category_is_a_scope_that_can_be_read(type_: str) -> None:
    wide = parse(f"patient/{type_}.rs")
    assert wide is not None
    for kind in wording.CATEGORIES[type_]:
        narrow = parse(str(wording.narrower(wide, kind)))
        assert narrow == wording.narrower(wide, kind)
        assert wide.contains(narrow)


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("patient/Observation.rs", "Read measurements and test results"),
        ("patient/Observation.read", "Read measurements and test results"),
        ("patient/Observation.cruds", "Read, add, change and delete measurements and test results"),
        ("patient/NutritionOrder.c", "Add nutrition order entries"),
        ("user/*.rs", "Read everything, as far as you may yourself"),
        ("offline_access", "Stay connected when you are away, until you take it back"),
    ],
)
def test_scopes_in_plain_words(scope: str, said: str) -> None:
    line = wording.line(scope)
    assert line is not None
    assert line.whole == said
