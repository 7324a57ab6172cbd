"""The one law of access: every path to data asks here, and nowhere else.

A caller is open (`--open`, loopback only) and may do everything, has an access token with scopes, or is nobody and may
do nothing.
"""

from __future__ import annotations

from typing import TypeVar

from fhirserver.context import Caller
from fhirserver.fhir.outcome import Outcome

Q = TypeVar("Q")

ALONE = ("read", "vread", "create", "update", "patch", "delete", "history-instance")
PERMISSIONS = {
    "read": "r",
    "vread": "r",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
    "search": "rs",
    "everything": "rs",
    "lastn": "rs",
    "stats": "rs",
    "series": "rs",
    "history-instance": "rs",
    "history-type": "rs",
    "history-system": "rs",
}


def authorize(caller: Caller, interaction: str, type_: str | None) -> None:
    """Raise unless the caller may use the interaction on the type (None: the system level)."""
    if caller.open:
        return
    if caller.token is None:
        raise Outcome(
            401,
            "login",
            f"{interaction} on {type_ or 'the system'} needs authorization, and no access token was sent;"
            " a sandbox on this machine can be started with `healthmate serve --open`",
            headers=(("www-authenticate", 'Bearer realm="healthmate"'),),
        )
    if not _reaches(caller, interaction, type_):
        said = f"the scopes of this access token do not reach {interaction} on {type_ or 'the system'}"
        challenge = f'Bearer realm="healthmate", error="insufficient_scope", error_description="{said}"'
        raise Outcome(403, "forbidden", said, headers=(("www-authenticate", challenge),))


def _reaches(caller: Caller, interaction: str, type_: str | None) -> bool:
    """Scopes of backend services, without criteria. What may touch other types than its own needs all of them."""
    needed = PERMISSIONS.get(interaction)
    if needed is None:
        return False
    wanted = type_ if type_ and interaction in ALONE else "*"
    scopes = [each for each in caller.scopes if each.level == "system" and not each.criteria]
    return all(any(each.permits(wanted, letter) for each in scopes) for letter in needed)


def authorize_explanation(caller: Caller) -> None:
    """Raise unless the caller may see how the database answers: filters, indexes, and how much it looked at."""
    authorize(caller, "explain", None)


def authorize_jobs(caller: Caller) -> None:
    """Raise unless the caller may see what the server does in the background, and cancel it."""
    authorize(caller, "jobs", None)


def restrict(caller: Caller, query: Q) -> Q:
    """The part of a query that the caller may see."""
    authorize(caller, "search", None)
    return query
