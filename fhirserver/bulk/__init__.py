"""What outlives a request. Importing this package registers every kind of job."""

from fhirserver.bulk import reindex
from fhirserver.bulk.jobs import JOBS

__all__ = ["JOBS", "reindex"]
