"""The transitive closure of a code system is the same in whatever order it is asked for, loops and all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology import code_systems
from terminology.code_systems import CodeSystem

CODES = "abcdefgh"
Edges = set[tuple[str, str]]
edges = st.sets(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES + "z")), max_size=14)


def system(below: Edges) -> CodeSystem:
    """(child, parent); `z` is a parent that is not in the system."""
    parents: dict[str, list[Any]] = {code: [] for code in CODES}
    for child, parent in sorted(below):
        parents[child].append({"code": "parent", "valueCode": parent})
    concepts = [{"code": code, **({"property": many} if many else {})} for code, many in parents.items()]
    return CodeSystem({"url": "urn:x", "content": "complete", "concept": concepts})


def reached(code: str, steps: Edges) -> set[str]:
    found = {code}
    while fresh := {to for at, to in steps if at in found} - found:
        found |= fresh
    return found & set(CODES)


@given(edges, st.permutations(CODES), st.integers(0, 12))
def test_asked_in_any_order(below: Edges, order: list[str], pairs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_systems, "PAIRS", pairs)
        found = system(below)
        for code in order * 2:
            assert found.higher(code) == reached(code, below)
            assert found.lower(code) == reached(code, {(parent, child) for child, parent in below})
