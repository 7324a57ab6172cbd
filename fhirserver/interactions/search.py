"""search of a type, of a compartment, of the system. https://hl7.org/fhir/R4/http.html#search

parse → restrict → filter → find → includes → Bundle. The resources are never decoded, unless a part of them is asked for.
"""

from __future__ import annotations
