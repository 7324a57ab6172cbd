"""Index values that come out otherwise than before are of another edition, so that servers say what to index again."""

from __future__ import annotations

from hashlib import sha256

import bson
from tables import HERE, composites, dates, for_all, numbers, orders, quantities, references, strings, tokens, uris

from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.search.index import EDITION, Indexer
from fhirserver.search.parameters import r4_registry
from fhirserver.store.mirror import CODECS

WORLDS = (composites, dates, for_all, numbers, orders, quantities, references, strings, tokens, uris)
BASE = "http://localhost/fhir"
DOCUMENT = {
    "resourceType": "Bundle",
    "type": "document",
    "entry": [
        {
            "fullUrl": "urn:uuid:c",
            "resource": {"resourceType": "Composition", "title": "Summary", "subject": {"reference": "urn:uuid:p"}},
        },
        {"fullUrl": "urn:uuid:p", "resource": {"resourceType": "Patient", "name": [{"family": "Lovelace"}]}},
    ],
}
LETTER = {"resourceType": "DocumentReference", "content": [{"attachment": {"url": "Binary/1#page=2"}}]}
TEAM = {
    "resourceType": "CareTeam",
    "period": {"start": "2026-01-01"},
    "participant": [{"member": {"reference": "Practitioner/1"}, "period": {"end": "2026"}}],
}
RECORDED = (4, "f0d888eb9d7ad876")


def test_other_index_values_are_another_edition() -> None:
    """Of all resources of the tables, and of a document.

    Where values of the same resources changed, raise EDITION; record it with the new digest, as when only the tables
    grew.
    """
    indexer = Indexer(r4(), r4_registry(), BASE)
    composition = DOCUMENT["entry"][0]["resource"] | {"subject": {"reference": "Patient/p"}}
    of_patient = DOCUMENT | {"entry": [{"fullUrl": "urn:uuid:c", "resource": composition}]}
    digest = sha256()
    for world in (*(module.TABLE.world for module in WORLDS), [DOCUMENT, of_patient, LETTER, TEAM]):
        for resource in json.decode(json.encode(world).replace(HERE.encode(), BASE.encode())):
            entry = indexer.entry(resource)
            values = [sorted(entry.search.items()), sorted(entry.sort.items()), entry.compartments]
            digest.update(bson.encode({"values": values}, codec_options=CODECS))
    assert (EDITION, digest.hexdigest()[:16]) == RECORDED
