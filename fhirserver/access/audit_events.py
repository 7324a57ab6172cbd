"""What happened, as an AuditEvent after IHE's Basic Audit Log Patterns: who, by what app, did what, to whose data.

One event is about one patient at most, for the patient may read it. https://profiles.ihe.net/ITI/BALP/
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

from fhirserver.consents.purposes import SYSTEM as REASON
from fhirserver.context import Caller
from smart_auth.server import Happening

Resource = dict[str, Any]

PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
TRANSACTION = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"

# interaction → what is done with the data, and the pattern that says so
DONE = {
    "read": ("R", "Read"),
    "vread": ("R", "Read"),
    "history-instance": ("R", "Read"),
    "history-type": ("E", "Query"),
    "history-system": ("E", "Query"),
    "search-type": ("E", "Query"),
    "search-system": ("E", "Query"),
    "create": ("C", "Create"),
    "update": ("U", "Update"),
    "patch": ("U", "Update"),
    "delete": ("D", "Delete"),
    "operation": ("E", None),
    "batch": ("E", None),
    "transaction": ("E", None),
}
# what happens to accounts → its DICOM code; all else changes what an account may do, or how
LOG_IN, LOG_OUT, STARTED = ("110122", "Login"), ("110123", "Logout"), ("110120", "Application Start")
ACCOUNTS = {
    "log-in": LOG_IN,
    "log-in-failed": LOG_IN,
    "log-ins-turned-away": LOG_IN,
    "second-factor-failed": LOG_IN,
    "passkey-failed": LOG_IN,
    "log-out": LOG_OUT,
    "sessions-ended": LOG_OUT,
    "user-logged-out": LOG_OUT,
    "launch": STARTED,
}
OTHER = ("110137", "User Security Attributes Changed")
ACTIVITY, AUTHENTICATION = ("110100", "Application Activity"), ("110114", "User Authentication")
FAILED = frozenset(("log-in-failed", "log-ins-turned-away", "second-factor-failed", "passkey-failed"))
PATIENTS = "Patient/"
IP_ADDRESS = "2"  # https://hl7.org/fhir/R4/valueset-network-type.html


class Author(NamedTuple):
    """Who asks, as events say it: the app, the account behind it and its resource, and the id of the access token."""

    app: str
    user: str | None
    person: str | None
    token: str | None


def author_of(caller: Caller, patient: str | None) -> Author:
    """Who asks, as an event names them that is about a patient (`Patient/1`), or about nobody.

    Who is a patient, too, is referred to in their own record only: what they did for others would lie there, for their
    own proxies and apps to read.
    """
    person = caller.fhir_user
    if person is not None and person != patient and person.startswith(PATIENTS):
        kept = {f"{PATIENTS}{each}" for each in (*caller.records, caller.patient) if each is not None}
        if patient is not None or not kept <= {person}:
            person = None
    return Author(caller.client or caller.name, caller.user, person, caller.token)


class Deed(NamedTuple):
    """One request, about one patient (`Patient/1`) or nobody's data.

    `references` are the resources that it read or wrote, `query` (base64) what it searched for. `emergency`: it may
    have seen what the patient's consents or security labels keep back but in an emergency.
    """

    interaction: str
    outcome: str
    references: tuple[str, ...]
    query: str | None
    patient: str | None
    emergency: bool = False

    @property
    def about(self) -> str | None:
        """The patient in whose record its event is: also one who was asked for in vain."""
        return self.patient or next((each for each in self.references if each.startswith(PATIENTS)), None)


def outcome_of(status: int) -> str:
    """https://hl7.org/fhir/R4/valueset-audit-event-outcome.html"""
    return "0" if status < 400 else "4" if status < 500 else "8"


def query_of(path: str, query: str) -> str:
    """As an entity says it: `Observation?code=…`, in base64."""
    return b64encode((f"{path}?{query}" if query else path).encode()).decode()


