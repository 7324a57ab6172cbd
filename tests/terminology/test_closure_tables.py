"""The transitive closure of a hierarchy: the same as walking it, also round and round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terminology.releases.closure import lines

COUNT = 8
edges = st.sets(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=20)


def walked(n: int, parents: dict[int, list[int]]) -> set[int]:
    seen: set[int] = set()
    ahead = [n]
    while ahead:
        here = ahead.pop()
        if here not in seen:
            seen.add(here)
            ahead += parents.get(here, [])
    return seen


@given(edges)
def test_it_is_what_walking_up_finds(edges: set[tuple[int, int]]) -> None:
    parents: dict[int, list[int]] = {}
    children: dict[int, list[int]] = {}
    for child, parent in edges:
        parents.setdefault(child, []).append(parent)
        children.setdefault(parent, []).append(child)
    found = lines(COUNT, parents, children)
    assert [[*line] for line in found] == [sorted(walked(n, parents)) for n in range(COUNT)]
