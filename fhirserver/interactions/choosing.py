"""Patients and visits as they are offered to a person who lets an app in: no more than that person may see.

`smart_auth.choices` says what is asked; here the record answers, by the interactions that anybody else uses.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fhirserver.access.audit import Asked, audited
from fhirserver.context import OPERATOR, Caller, Context, Trail
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions.exchange import Answer, Pairs, Request
from fhirserver.interactions.opening import patients_of
from fhirserver.interactions.read import read
from fhirserver.interactions.search import search_type
from fhirserver.interactions.write import create
from fhirserver.search.criteria import EntrustedTo
from fhirserver.telemetry import request_id
from smart_auth.choices import Choice
from smart_auth.scopes import Scope
from smart_auth.users import User

log = logging.getLogger(__name__)
SEEING = tuple(Scope("user", type_, frozenset("rs")) for type_ in ("Patient", "Encounter"))
MOST = "20"
_date = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_special = re.compile(r"([\\,|$])")


@dataclass(frozen=True, slots=True)
class Offered:
    """The choices of one record: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html"""

    ctx: Context

    async def own(self, user: User) -> Sequence[Choice]:
        entrusted = await patients_of(self.ctx, EntrustedTo(user.fhir_user, "r")) if user.fhir_user else ()
        found = [await self._patient(user, id_) for id_ in dict.fromkeys((*user.records, *entrusted))]
        return [each for each in found if each is not None]

    async def found(self, user: User, text: str) -> Sequence[Choice]:
        """By words of the name and a birth date; else by an identifier."""
        words = _special.sub(r"\\\1", text).split()
        named = tuple(("birthdate" if _date.fullmatch(word) else "name", word) for word in words)
        patients = await self._search(user, "Patient", (*named, ("_sort", "family"), ("_count", MOST)))
        if not patients and len(words) == 1:
            patients = await self._search(user, "Patient", (("identifier", words[0]), ("_count", MOST)))
        return [_patient(each) for each in patients]

    async def patient(self, user: User, id_: str) -> Choice | None:
        return await self._patient(user, id_)

    async def encounters(self, user: User, patient: str) -> Sequence[Choice]:
        pairs = (("patient", f"Patient/{patient}"), ("_sort", "-date"), ("_count", MOST))
        return [_encounter(each) for each in await self._search(user, "Encounter", pairs)]

    async def encounter(self, user: User, patient: str, id_: str) -> Choice | None:
        pairs = (("_id", id_), ("patient", f"Patient/{patient}"))
        return next(map(_encounter, await self._search(user, "Encounter", pairs)), None)

    async def made(self, user: User) -> str | None:
        telecom = [{"system": "email", "value": user.email}] if user.email else []
        body = {"resourceType": "Patient", "active": True, "name": [{"text": user.name}]}
        request = Request(method="POST", path=("Patient",), body=body | ({"telecom": telecom} if telecom else {}))
        try:
            answer = await create(replace(self.ctx.fresh(), caller=OPERATOR), request, "Patient")
        except Outcome as refused:
            log.warning("no Patient was made for an account: %s", refused)
            return None
        return answer.stored.id if answer.stored else None

    async def missing(self, references: Sequence[str]) -> Sequence[str]:
        """An account may come before its record; a wrong id looks the same."""
        asked = (each.split("/") for each in references)
        found = await asyncio.gather(*(self.ctx.store.read(type_, id_) for type_, id_ in asked))
        return [each for each, stored in zip(references, found, strict=True) if stored is None or stored.deleted]

    async def _patient(self, user: User, id_: str) -> Choice | None:
        request = Request(method="GET", path=("Patient", id_))
        body = await self._asked(user, request, lambda ctx: read(ctx, request, "Patient", id_))
        return _patient(json.decode(body)) if body else None

    async def _search(self, user: User, type_: str, pairs: Pairs) -> list[dict[str, Any]]:
        request = Request(method="GET", path=(type_,), pairs=pairs)
        body = await self._asked(user, request, lambda ctx: search_type(ctx, request, type_))
        entries = json.decode(body).get("entry", []) if body else []
        return [entry["resource"] for entry in entries if entry["search"]["mode"] == "match"]

    async def _asked(self, user: User, request: Request, run: Callable[[Context], Awaitable[Answer]]) -> bytes:
        """The answer, once it is in the ledger who looked; nothing where there is none for this person."""
        ctx = self._as(user)
        deed = Asked(request.method, request.path, urlencode(request.pairs), None, request_id.get() or "")
        try:
            return (await audited(ctx, deed, lambda: run(ctx))).body
        except Outcome:
            return b""

    def _as(self, user: User) -> Context:
        """What a person sees whatever app they use."""
        caller = Caller(
            name=user.id,
            scopes=SEEING,
            user=user.id,
            fhir_user=user.fhir_user,
            roles=user.roles,
            records=user.records,
            practice=self.ctx.settings.practitioner_access,
            own=user.patient,
        )
        return replace(self.ctx.fresh(), caller=caller, trail=Trail())


def _patient(resource: dict[str, Any]) -> Choice:
    born = f"born {resource['birthDate']}" if "birthDate" in resource else ""
    identifiers = [each["value"] for each in resource.get("identifier", ()) if "value" in each]
    detail = _joined(born, resource.get("gender", ""), *identifiers[:1])
    return Choice(resource["id"], called(resource.get("name", ())) or f"Patient {resource['id']}", detail)


def _encounter(resource: dict[str, Any]) -> Choice:
    kinds = resource.get("type", [])
    said = (kind.get("text") or next(_displays(kind.get("coding", ())), "") for kind in kinds)
    class_ = resource.get("class", {})
    name = next(filter(None, said), "") or class_.get("display") or class_.get("code") or "Visit"
    return Choice(resource["id"], name, resource.get("period", {}).get("start", "")[:10])


def called(names: Iterable[dict[str, Any]]) -> str:
    """How a person is called: the name in use, not one of before."""
    ranked = sorted(
        names, key=lambda name: {"official": 0, "usual": 1, "old": 9, "maiden": 9}.get(name.get("use", ""), 5)
    )
    for name in ranked:
        if said := name.get("text") or _joined(*name.get("given", ()), name.get("family", ""), by=" "):
            return str(said)
    return ""


def _displays(codings: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (coding["display"] for coding in codings if "display" in coding)


def _joined(*texts: str | None, by: str = ", ") -> str:
    return by.join(text for text in texts if text)
