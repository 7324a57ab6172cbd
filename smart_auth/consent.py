"""Who is asked whether an app may do what it asks, and what they answer: all of it, less, or nothing.

`authorize` makes an `Asking` of a request that it found valid. A decision that stands is `remembered`; else the browser
goes to `url`, where `ask` shows whose record it is about (or lets choose) and what is asked, and the form comes back to
`decided`. The request itself travels through the pages and is validated again each time: the server keeps nothing.
https://hl7.org/fhir/smart-app-launch/app-launch.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from smart_auth import earlier, wording
from smart_auth.choices import Choice
from smart_auth.refusal import Refused, invalid_request
from smart_auth.scopes import Scope, parse
from smart_auth.server import Auth, Document
from smart_auth.sessions import Session
from smart_auth.visits import Visit

YES = "on"


class Asking(NamedTuple):
    """`request` is the query string of the authorization request; `patient` and `encounter` come from an EHR launch.

    `recognised` says that the answer reaches this client and no other app, so that a decision may stand:
    https://www.rfc-editor.org/rfc/rfc8252#section-8.6
    """

    request: str
    client_id: str
    client_name: str
    client_uri: str | None
    leads_to: str
    scopes: tuple[str, ...]
    patient: str | None = None
    encounter: str | None = None
    recognised: bool = False

    @property
    def about_a_patient(self) -> bool:
        """A visit is one of a patient."""
        launched = not {"launch/patient", "launch/encounter"}.isdisjoint(self.scopes)
        return launched or any(s.startswith("patient/") for s in self.scopes)

    @property
    def about_a_visit(self) -> bool:
        """Whether the person is to say which."""
        return "launch/encounter" in self.scopes and self.encounter is None


class Decision(NamedTuple):
    """What was granted: scopes out of those that were asked, or narrower ones."""

    scopes: tuple[str, ...]
    patient: str | None
    encounter: str | None


def url(auth: Auth, asking: Asking) -> str:
    return f"{auth.issuer}/consent?{urlencode({'request': asking.request})}"


async def remembered(auth: Auth, session: Session, asking: Asking) -> Decision | None:
    """What the person decided before, for the same client and nothing more than was asked then.

    Which visit an app works with is asked each time. A decision about a patient is about no other; one about what the
    person may see themselves holds with whichever record an EHR opens the app.
    """
    if not asking.recognised or asking.about_a_visit:
        return None
    patient = asking.patient or await _only(auth, session, asking)
    if asking.about_a_patient and patient is None:
        return None
    kept = await _kept(auth, session, asking, patient)
    if kept is None or not {*asking.scopes} <= {*kept["asked"]}:
        return None
    granted = tuple(scope for scope in kept["scopes"] if _within(scope, asking.scopes))
    refused = any(map(parse, asking.scopes)) and not any(map(parse, granted))  # all that is asked for now
    return Decision(granted, patient, asking.encounter) if granted and not refused else None


async def _kept(auth: Auth, session: Session, asking: Asking, patient: str | None) -> Document | None:
    """The last decision about this app, and where it works with one record, about this patient."""
    kept = await auth["approvals"].find_one({"_id": f"{session.user.id} {asking.client_id}"})
    other = kept is not None and asking.about_a_patient and kept["patient"] != patient
    return None if other else kept


def _within(scope: str, asked: Iterable[str]) -> bool:
    """A scope that was granted out of those that are asked."""
    narrow = parse(scope)
    wide = [found for text in asked if (found := parse(text))]
    return any(each.contains(narrow) for each in wide) if narrow else scope in asked


async def _only(auth: Auth, session: Session, asking: Asking) -> str | None:
    """The patient, where there is no choice."""
    own = await auth.choices.own(session.user)
    return own[0].id if asking.about_a_patient and len(own) == 1 and not session.user.looks_up else None


async def ask(visit: Visit, asking: Asking, refused: Refused | None = None) -> Response:
    """The page that asks, or first the one to choose a patient."""
    session = visit.person()
    patient = None
    if asking.about_a_patient or asking.patient:
        chosen = asking.patient or visit.text("patient", 64) or await _only(visit.auth, session, asking)
        patient = await visit.auth.choices.patient(session.user, chosen) if chosen else None
        if patient is None:
            problem = refused or (Refused("invalid_request", "choose a patient", 400) if chosen else None)
            return await _choose(visit, asking, problem)
    encounters: Sequence[Choice] = ()
    if patient and asking.about_a_visit:
        encounters = await visit.auth.choices.encounters(session.user, patient.id)
    lines = [line for scope in asking.scopes if (line := wording.line(scope))]
    kept = await _kept(visit.auth, session, asking, patient.id if patient else None)
    filled = {line.scope: earlier.filled(line.scope, kept["asked"], kept["scopes"]) for line in lines if kept}
    shown = {"asking": asking, "patient": patient, "encounters": encounters, "lines": lines, "filled": filled}
    return visit.page("consent", refused, leads_away=True, new=earlier.NEW, **shown)


async def _choose(visit: Visit, asking: Asking, refused: Refused | None) -> Response:
    user, text = visit.person().user, visit.text("text", 100)
    searches = user.looks_up
    found = await visit.auth.choices.found(user, text) if searches and text else ()
    own = await visit.auth.choices.own(user)
    if not searches and not own:
        said = "your account is not linked to a patient record yet; ask who keeps your record to link it"
        refused = Refused("access_denied", said, 403)
    return visit.page(
        "patients", refused, leads_away=True, asking=asking, own=own, found=found, text=text, searches=searches
    )


async def decided(visit: Visit, asking: Asking) -> Decision | None:
    """What the form says; None for no."""
    if visit.text("decision") != "allow":
        return None
    session = visit.person()
    scopes = granted(asking.scopes, visit.fields)
    patient = encounter = None
    if asking.about_a_patient or asking.patient:
        patient = asking.patient or visit.text("patient", 64, needed=True)
        if await visit.auth.choices.patient(session.user, patient) is None:
            raise invalid_request("this patient is not among those you may choose")
        encounter = asking.encounter or await _encounter(visit, patient)
    if not any(wording.line(scope) for scope in scopes):
        return None
    await _remember(visit.auth, session, asking, Decision(scopes, patient, encounter))
    return Decision(scopes, patient, encounter)


async def _encounter(visit: Visit, patient: str) -> str | None:
    chosen = visit.text("encounter", 64)
    if not chosen:
        return None
    listed = await visit.auth.choices.encounters(visit.person().user, patient)
    if chosen not in [each.id for each in listed]:
        raise invalid_request("this visit is not among those you may choose")
    return chosen


def granted(asked: Sequence[str], fields: Mapping[str, str]) -> tuple[str, ...]:
    """The scopes that stay ticked, narrowed as the form says. Each lies within one that was asked."""
    found: list[str] = []
    for number, text in enumerate(asked):
        if wording.line(text) is None:
            found.append(text)
        elif fields.get(f"scope.{number}") == YES:
            scope = parse(text)
            found += [text] if scope is None else _narrowed(text, scope, number, fields)
    return tuple(dict.fromkeys(found))


def _narrowed(text: str, scope: Scope, number: int, fields: Mapping[str, str]) -> list[str]:
    narrow = scope
    if fields.get(f"writing.{number}") == "no":
        narrow = scope._replace(permissions=scope.permissions - wording.WRITES)
    if not narrow.permissions:
        return []
    line = wording.line(text)
    kinds = [kind for kind, _ in line.kinds if fields.get(f"kind.{number}.{kind}") == YES] if line else []
    if kinds:
        return [str(wording.narrower(narrow, kind)) for kind in kinds]
    return [text if narrow == scope else str(narrow)]


async def _remember(auth: Auth, session: Session, asking: Asking, decision: Decision) -> None:
    await auth["approvals"].replace_one(
        {"_id": f"{session.user.id} {asking.client_id}"},
        {
            "user": session.user.id,
            "client": asking.client_id,
            "asked": list(asking.scopes),
            "scopes": list(decision.scopes),
            "patient": decision.patient,
            "at": auth.now(),
        },
        upsert=True,
    )
