"""Resource bodies at rest: zstd with a dictionary that knows what FHIR looks like.

A packed body names its dictionary, so that a later dictionary can be added without touching what is stored.
"""

from __future__ import annotations

from pathlib import Path

import zstandard

_dictionary = zstandard.ZstdCompressionDict((Path(__file__).parent / "data" / "bodies-1.zdict").read_bytes())
_dictionary.precompute_compress(level=3)
# the checksum catches bytes that rotted; the content size lets the reader allocate once
_compressor = zstandard.ZstdCompressor(level=3, dict_data=_dictionary, write_checksum=True, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary)

pack = _compressor.compress
unpack = _decompressor.decompress
