"""Train the zstd dictionary that resource bodies are compressed with, from synthetic patients.

    synthea generate -p 30 -s 7 -o DIR && python tools/build_dictionary.py DIR/fhir

Identifiers and narratives differ in every resource and are left out, so that what remains is the shape of FHIR.
A body names the dictionary that packed it: never overwrite one that is in use, add the next number.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import zstandard

OUT = Path(__file__).parent.parent / "fhirserver" / "store" / "data" / "bodies-1.zdict"
PER_TYPE = 400
MAX_SAMPLE = 16_384
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def samples(folder: Path) -> list[Any]:
    by_type: dict[str, list[bytes]] = defaultdict(list)
    for file in sorted(folder.glob("*.json")):
        for entry in json.loads(file.read_text())["entry"]:
            resource = entry["resource"]
            resource.pop("text", None)
            text = json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode()
            kept = by_type[resource["resourceType"]]
            if len(text) <= MAX_SAMPLE and len(kept) < PER_TYPE:
                kept.append(UUID.sub(b"", text))
    return [text for _, texts in sorted(by_type.items()) for text in texts]


def main(folder: str) -> None:
    found = samples(Path(folder))
    dictionary = zstandard.train_dictionary(112_640, found, dict_id=1, level=6)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(dictionary.as_bytes())
    plain = sum(map(len, found))
    without = sum(len(zstandard.ZstdCompressor(level=3).compress(text)) for text in found)
    packed = sum(len(zstandard.ZstdCompressor(level=3, dict_data=dictionary).compress(text)) for text in found)
    print(f"{len(found):,} samples, {plain:,} bytes; packed {without:,} without the dictionary, {packed:,} with it")


if __name__ == "__main__":
    main(sys.argv[1])
