"""Index extraction per second and core: raw values, the whole entry, and fhirpathpy on the same expressions.

Run: python -m benchmarks.index. Prints JSON. CPU time, one process, best of three rounds.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from fhirserver.fhir.definitions import r4
from fhirserver.search.index import Indexer, raw_function
from fhirserver.search.parameters import r4_registry

Json = dict[str, Any]
SECONDS = 0.5
ROUNDS = 3

PATIENT: Json = {
    "resourceType": "Patient",
    "id": "6a1c8f8e-0b0a-4c5e-9f4e-3f3f5d7f9a10",
    "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]},
    "identifier": [
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": "http://hospital.example.org",
            "value": "6a1c8f8e",
        },
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-31-9187"},
    ],
    "active": True,
    "name": [{"use": "official", "family": "Okuneva", "given": ["Émile", "Ray"], "prefix": ["Mr."]}],
    "telecom": [{"system": "phone", "value": "555-612-8447", "use": "home"}],
    "gender": "male",
    "birthDate": "1974-12-25",
    "address": [{"line": ["514 Ebert Dale"], "city": "Boston", "state": "MA", "postalCode": "02118", "country": "US"}],
    "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US"}], "text": "English"}}],
}

OBSERVATION: Json = {
    "resourceType": "Observation",
    "id": "0b5b2d7c-97a1-4e7e-8d7e-1b9f6a3c2d11",
    "meta": {"profile": ["http://hl7.org/fhir/StructureDefinition/heartrate"]},
    "status": "final",
    "category": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                    "code": "vital-signs",
                    "display": "vital-signs",
                }
            ]
        }
    ],
    "code": {
        "coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}],
        "text": "Heart rate",
    },
    "subject": {"reference": "Patient/6a1c8f8e-0b0a-4c5e-9f4e-3f3f5d7f9a10"},
    "encounter": {"reference": "Encounter/2f8a4c1e-51a3-4d0e-a9b3-2d9d8e7f6a5b"},
    "effectiveDateTime": "2019-08-21T14:21:43-04:00",
    "issued": "2019-08-21T14:21:43.123-04:00",
    "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
}


def per_second(work: Callable[[Json], Any], resource: Json) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        done, start = 0, time.process_time()
        while (elapsed := time.process_time() - start) < SECONDS:
            for _ in range(10):
                work(resource)
            done += 10
        best = max(best, done / elapsed)
    return best


def oracle(type_: str) -> Callable[[Json], list[list[Any]]]:
    """The same parameters by fhirpathpy, compiled beforehand; it knows no `as` on collections and cannot resolve()."""
    compiled: list[Any] = []
    for parameter in r4_registry()[type_].values():
        text = re.sub(r"\(([\w.]+) as (\w+)\)", r"\1.ofType(\2)", parameter.expression).replace(".as(", ".ofType(")
        text = re.sub(r"\.where\(resolve\(\) is \w+\)", "", text).replace("Resource.", f"{type_}.")
        if not parameter.components:
            terms = [term for term in text.split(" | ") if term.startswith(f"{type_}.")]
            compiled += [fhirpathpy.compile(term, models["r4"]) for term in terms]
    return lambda resource: [run(resource) for run in compiled]


def measure(resource: Json) -> Json:
    type_ = resource["resourceType"]
    raw = raw_function(r4(), r4_registry(), type_)
    indexer = Indexer(r4(), r4_registry(), "http://localhost:8000/fhir")
    figures = {
        "raw": per_second(raw, resource),
        "entry": per_second(indexer.entry, resource),
        "fhirpathpy": per_second(oracle(type_), resource),
    }
    return {
        "type": type_,
        "values": len(raw(resource)),
        **{f"{name}_per_second": round(figure) for name, figure in figures.items()},
        "raw_times_fhirpathpy": round(figures["raw"] / figures["fhirpathpy"]),
    }


def main() -> None:
    print(json.dumps([measure(PATIENT), measure(OBSERVATION)], indent=2))


if __name__ == "__main__":
    main()
