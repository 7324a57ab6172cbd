"""Resource bodies at rest: zstd with a dictionary that knows what FHIR looks like.

A packed body names its dictionary, so that a later dictionary can be added without touching what is stored.
"""

from __future__ import annotations

import threading
from pathlib import Path

import zstandard

_dictionary = zstandard.ZstdCompressionDict((Path(__file__).parent / "data" / "bodies-1.zdict").read_bytes())
_dictionary.precompute_compress(level=3)


class _Tools(threading.local):
    """Each thread has its own: they let go of the interpreter while they work, and cannot do two things at once."""

    def __init__(self) -> None:
        # the checksum catches bytes that rotted; the content size lets the reader allocate once
        packing = zstandard.ZstdCompressor(level=3, dict_data=_dictionary, write_checksum=True, write_content_size=True)
        self.pack = packing.compress
        self.unpack = zstandard.ZstdDecompressor(dict_data=_dictionary).decompress


_tools = _Tools()


def pack(body: bytes) -> bytes:
    return _tools.pack(body)


def unpack(packed: bytes) -> bytes:
    return _tools.unpack(packed)


def size_of(packed: bytes) -> int:
    """How many bytes it will be, without making them."""
    return zstandard.frame_content_size(packed)
