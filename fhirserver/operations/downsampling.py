"""Fewer points that look the same: Largest-Triangle-Three-Buckets.

Sveinn Steinarsson, Downsampling Time Series for Visual Representation (2013), http://hdl.handle.net/1946/15343
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar


class Point(NamedTuple):
    x: float
    y: float


T = TypeVar("T")


def lttb(points: Sequence[Point], items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, whose points are in order: the first, the last, and what stands out between."""
    if count >= len(points):
        return list(items)
    if count < 3:
        return [items[0], items[-1]][:count]
    inner = len(points) - 2
    edges = [1 + inner * bucket // (count - 2) for bucket in range(count - 1)]
    chosen = [0]
    for bucket in range(count - 2):
        after = range(edges[bucket + 1], edges[bucket + 2] if bucket < count - 3 else len(points))
        centre = Point(sum(points[i].x for i in after) / len(after), sum(points[i].y for i in after) / len(after))
        here = range(edges[bucket], edges[bucket + 1])
        chosen.append(max(here, key=lambda i: _area(points[chosen[-1]], points[i], centre)))
    return [items[i] for i in (*chosen, len(points) - 1)]


def _area(a: Point, b: Point, c: Point) -> float:
    """Twice the area of a triangle."""
    return abs((a.x - c.x) * (b.y - a.y) - (a.x - b.x) * (c.y - a.y))
