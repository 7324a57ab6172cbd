"""The one law of access: every path to data asks here, and nowhere else.

`authorize` says whether a caller may do that kind of thing at all: 401 without a token, 403 where its scopes do not
reach. `restrict` narrows a query to what the caller may see; what it may not see does not exist for it.
A caller is open (`--open`, loopback only) and may do everything, has an access token with scopes, or is nobody and may
do nothing.
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.access.reach import PROXIES, reach
from fhirserver.context import Caller
from fhirserver.fhir.outcome import Outcome
from fhirserver.search.criteria import Consented
from fhirserver.search.joined import EVERYTHING
from fhirserver.search.query import Query
from fhirserver.store.schema import AUDIT_EVENT

# https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#scopes-for-requesting-fhir-resources
PERMISSIONS = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "everything": "r",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
    "search": "s",
    "history-type": "s",
    "history-system": "s",
    "lastn": "s",
    "stats": "s",
    "series": "s",
}
ALL = frozenset("cruds")
# What rests on definitions alone, which are about nobody; and what asks for each of its parts.
KNOWING = frozenset(
    {
        "batch",
        "closure",
        "expand",
        "find-matches",
        "lookup",
        "preferred-id",
        "subsumes",
        "terminology",
        "transaction",
        "translate",
        "validate",
        "validate-code",
    }
)


def authorize(caller: Caller, interaction: str, type_: str | None) -> None:
    """Raise unless the caller may use the interaction on the type (None: the system level).

    What is neither about resources nor about knowledge is for administrators.
    """
    if caller.open:
        return
    if caller.stranger:
        raise _nobody(f"{interaction} on {type_ or 'the system'}")
    if type_ == AUDIT_EVENT and interaction in ("update", "patch", "delete"):
        raise beyond("audit events stay as they are")
    permission = PERMISSIONS.get(interaction)
    if permission is None:
        if interaction not in KNOWING and not _administers(caller):
            said = "an access token of an administrator's account, with the scope user/*.cruds"
            raise beyond(f"{interaction} on {type_ or 'the system'} is for administrators: it takes {said}")
    elif not any(
        permission in scope.permissions and (type_ is None or scope.type in ("*", type_)) for scope in caller.scopes
    ):
        said = f"the scopes of this access token do not reach {interaction} on {type_ or 'the system'}"
        raise beyond(f"{said}: that takes one with {permission}, as in user/{type_ or '*'}.{permission}")


def authorize_sending(caller: Caller) -> None:
    """Raise for who may do nothing, before the body of the request takes room and time."""
    if caller.stranger:
        raise _nobody("what has a body")


def _nobody(what: str) -> Outcome:
    return Outcome(
        401,
        "login",
        f"{what} needs authorization, and no access token was sent;"
        " a sandbox on this machine can be started with `healthmate serve --open`",
        headers=(("www-authenticate", 'Bearer realm="healthmate"'),),
    )


def _administers(caller: Caller) -> bool:
    """An administrator, through an app that was let into all that they may do: no narrower one runs the server."""
    return "admin" in caller.roles and any(
        (scope.level, scope.type) == ("user", "*") and scope.permissions >= ALL and not scope.criteria
        for scope in caller.scopes
    )


def knows(caller: Caller) -> bool:
    """Whether the caller may use what rests on definitions alone: whoever has a token may."""
    return caller.open or not caller.stranger


def beyond(said: str) -> Outcome:
    """https://www.rfc-editor.org/rfc/rfc6750#section-3.1"""
    challenge = f'Bearer realm="healthmate", error="insufficient_scope", error_description="{said}"'
    return Outcome(403, "forbidden", said, headers=(("www-authenticate", challenge),))


def authorize_explanation(caller: Caller) -> None:
    """Raise unless the caller may see how the database answers: filters, indexes, and how much it looked at."""
    authorize(caller, "explain", None)


def authorize_emergency(caller: Caller, *, kept: bool) -> str:
    """The account that may open a record in an emergency; `kept`: the server allows that, and accounts for it.

    It is for all apps of that person: so not at the word of one that they let see nothing, or one patient only.
    """
    authorize(caller, "batch", None)
    person = caller.fhir_user
    if caller.user is None or "practitioner" not in caller.roles or person is None or person.startswith(PROXIES):
        raise beyond("records are opened in an emergency by practitioners, whose account says which one they are")
    if not any(
        scope.level == "user" and scope.permits("Patient", "r") and not scope.criteria for scope in caller.scopes
    ):
        raise beyond("records are opened in an emergency by apps that have user/Patient.r, of any patient")
    if not kept:
        raise Outcome(403, "forbidden", "this server opens no record in an emergency: it could not account for it")
    return caller.user


def authorize_jobs(caller: Caller) -> None:
    """Raise unless the caller may see what the server does in the background, and cancel it."""
    authorize(caller, "jobs", None)


def restrict(caller: Caller, query: Query, permission: str = "s") -> Query:
    """The part of a query that the caller may see, and that consents and security labels leave to it.

    An estimate rests on what others have, so it is counted instead.
    """
    if caller.open:
        return query
    allowed = reach(caller, query.type_, permission)
    total = "accurate" if query.total == "estimate" and allowed is not EVERYTHING else query.total
    needed = () if allowed is EVERYTHING else (allowed,)
    return replace(query, criteria=(*query.criteria, *needed, Consented(permission)), total=total)
