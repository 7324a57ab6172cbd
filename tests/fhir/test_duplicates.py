"""A property that stands twice is refused however the text is spaced and escaped, and nothing else is."""

from __future__ import annotations

import json as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.json import decode
from fhirserver.fhir.outcome import Outcome

SPACES = st.sampled_from(["", " ", "\n", "\t"])
TEXTS = st.text(alphabet='ab:"\\\u00e9', max_size=4)


def written(text: str, escaped: bool) -> str:
    """A JSON string; with each of its characters as `\\u00XX`, where that is wanted."""
    return '"' + "".join(f"\\u{ord(mark):04x}" for mark in text) + '"' if escaped else standard.dumps(text)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.booleans(), SPACES), max_size=6))
def test_two_of_a_name_are_refused(members: list[tuple[str, str, bool, str]]) -> None:
    parts = [
        f"{written(name, escaped)}{space}:{space}{written(value, escaped)}" for name, value, escaped, space in members
    ]
    text = f'{{"inner": {{{", ".join(parts)}}}}}'.encode()
    if len({name for name, *_ in members}) == len(members):
        assert decode(text) == {"inner": {name: value for name, value, *_ in members}}
    else:
        with pytest.raises(Outcome, match="stands twice"):
            decode(text)


@pytest.mark.parametrize("escaped", [r"\u003a", r"\u003A"])
def test_an_escaped_colon_does_not_stand_for_the_one_that_was_lost(escaped: str) -> None:
    with pytest.raises(Outcome, match="stands twice"):
        decode(rf'{{"a": "", "a": "{escaped}"}}'.encode())