def searches_of(bundle: Resource) -> tuple[str, ...]:
    """The URLs of the searches in a batch or transaction, which may not be a Bundle at all; what is read has an id."""
    entries = bundle.get("entry")
    requests = [each.get("request") for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    urls = [each.get("url") for each in requests if isinstance(each, dict) and each.get("method") == "GET"]
    found = (url for url in urls if isinstance(url, str) and ("?" in url or "/" not in url.strip("/")))
    return tuple(dict.fromkeys(found))


def event(deed: Deed, author: Author, *, recorded: str, request_id: str, site: str) -> Resource:
    action, pattern = DONE[deed.interaction]
    profile = [f"{PROFILES}{'Patient' if deed.patient else ''}{pattern}"] if pattern else []
    return {
        "resourceType": "AuditEvent",
        **({"meta": {"profile": profile}} if profile else {}),
        "type": _coding(EVENT_TYPE, "rest", "RESTful Operation"),
        "subtype": [_coding(INTERACTION, deed.interaction, deed.interaction)],
        "action": action,
        "recorded": recorded,
        "outcome": deed.outcome,
        **({"purposeOfEvent": [_concept(REASON, "ETREAT", "Emergency Treatment")]} if deed.emergency else {}),
        "agent": _agents(author),
        "source": _source(site),
        "entity": [*_entities(deed), _of_request(request_id)],
    }


def account_event(happening: Happening, *, recorded: str, site: str) -> Resource:
    """Of a log-in, a log-out, a launch, a change of an account: who did it, and to whose; of who failed, to whose."""
    code, display = ACCOUNTS.get(happening.kind, OTHER)
    who: Resource = {"identifier": {"value": happening.actor}} if happening.actor else {"display": "not known"}
    whose = f"{PATIENTS}{happening.patient}" if happening.patient else happening.person
    if happening.person and (happening.person == whose or not happening.person.startswith(PATIENTS)):
        who["reference"] = happening.person
    agent: Resource = {"who": who, "requestor": True}
    if happening.address:
        agent["network"] = {"address": happening.address, "type": IP_ADDRESS}
    subject: Resource = {"identifier": {"value": happening.subject}} if happening.subject else {"display": "no account"}
    account: Resource = {"what": subject, "type": _of_person(), "description": happening.kind}
    if happening.roles:
        said = ((name, ", ".join(roles)) for name, roles in happening.roles.items())
        account["detail"] = [{"type": name, "valueString": roles or "none"} for name, roles in said]
    entities = [account]
    if happening.patient:
        entities.append(
            {"what": {"reference": f"{PATIENTS}{happening.patient}"}, "type": _of_person(), "role": _role("1")}
        )
    return {
        "resourceType": "AuditEvent",
        "type": _coding(DICOM, *(ACTIVITY if happening.kind == "launch" else AUTHENTICATION)),
        "subtype": [_coding(DICOM, code, display)],
        "action": "E",
        "recorded": recorded,
        "outcome": "4" if happening.kind in FAILED else "0",
        "agent": [agent],
        "source": _source(site),
        "entity": entities,
    }


def emergency_event(author: Author, patient: str, reason: str, *, recorded: str, site: str) -> Resource:
    """https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_D.html: Emergency Override Started"""
    return {
        "resourceType": "AuditEvent",
        "type": _coding(DICOM, "110113", "Security Alert"),
        "subtype": [_coding(DICOM, "110127", "Emergency Override Started")],
        "action": "E",
        "recorded": recorded,
        "outcome": "0",
        "purposeOfEvent": [_concept(REASON, "BTG", "break the glass")],
        "agent": _agents(author),
        "source": _source(site),
        "entity": [
            {
                "what": {"reference": patient},
                "type": _of_person(),
                "role": _role("1"),
                "detail": [{"type": "reason", "valueString": reason}],
            }
        ],
    }


def _source(site: str) -> Resource:
    return {"site": site, "observer": {"display": "HealthMate"}}


def _agents(author: Author) -> list[Resource]:
    """The app that asks, and the person on whose behalf it does."""
    agents: list[Resource] = [
        {
            "type": _concept(DICOM, "110153", "Source Role ID"),
            "who": {"identifier": {"value": author.app}},
            "requestor": author.user is None,
        }
    ]
    if author.user is not None:
        who: Resource = {"identifier": {"value": author.user}}
        if author.person:
            who["reference"] = author.person
        policy = {"policy": [f"urn:healthmate:token:{author.token}"]} if author.token else {}
        person = {"type": _concept(PARTICIPATION, "IRCP", "information recipient"), "who": who, "requestor": True}
        agents.append(person | policy)
    return agents


def _entities(deed: Deed) -> list[Resource]:
    found: list[Resource] = [
        {"what": {"reference": reference}, "type": _coding(ENTITY_TYPE, "2", "System Object"), "role": _role("4")}
        for reference in deed.references
    ]
    if deed.query is not None:
        of_system = _coding(ENTITY_TYPE, "2", "System Object")
        found.append({"type": of_system, "role": _role("24"), "query": deed.query})
    if deed.patient is not None:
        found.append({"what": {"reference": deed.patient}, "type": _of_person(), "role": _role("1")})
    return found


def _of_person() -> Resource:
    return _coding(ENTITY_TYPE, "1", "Person")


def _of_request(request_id: str) -> Resource:
    type_ = _coding(TRANSACTION, "XrequestId", "X-Request-Id")
    return {"what": {"identifier": {"value": request_id}}, "type": type_}


ROLES = {"1": "Patient", "4": "Domain Resource", "24": "Query"}


def _role(code: str) -> Resource:
    return _coding(ROLE, code, ROLES[code])


def _concept(system: str, code: str, display: str) -> Resource:
    return {"coding": [_coding(system, code, display)]}


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": system, "code": code, "display": display}


def interaction_of(method: str, path: Sequence[str], bundle: str | None) -> str | None:
    """The code of https://hl7.org/fhir/R4/valueset-restful-interaction.html; None for what touches no data."""
    reads = method in ("GET", "HEAD")
    match [*path]:
        case ["metadata"]:
            return None
        case []:
            return "search-system" if reads else bundle if bundle in ("batch", "transaction") else "batch"
        case [*_, name] if name.startswith(("$", "_jobs")):
            return "operation"
        case ["_jobs", *_]:
            return "operation"
        case ["_history"]:
            return "history-system"
        case ["_search"]:
            return "search-system"
        case [_, "_search"]:
            return "search-type"
        case [_, "_history"]:
            return "history-type"
        case [_]:
            return "search-type" if reads else WRITES.get(method, "operation")
        case [_, _]:
            return "read" if reads else WRITES.get(method, "operation")
        case [_, _, "_history"]:
            return "history-instance"
        case [_, _, "_history", _]:
            return "vread"
    return "search-type"  # of a compartment


WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
