"""The patients whose record the record itself entrusts to a person: by a RelatedPerson, or by a Consent.

A RelatedPerson who is in use, in the period that it says, keeps the record of its patient. A Consent of a patient names
one who may, by a permit in force whose actor is that person: all of the record, or nothing, so that a permit that is
limited to some data or purposes names none. What is revoked holds no more with the next request.
https://hl7.org/fhir/R4/relatedperson.html, https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fhirserver.consents.opening import Openable
from fhirserver.consents.provisions import MODIFIER, PRIVACY
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.dates import lasts
from fhirserver.fhir.outcome import too_costly
from fhirserver.interactions.memberships import next_turn
from fhirserver.store.versions import Stored

MOST = 1_000  # Consents that name one person
# of https://hl7.org/fhir/R4/valueset-security-role-type.html: who receives the data, or acts for the patient
ACTING = frozenset(
    {
        *("IRCP", "PRCP", "AGNT", "ASSIGNED", "DELEGATEE", "GRANTEE", "NOK", "RESPRSN"),
        *("GUARD", "GT", "GUADLTM", "POWATT", "DPOWATT", "HPOWATT", "SPOWATT"),
    }
)
Said = tuple[Stored, dict[str, Any]]
LIMITS = ("class", "code", "data", "dataPeriod", "purpose", "securityLabel", MODIFIER)
READING, WRITING = frozenset({"access", "use"}), frozenset({"correct"})


async def patients_of(ctx: Context, person: str, permission: str) -> Openable:
    now = ctx.now()
    related, consents = await _related(ctx, person), await _consented(ctx, person)
    found = [each for each, body in related if keeps(body, now)]
    found += [each for each, body in consents if names(body, person, permission, now)]
    periods = [body.get("period", {}) for _, body in related]
    periods += [body.get("provision", {}).get("period", {}) for _, body in consents]
    ids = tuple(sorted({id_ for each in found for id_ in _patients(each)}))
    return Openable(ids, next_turn(periods, now))


async def _related(ctx: Context, person: str) -> list[Said]:
    type_, _, id_ = person.partition("/")
    found = await ctx.store.read_stored(type_, [id_]) if type_ == "RelatedPerson" else []
    return [(each, json.decode(each.body)) for each in found if not each.deleted]


async def _consented(ctx: Context, person: str) -> list[Said]:
    naming = {"search.actor": {"$eq": person}, "search.status": {"$eq": "active"}, "deleted": None}
    found = await ctx.store.find_stored("Consent", naming, MOST + 1)
    if len(found) > MOST:
        raise too_costly(f"more than {MOST:,} Consents name {person}")
    return [(each, json.decode(each.body)) for each in found]


def _patients(stored: Stored) -> Iterator[str]:
    return (each.removeprefix("Patient/") for each in stored.compartments if each.startswith("Patient/"))


def keeps(related: dict[str, Any], now: datetime) -> bool:
    """Whether a RelatedPerson keeps the record of its patient now."""
    return MODIFIER not in related and related.get("active", True) is True and lasts(related.get("period", {}), now)


def names(consent: dict[str, Any], person: str, permission: str, now: datetime) -> bool:
    """Whether a Consent entrusts the record of its patient to a person now."""
    provision = consent.get("provision", {})
    return (
        consent.get("status") == "active"
        and MODIFIER not in consent
        and PRIVACY in _codes(consent.get("scope", {}))
        and provision.get("type") == "permit"
        and not any(limit in provision for limit in LIMITS)
        and any(_acts(actor, person) for actor in provision.get("actor", ()))
        and _permits(provision, permission)
        and lasts(provision.get("period", {}), now)
    )


def _acts(actor: dict[str, Any], person: str) -> bool:
    if MODIFIER in actor:  # whom it then means is not known
        return False
    return actor["reference"].get("reference") == person and not ACTING.isdisjoint(_codes(actor["role"]))


def _permits(provision: dict[str, Any], permission: str) -> bool:
    """A permit that says what may be done permits that alone."""
    said = {code for action in provision.get("action", ()) for code in _codes(action)}
    return "action" not in provision or not said.isdisjoint(READING if permission in "rs" else WRITING)


def _codes(concept: dict[str, Any]) -> set[str]:
    return {coding["code"] for coding in concept.get("coding", ()) if "code" in coding}
