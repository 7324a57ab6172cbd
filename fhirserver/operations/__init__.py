"""Named operations. Importing this package registers them all."""

from fhirserver.operations import everything
from fhirserver.operations.registry import OPERATIONS

__all__ = ["OPERATIONS", "everything"]
