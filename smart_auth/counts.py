"""Requests counted by the minute, in the memory of one server process; `limits` shares them with others.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from __future__ import annotations

import math
from zlib import crc32

SECONDS = 60


class Count:
    """Of one key in one minute: what came to any server as far as is known, and of it what is still to be told."""

    __slots__ = ("ends", "key", "kind", "most", "untold", "used")

    def __init__(self, kind: str, key: str, most: int, ends: int) -> None:
        self.kind, self.key, self.most, self.ends = kind, key, most, ends
        self.used = self.untold = 0

    @property
    def id(self) -> str:
        return f"{self.key}@{self.ends}"

    def take(self, times: int = 1) -> bool:
        """Whether so many more are allowed; they are counted then, all or none."""
        if self.used + times > self.most:
            return False
        self.used += times
        self.untold += times
        return True

    def headers(self, now: float) -> dict[str, str]:
        left, seconds = max(0, self.most - self.used), self.wait(now)
        return {
            "ratelimit-policy": f'"{self.kind}";q={self.most};w={SECONDS}',
            "ratelimit": f'"{self.kind}";r={left};t={seconds}',
        }

    def wait(self, now: float) -> int:
        return max(1, math.ceil(self.ends - now))


class Counts:
    """The counts of one server process, by key."""

    def __init__(self) -> None:
        self.of: dict[str, Count] = {}

    def count(self, kind: str, of: str, most: int, now: float) -> Count:
        """The one of this minute. Minutes of different keys end at different seconds: not all come back at once."""
        key = f"{kind}:{of}"
        found = self.of.get(key)
        if found is None or found.ends <= now:
            shift = crc32(key.encode(errors="replace")) % SECONDS
            ends = (int(now - shift) // SECONDS + 1) * SECONDS + shift
            found = self.of[key] = Count(kind, key, most, ends)
        return found

    def forget(self, now: float) -> None:
        """Minutes that are over."""
        self.of = {key: count for key, count in self.of.items() if count.ends > now}
