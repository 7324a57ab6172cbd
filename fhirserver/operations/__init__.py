"""Named operations. Importing this package registers them all."""

from fhirserver.operations import everything, explain, lastn, reindex, series, server_stats, stats
from fhirserver.operations.registry import OPERATIONS

__all__ = ["OPERATIONS", "everything", "explain", "lastn", "reindex", "series", "server_stats", "stats"]
