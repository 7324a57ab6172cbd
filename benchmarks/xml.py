"""XML in and out per second and core, as a request does it: the text read and encoded for the store, and back.

Run: python -m benchmarks.xml. Prints JSON. CPU time, one process, best of three rounds.
"""

from __future__ import annotations

import json as standard
from typing import Any

from benchmarks.index import OBSERVATION, PATIENT, per_second
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.xml import from_xml, to_xml

Json = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p><b>Okuneva, Émile Ray</b> born 1974-12-25</p></div>'
NARRATED = PATIENT | {"text": {"status": "generated", "div": DIV}}


def measure(name: str, resource: Json) -> Json:
    body, text = json.encode(resource), to_xml(resource, r4())
    figures = {
        "read": per_second(lambda _: json.encode(from_xml(text, r4())), resource),
        "written": per_second(lambda _: to_xml(json.resource(body), r4()), resource),
        "written_pretty": per_second(lambda _: to_xml(json.resource(body), r4(), pretty=True), resource),
    }
    return {
        "resource": name,
        "bytes": {"json": len(body), "xml": len(text)},
        **{f"{name}_per_second": round(figure) for name, figure in figures.items()},
    }


def main() -> None:
    resources = {"Patient": PATIENT, "Patient with a narrative": NARRATED, "Observation": OBSERVATION}
    print(standard.dumps([measure(name, resource) for name, resource in resources.items()], indent=2))


if __name__ == "__main__":
    main()
