"""Bodies at rest, as several threads of one process pack and unpack them: the server and its worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fhirserver.fhir import json
from fhirserver.store.blobs import pack, unpack

BODIES = [json.encode({"resourceType": "List", "id": str(n), "x": [str(n * m) for m in range(300)]}) for n in range(50)]


def test_threads_do_not_get_into_each_others_way() -> None:
    def come_back(_: int) -> list[bytes]:
        return [unpack(pack(each)) for each in BODIES * 20]

    with ThreadPoolExecutor(4) as threads:
        assert all(each == BODIES * 20 for each in threads.map(come_back, range(4)))
