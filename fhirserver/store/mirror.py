"""The resource as a plain document, in the numbers that BSON has: exact in the body, as near as can be here.

https://bsonspec.org/spec.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import bson
from bson.codec_options import CodecOptions, TypeEncoder, TypeRegistry
from bson.decimal128 import Decimal128
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DocumentTooLarge

from fhirserver.store.decimals import decimal128

T = TypeVar("T")

LARGEST = 16 * 1024 * 1024  # https://www.mongodb.com/docs/manual/reference/limits/


class Encoded(RawBSONDocument):
    """A document that is bytes already: who asks whether it is empty, as the driver does, need not read it."""

    def __bool__(self) -> bool:
        return True


class _DecimalEncoder(TypeEncoder):
    """Decimals as Decimal128; what has more than 34 digits is rounded."""

    python_type = Decimal

    def transform_python(self, value: Decimal) -> Decimal128:
        return decimal128(value)


CODECS: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, type_registry=TypeRegistry([_DecimalEncoder()]))
NAIVE = CODECS.with_options(tz_aware=False)  # a zone costs as much as the rest of a small document


async def mirrored(documents: Iterable[dict[str, Any]], write: Callable[[], Awaitable[T]]) -> T:
    """Write these documents. Integers beyond 64 bits are legal decimals of FHIR: their mirrors hold Decimal128."""
    try:
        return await write()
    except OverflowError:
        for document in documents:
            if "resource" in document:
                document["resource"] = _without_big_integers(document["resource"])
        return await write()


def encoded(document: dict[str, Any]) -> Encoded:
    """One document as it will lie in the database. What is wrong with it is raised here, before others go with it."""
    try:
        data = bson.encode(document, codec_options=CODECS)
    except OverflowError:
        if "resource" not in document:
            raise
        data = bson.encode(document | {"resource": _without_big_integers(document["resource"])}, codec_options=CODECS)
    if len(data) > LARGEST:
        raise DocumentTooLarge(f"{len(data):,} bytes")
    return Encoded(data)


def _without_big_integers(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_big_integers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_big_integers(value) for value in node]
    if isinstance(node, int) and not isinstance(node, bool) and not -(2**63) <= node < 2**63:
        return Decimal(node)
    return node
