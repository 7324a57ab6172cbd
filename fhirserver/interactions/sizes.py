"""How large an answer may be: a page that would be larger ends early, and its `next` link goes on there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile

from fhirserver.fhir.outcome import Outcome, too_costly

AROUND = 200  # bytes of an entry beside its resource: fullUrl, search, request, response


class Room:
    """The bytes that the answer to a Bundle may still take."""

    def __init__(self, most: int) -> None:
        self.left = most

    def admits(self, body: bytes) -> bool:
        """Whether it fits, and then it is in."""
        fits = len(body) <= self.left
        if fits:
            self.left -= len(body)
        return fits


def too_large(most: int) -> Outcome:
    """What reads in a Bundle are told that find no room."""
    return too_costly(f"with this the answer would be larger than {most:,} bytes; ask for it by itself, or for less")


def fitting(sizes: Sequence[int], most: int) -> int:
    """How many of these resources make an answer of at most so many bytes; the first one in any case."""
    if sum(sizes) + AROUND * len(sizes) <= most:  # as nearly always
        return len(sizes)
    taken = accumulate(each + AROUND for each in sizes)
    return max(1, sum(1 for _ in takewhile(lambda size: size <= most, taken)))
