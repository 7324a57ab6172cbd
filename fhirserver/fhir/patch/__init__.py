"""The two patch formats that need no schema: JSON Patch and FHIRPath Patch.

https://hl7.org/fhir/R4/http.html#patch. Both work on a copy and leave it to the caller to validate the result. A
document that is no patch is a 400; an operation that this resource does not allow is a 422.
"""

from fhirserver.fhir.patch.fhirpath_patch import fhirpath_patch
from fhirserver.fhir.patch.json_patch import json_patch

__all__ = ["fhirpath_patch", "json_patch"]
