"""Whose records somebody may open: those of a practitioner's patients, and those that are entrusted to a person.

Looked up once, and kept as long as nothing that it rests on was written (`consents.opening`). In a transaction, and
where it is explained how the database answers, it is looked up anew.
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.reach import ordinary
from fhirserver.consents.opening import Openable
from fhirserver.context import Context
from fhirserver.epochs import KEPT
from fhirserver.interactions import cared_for, entrusted
from fhirserver.interactions.in_force import open_in_emergency
from fhirserver.search.criteria import CaredFor, EntrustedTo


async def patients_of(ctx: Context, asked: CaredFor | EntrustedTo) -> tuple[str, ...]:
    """Their ids, sorted."""
    asked = replace(asked, patient=None)
    if ctx.store.session is not None or ctx.store.trace is not None:
        return (await _looked_up(ctx, asked)).patients
    opening = ctx.consents.opening
    found = opening.get(asked, ctx.now())
    if found is None:
        epoch = opening.epoch
        found = await _looked_up(replace(ctx, store=ctx.store.commenting(KEPT)), asked)
        opening.keep(asked, found, epoch)
    return found.patients


async def told_of_emergencies(ctx: Context) -> None:
    """What was read or written of records that are open for nothing but an emergency is told so in these."""
    trail, usual = ctx.trail, ordinary(ctx.caller)
    if trail is None or usual is None:
        return
    urgent = [each for each in await open_in_emergency(ctx) if each in trail.touched]
    if urgent:
        ids = {*ctx.caller.records, *await patients_of(ctx, usual)}
        trail.opened(each for each in urgent if each.removeprefix("Patient/") not in ids)


async def _looked_up(ctx: Context, asked: CaredFor | EntrustedTo) -> Openable:
    if isinstance(asked, CaredFor):
        return await cared_for.patients_of(ctx, asked)
    return await entrusted.patients_of(ctx, asked.person, asked.permission)
