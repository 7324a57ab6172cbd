"""Named operations. Importing this package registers them all."""

from fhirserver.operations import (
    break_glass,
    closure,
    code_systems,
    concept_maps,
    everything,
    explain,
    lastn,
    naming,
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
    "break_glass",
    "closure",
    "code_systems",
    "concept_maps",
    "everything",
    "explain",
    "lastn",
    "naming",
    "reindex",
    "series",
    "server_stats",
    "stats",
    "validate",
    "value_sets",
]
