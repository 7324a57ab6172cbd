"""When care took place, by type: what `start` and `end` of $everything are about.

"The date range relates to care dates, not record currency dates": https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from fhirserver.fhir import dates
from fhirserver.fhir.outcome import invalid

# The date parameter of each type. A type that is not here has no such date, and is always within the range.
CARE_DATES: Mapping[str, str] = MappingProxyType(
    {
        "AdverseEvent": "date",
        "AllergyIntolerance": "onset",
        "Appointment": "date",
        "CarePlan": "date",
        "CareTeam": "date",
        "ChargeItem": "occurrence",
        "ClinicalImpression": "date",
        "Communication": "sent",
        "CommunicationRequest": "occurrence",
        "Composition": "date",
        "Condition": "onset-date",
        "DetectedIssue": "identified",
        "DeviceRequest": "event-date",
        "DiagnosticReport": "date",
        "DocumentReference": "period",
        "Encounter": "date",
        "EpisodeOfCare": "date",
        "Flag": "date",
        "ImagingStudy": "started",
        "Immunization": "date",
        "Media": "created",
        "MedicationAdministration": "effective-time",
        "MedicationDispense": "whenhandedover",
        "MedicationRequest": "authoredon",
        "MedicationStatement": "effective",
        "Observation": "date",
        "Procedure": "date",
        "RiskAssessment": "date",
        "ServiceRequest": "occurrence",
        "Specimen": "collected",
    }
)


class Days(NamedTuple):
    """From `low` on and before `high`; None is open."""

    low: datetime | None
    high: datetime | None


def days(start: str | None, end: str | None) -> Days:
    """Both included. 400 where one cannot be read or they are in the wrong order."""
    low = None if start is None else dates.given("start", start).low
    high = None if end is None else dates.given("end", end).high
    if low is not None and high is not None and low >= high:
        raise invalid(f"start={start} is after end={end}", "start")
    return Days(low, high)


def within(type_: str, asked: Days) -> dict[str, Any]:
    """A filter: care that touches these days, and what tells no date, such as an order "daily"."""
    element: dict[str, Any] = {}
    if asked.low is not None:
        element["hi"] = {"$gt": asked.low}
    if asked.high is not None:
        element["lo"] = {"$lt": asked.high}
    if type_ not in CARE_DATES or not element:
        return {}
    field = f"search.{CARE_DATES[type_]}"
    return {"$or": [{f"{field}.0": {"$exists": False}}, {field: {"$elemMatch": element}}]}
