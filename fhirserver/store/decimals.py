"""Decimals in the numbers that BSON has: https://bsonspec.org/spec.html"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache

from bson.decimal128 import Decimal128, create_decimal128_context

CONTEXT: Context = create_decimal128_context()  # 34 digits, half even
_CACHE = 65_536
_LONGEST_CACHED = 128


class _Encoded(Decimal128):
    """With its bytes, which the driver asks for each time it writes one, and a measurement is written nine times."""

    __slots__ = ("bid",)
    bid: bytes

    def __init__(self, value: Decimal) -> None:
        super().__init__(value)
        self.bid = super().bid


def decimal128(value: Decimal | int) -> Decimal128:
    """To 34 digits, rounded half even; beyond the exponents of Decimal128, infinity or zero."""
    text = str(value)
    return _cached(text) if len(text) <= _LONGEST_CACHED else _made(text)


def _made(text: str) -> Decimal128:
    return _Encoded(CONTEXT.create_decimal(text))


_cached = lru_cache(_CACHE)(_made)
