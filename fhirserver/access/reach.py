"""How far a caller reaches in a type: what its scopes permit, and what its user may see, as one criterion of a search.

    patient/Observation.rs              in the compartment of the patient of the launch
    patient/Observation.rs?category=…   and of that category
    patient/Practitioner.r              referred to from that compartment
    user/Observation.rs                 what the person who is logged in may see
    system/Observation.rs               all

Scopes are alternatives; nothing that one of them permits is taken away by another.
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from fhirserver.consents.opening import SAYING
from fhirserver.context import Caller
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.compartments import OF_A_PATIENT, SOMEBODY, parameters_for
from fhirserver.search.criteria import Belonging, CaredFor, Clause, Criterion, EntrustedTo, Negation, ReferredFrom
from fhirserver.search.joined import EVERYTHING, NOTHING, conjoined, either
from fhirserver.search.parameters import r4_registry
from fhirserver.search.query_string import parse
from smart_auth.scopes import Scope

# About nobody in particular: under patient/ scopes they are seen where the patient's record refers to them.
SHARED = frozenset(
    {
        "Binary",
        "Device",
        "Endpoint",
        "HealthcareService",
        "Location",
        "Medication",
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "Questionnaire",
        "Substance",
    }
)

# In a patient's record, and not the patient's to write: who looked at it.
WRITTEN_BY_SERVERS = frozenset({"AuditEvent"})

# Who may keep a patient's record for them, by an account; and what says so.
PROXIES = ("RelatedPerson/", "Patient/", "Person/")
ENTRUSTING = frozenset({"Consent", "RelatedPerson"})

# Where these are in nobody's record, they are somebody's all the same: no practitioner sees them who does not see all.
OF_SOMEBODY = frozenset(
    {
        "AuditEvent",
        "Basic",
        "Binary",
        "Bundle",
        "Composition",
        "DocumentManifest",
        "DocumentReference",
        "Linkage",
        "List",
        "MessageHeader",
        "Parameters",
        "Patient",
        "Person",
        "Provenance",
        "RelatedPerson",
    }
)

# They change what the server does for everybody; of roles, whose records a practitioner may open.
WRITTEN_BY_ADMINISTRATORS = WRITTEN_BY_SERVERS | {
    "CapabilityStatement",
    "CompartmentDefinition",
    "OperationDefinition",
    "PractitionerRole",
    "SearchParameter",
    "StructureDefinition",
}


@lru_cache(maxsize=10_000)
def reach(caller: Caller, type_: str, permission: str) -> Criterion:
    """What of a type a caller may create, read, update, delete or search: one of cruds."""
    if caller.open:
        return EVERYTHING
    found = dict.fromkeys(
        conjoined(_level(caller, scope.level, type_, permission), *_criteria(scope, type_))
        for scope in caller.scopes
        if scope.permits(type_, permission)
    )
    return either([*found])


def caring(caller: Caller, type_: str, *, urgent: bool = True) -> Criterion:
    """The resources of a type that somebody is trusted with though they are labelled as restricted.

    `urgent`: with what is open in an emergency.
    """
    if "admin" in caller.roles:
        return EVERYTHING
    if "practitioner" not in caller.roles:
        return NOTHING
    nobodys = () if type_ in OF_SOMEBODY - {"Binary"} else (Belonging(()) if in_records(type_) else EVERYTHING,)
    return either([_cared_for(caller, urgent=urgent), *nobodys])


def _level(caller: Caller, level: str, type_: str, permission: str) -> Criterion:
    match level:
        case "system":
            return EVERYTHING
        case "patient" if caller.patient is not None:
            opens = _may_open(caller, caller.patient, type_, permission)
            return conjoined(in_records_of((caller.patient,), type_, permission), opens)
        case "user":
            return _of_user(caller, type_, permission) if caller.user is not None else NOTHING
    return NOTHING


def in_records_of(patients: tuple[str, ...], type_: str, permission: str) -> Criterion:
    """What is in the records of these patients, and what these refer to.

    Of patients themselves only these: one that is linked to them may be somebody else.
    """
    references = tuple(f"Patient/{each}" for each in patients)
    if not patients:
        return NOTHING
    if type_ == "Patient":
        return Clause(r4_registry()["Patient"]["_id"], None, patients)
    if permission not in "rs" and type_ in WRITTEN_BY_SERVERS:
        return NOTHING
    within: list[Criterion] = [Belonging(references)] if in_records(type_) else []
    if permission in "rs" and type_ in SHARED:
        nobodys = [either([Belonging(()), Belonging((SOMEBODY,))])] if within else []
        within.append(conjoined(ReferredFrom(references), *nobodys))
    return either(within)


def in_records(type_: str) -> bool:
    """Whether resources of a type can be in the record of a patient: a Bundle, if it is a document about one."""
    return type_ in ("Patient", "Binary", "Bundle", *OF_A_PATIENT) or bool(parameters_for("Patient", type_))


def ordinary(caller: Caller) -> CaredFor | None:
    """The records that a practitioner may open without an emergency; None where an emergency opens none."""
    found = _practice(caller, urgent=True) if "admin" not in caller.roles else NOTHING
    return replace(found, account=None) if isinstance(found, CaredFor) else None


def keeps_to_records(caller: Caller, type_: str, permission: str) -> bool:
    """Whether a caller sees what records refer to, and no more than that, of what is about nobody."""
    return not caller.open and not any(
        _looks_up(caller, scope) for scope in caller.scopes if scope.permits(type_, permission)
    )


def sees_what_is_named(caller: Caller, type_: str) -> bool:
    """Whether a caller sees some of a type because a record refers to it."""
    return not caller.open and any(
        _by_records(caller, scope) for scope in caller.scopes if any(scope.permits(type_, each) for each in "rs")
    )


def looking_up(caller: Caller) -> Caller:
    """The same, without what it sees because records refer to it."""
    scopes = tuple(scope for scope in caller.scopes if _looks_up(caller, scope))
    person = None if _keeps_for_others(caller) else caller.fhir_user
    return caller._replace(scopes=scopes, records=(), fhir_user=person)


def _looks_up(caller: Caller, scope: Scope) -> bool:
    """A practitioner does, with an app that may what they may; one about a patient keeps to that, whoever uses it."""
    return scope.level == "system" or (scope.level == "user" and not caller.roles.isdisjoint(("practitioner", "admin")))


def _by_records(caller: Caller, scope: Scope) -> bool:
    """A practitioner may have a record of their own, or keep one, too."""
    keeps = bool(caller.records) or _keeps_for_others(caller)
    return not _looks_up(caller, scope) or (scope.level == "user" and keeps)


def _keeps_for_others(caller: Caller) -> bool:
    """Whether records may entrust themselves to the person."""
    return caller.fhir_user is not None and caller.fhir_user.startswith(PROXIES)


def _may_open(caller: Caller, patient: str, type_: str, permission: str) -> Criterion:
    """Whether the person may open this record with an app. A token without a user stands for what was given it."""
    if caller.user is None or "admin" in caller.roles or patient in caller.records:
        return EVERYTHING
    own = _practice(caller, patient, urgent=not opens(type_, permission))
    return either([own, _entrusted(caller, type_, permission, patient)])


def _entrusted(caller: Caller, type_: str, permission: str, patient: str | None = None) -> Criterion:
    """The records that are entrusted to the person; or whether that of a patient is one of them.

    To whom a record is entrusted, those say whose it is: nobody prolongs their own time, or passes it on.
    """
    person = caller.fhir_user or ""
    if not person.startswith(PROXIES) or (permission not in "rs" and type_ in ENTRUSTING):
        return NOTHING
    return EntrustedTo(person, permission, patient)


def _of_user(caller: Caller, type_: str, permission: str) -> Criterion:
    """What a person may see, whatever app it is with."""
    if "admin" in caller.roles:
        return EVERYTHING
    return either([*_by_roles(caller, type_, permission)])


def _by_roles(caller: Caller, type_: str, permission: str) -> Iterator[Criterion]:
    if caller.records:
        yield in_records_of(caller.records, type_, permission)
    yield _entrusted(caller, type_, permission)
    if "practitioner" in caller.roles and (permission in "rs" or type_ not in WRITTEN_BY_ADMINISTRATORS):
        if in_records(type_):
            theirs = _practice(caller, urgent=not opens(type_, permission))
            yield conjoined(theirs, Negation(Belonging(()))) if type_ in WRITTEN_BY_SERVERS else theirs
        if type_ not in (WRITTEN_BY_SERVERS if caller.practice == "all" else OF_SOMEBODY):
            yield Belonging(()) if in_records(type_) else EVERYTHING


def opens(type_: str, permission: str) -> bool:
    """Whether what is written may open a record longer than an emergency lasts, which is no reason to write it then."""
    return permission in "cud" and type_ in SAYING


def _practice(caller: Caller, patient: str | None = None, *, urgent: bool) -> Criterion:
    """The records that a practitioner may open; or whether that of a patient is one of them."""
    if "practitioner" not in caller.roles:
        return NOTHING
    return EVERYTHING if caller.practice == "all" else _cared_for(caller, patient, urgent=urgent)


def _cared_for(caller: Caller, patient: str | None = None, *, urgent: bool) -> Criterion:
    if caller.user is None or caller.fhir_user is None or not caller.fhir_user.startswith("Practitioner/"):
        return NOTHING
    return CaredFor(caller.fhir_user, caller.user if urgent else None, caller.practice == "organization", patient)


def _criteria(scope: Scope, type_: str) -> tuple[Criterion, ...]:
    """Of `?category=…`. What is no search parameter of the type permits nothing of it."""
    if not scope.criteria:
        return ()
    pairs = [(name, value) for name, _, value in (each.partition("=") for each in sorted(scope.criteria))]
    try:
        query = parse(type_, pairs, r4_registry(), strict=True, base_url="", default_count=1, max_count=1)
    except Outcome:
        return (NOTHING,)
    return query.criteria if len(query.criteria) == len(pairs) else (NOTHING,)
