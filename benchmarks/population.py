"""A population of any size: the lives of a few synthetic patients, told again under other ids, names and dates.

What multiplies is what makes searches hard: patients, their observations, and how often each code occurs. Every copy
has ids and identifiers of its own, a name from a list, and dates some days apart, so that indexes see real
cardinalities.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from fhirserver import demo, files
from fhirserver.fhir.definitions import r4

FAMILIES = 2_000
SPREAD_DAYS = 700
MARK = 6  # letters of an id, by which a copy differs from others

_key = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # an id, alone or in a reference
    rb"|(?<=\")[12][0-9]{3}-[0-9]{2}-[0-9]{2}(?=[T\"])"  # a date
)


def lives(patients: int, cache: Path) -> list[bytes]:
    """Every resource of so many synthetic patients as JSON; generated once and kept in `cache`."""
    file = cache / f"lives-{patients}.ndjson"
    if not file.exists():
        lines: list[str] = []
        for number, bundle in enumerate(demo.bundles(patients)):
            unread: list[files.Unread] = []
            for resource in files.entries(json.loads(bundle), str(number), r4(), unread.append):
                lines.append(json.dumps(resource, default=str))
        cache.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
    return file.read_bytes().splitlines()


def population(originals: list[bytes], resources: int) -> Iterator[bytes]:
    """The JSON of at least so many resources: whole copies only, so that every reference leads somewhere."""
    pieces = [_key.split(line) for line in originals]
    keys = [[match.encode() for match in map(bytes.decode, _key.findall(line))] for line in originals]
    told = 0
    for copy in count():
        if told >= resources:
            return
        rng = random.Random(copy)
        days = rng.randrange(SPREAD_DAYS)
        mark = f"{copy:0{MARK}x}".encode()
        for parts, found in zip(pieces, keys, strict=True):
            text = b"".join(_woven(parts, found, mark, days))
            yield _renamed(text, rng) if b'"resourceType": "Patient"' in text else text
        told += len(originals)


def _woven(parts: list[bytes], keys: list[bytes], mark: bytes, days: int) -> Iterator[bytes]:
    yield parts[0]
    for key, part in zip(keys, parts[1:], strict=True):
        yield _shifted(key, days) if len(key) == 10 else mark + key[MARK:]
        yield part


@lru_cache(maxsize=1_000_000)
def _shifted(day: bytes, days: int) -> bytes:
    return (date.fromisoformat(day.decode()) + timedelta(days)).isoformat().encode()


def _renamed(text: bytes, rng: random.Random) -> bytes:
    patient: dict[str, Any] = json.loads(text)
    number = int(rng.paretovariate(0.8)) % FAMILIES  # a few names are frequent, most are not
    for name in patient.get("name", ()):
        name["family"] = f"{chr(97 + number % 26)}{number:04d}son".capitalize()
        name.pop("text", None)
    for at, identifier in enumerate(patient.get("identifier", ())):
        identifier["value"] = f"{patient['id']}-{at}"
    return json.dumps(patient).encode()
