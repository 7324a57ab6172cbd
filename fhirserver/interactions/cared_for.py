"""The patients of a practitioner, and those whose record is open in an emergency.

A practitioner cares for the patients whose general practitioner they are, on whose active care teams they are, and in
whose encounters they take part, themselves or by one of their roles; with their organizations also for the patients
whom these manage or treat. What is cancelled or entered in error does not count, nor roles and teams that are over.
"""

from __future__ import annotations

from fhirserver.consents.opening import Openable
from fhirserver.context import Context
from fhirserver.fhir.outcome import too_costly
from fhirserver.interactions.memberships import teams_of, work_of
from fhirserver.search.criteria import CaredFor
from fhirserver.store import emergencies
from fhirserver.store.hops import matching_ids, values_of
from fhirserver.store.versions import Document

MOST = 100_000  # patients of one practitioner
OVER = ("cancelled", "entered-in-error")


async def patients_of(ctx: Context, asked: CaredFor) -> Openable:
    work = await work_of(ctx, ctx.store, asked.practitioner)
    people = [asked.practitioner, *work.roles]
    treating = [*people, *(work.organizations if asked.organizations else ())]
    own: list[Document] = [{"search.general-practitioner": {"$in": treating}}]
    met: list[Document] = [{"search.participant": {"$in": people}}, {"search.practitioner": {"$in": people}}]
    if asked.organizations:
        own.append({"search.organization": {"$in": work.organizations}})
        met.append({"search.service-provider": {"$in": work.organizations}})
    encounters: Document = {"$or": met, "search.status": {"$nin": [*OVER]}}
    ids = await matching_ids(ctx.store, "Patient", {"$or": own, "deleted": None}, MOST + 1)
    teams = await teams_of(ctx, ctx.store, treating)
    of_teams: Document = {"_id": {"$in": [*teams.ids]}}
    named = [("CareTeam", of_teams, ("patient",)), ("Encounter", encounters, ("patient",))]
    others = await values_of(ctx.store, named, MOST + 1)
    found = {*ids, *(each.removeprefix("Patient/") for each in others if each.startswith("Patient/"))}
    if len(found) > MOST:
        raise too_costly(f"{asked.practitioner} has more than {MOST:,} patients; set practitioner_access to all")
    now = ctx.now()
    opened = await emergencies.known(ctx.store, asked.account) if asked.account is not None else {}
    ends = {patient: until for patient, until in opened.items() if until > now}
    turns = [time for time in (work.until, teams.until, *ends.values()) if time is not None]
    return Openable(tuple(sorted({*found, *ends})), min(turns, default=None))
