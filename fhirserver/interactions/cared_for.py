"""The patients of a practitioner, and those whose record is open in an emergency.

A practitioner cares for the patients whose general practitioner they are, on whose active care teams they are, and in
whose encounters they take part, themselves or by one of their roles; with their organizations also for the patients
whom these manage or treat. What is cancelled or entered in error does not count.
"""

from __future__ import annotations

from typing import Any

from fhirserver.consents.opening import Openable
from fhirserver.context import Context
from fhirserver.fhir.outcome import too_costly
from fhirserver.search.criteria import CaredFor
from fhirserver.store import emergencies
from fhirserver.store.hops import matching_ids, values_of
from fhirserver.store.versions import Document

MOST = 100_000  # patients of one practitioner
OVER = ("cancelled", "entered-in-error")


async def patients_of(ctx: Context, asked: CaredFor) -> Openable:
    roles, organizations = await _work(ctx, asked.practitioner)
    people = [asked.practitioner, *roles]
    treating = [*people, *(organizations if asked.organizations else ())]
    own: list[Document] = [{"search.general-practitioner": {"$in": treating}}]
    teams: Document = {"search.participant": {"$in": treating}, "search.status": {"$eq": "active"}}
    met: list[Document] = [{"search.participant": {"$in": people}}, {"search.practitioner": {"$in": people}}]
    if asked.organizations:
        own.append({"search.organization": {"$in": organizations}})
        met.append({"search.service-provider": {"$in": organizations}})
    encounters: Document = {"$or": met, "search.status": {"$nin": [*OVER]}}
    ids = await matching_ids(ctx.store, "Patient", {"$or": own, "deleted": None}, MOST + 1)
    named = [("CareTeam", teams, ("patient",)), ("Encounter", encounters, ("patient",))]
    others = await values_of(ctx.store, named, MOST + 1)
    found = {*ids, *(each.removeprefix("Patient/") for each in others if each.startswith("Patient/"))}
    if len(found) > MOST:
        raise too_costly(f"{asked.practitioner} has more than {MOST:,} patients; set practitioner_access to all")
    opened, now = await emergencies.known(ctx.store, asked.account), ctx.now()
    ends = {patient: until for patient, until in opened.items() if until > now}
    return Openable(tuple(sorted({*found, *ends})), min(ends.values(), default=None))


async def _work(ctx: Context, practitioner: str) -> tuple[list[str], list[str]]:
    """The active roles of a practitioner, and the organizations where they are."""
    active: dict[str, Any] = {"search.practitioner": {"$eq": practitioner}, "search.active": {"$ne": "false"}}
    ids = await matching_ids(ctx.store, "PractitionerRole", active, MOST)
    organizations = await values_of(ctx.store, [("PractitionerRole", active, ("organization",))], MOST)
    return [f"PractitionerRole/{each}" for each in ids], organizations
