"""Who is above whom, all the way: the transitive closure of a hierarchy, by numbers.

A concept may have several parents. A cycle makes its concepts subsume each other.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

Above = Mapping[int, Sequence[int]]
Line = Sequence[int]  # a concept and all that are above it, in order of their numbers


def lines(count: int, parents: Above, children: Above) -> list[Line]:
    """Of `count` concepts: from the top down, so that each is made of those of its parents."""
    found: list[Line | None] = [None] * count
    waiting = {child: len(above) for child, above in parents.items()}
    ahead = [n for n in range(count) if n not in waiting]
    while ahead:
        n = ahead.pop()
        above = [line for parent in parents.get(n, ()) if (line := found[parent]) is not None]
        found[n] = array("i", sorted({n}.union(*above)))
        for child in children.get(n, ()):
            waiting[child] -= 1
            if not waiting[child]:
                ahead.append(child)
    return [_walked(n, parents) if line is None else line for n, line in enumerate(found)]


def _walked(n: int, parents: Above) -> Line:
    """Of one that is in a cycle, or below one."""
    seen, ahead = {n}, [n]
    while ahead:
        fresh = set(parents.get(ahead.pop(), ())) - seen
        seen |= fresh
        ahead += fresh
    return array("i", sorted(seen))
