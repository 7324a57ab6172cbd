"""Named operations. Importing this package registers them all."""

from fhirserver.operations import (
    code_systems,
    concept_maps,
    everything,
    explain,
    lastn,
    reindex,
    series,
    server_stats,
    stats,
    validate,
    value_sets,
)
from fhirserver.operations.registry import OPERATIONS

__all__ = [
    "OPERATIONS",
    "code_systems",
    "concept_maps",
    "everything",
    "explain",
    "lastn",
    "reindex",
    "series",
    "server_stats",
    "stats",
    "validate",
    "value_sets",
]
