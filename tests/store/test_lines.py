"""Whatever somebody does to a group of lines: what counts as written was, and what was not touched counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhirserver.store.lines import rows
from fhirserver.store.seals import beginning, digest_of, sealed
from fhirserver.store.versions import Document

KEY, STRAND = b"key", "strand"


def group(texts: list[bytes], first: int) -> Document:
    before = seal = beginning(KEY, STRAND)
    seals = []
    for number, text in enumerate(texts, first):
        seal = sealed(KEY, seal, number, digest_of(text))
        seals.append(seal)
    return {"_id": {"strand": STRAND, "number": first}, "before": before, "lines": [*texts], "seals": seals}


numbers = st.integers(1, 1000)
texts = st.lists(st.binary(max_size=3), min_size=1, max_size=12, unique=True)  # each has an id
places = st.lists(st.integers(0, 11), max_size=4)
others = st.one_of(st.none(), st.binary(max_size=3), st.text(max_size=2), st.integers())


@given(numbers, texts, st.data())
def test_no_line_counts_as_written_that_was_not(first: int, written: list[bytes], data: st.DataObject) -> None:
    found = group(written, first)
    for name in ("lines", "seals"):
        parts = [*found[name], *data.draw(st.lists(others, max_size=3))]
        found[name] = data.draw(st.lists(st.sampled_from(parts), max_size=14))
    said = dict(enumerate(written, first))
    for row in rows(KEY, found):
        assert not row.intact or said[row.number] == row.line
    assert not any(row.intact for row in rows(b"another", found))


@given(numbers, texts, places, places, st.booleans())
def test_what_was_not_touched_counts(
    first: int, written: list[bytes], changed: list[int], moved: list[int], out: bool
) -> None:
    """Lines are changed, and either taken out or put in."""
    found = group(written, first)
    lines: list[bytes] = []
    for at, text in enumerate(written):
        lines += [b"put in"] * (not out and at in moved)
        lines += [] if out and at in moved else [b"changed" if at in changed else text]
    intact = {row.number for row in rows(KEY, found | {"lines": lines}) if row.intact}
    touched = {*changed, *(moved if out else ())}
    assert intact == {first + at for at in range(len(written)) if at not in touched}


@given(st.dictionaries(st.sampled_from(["_id", "before", "lines", "seals"]), others | st.lists(others)))
def test_whatever_a_document_is_something_is_said_of_it(document: Document) -> None:
    said = [*rows(KEY, {"_id": {"strand": STRAND, "number": 1}} | document)]
    assert said
    assert not any(row.intact for row in said)
