"""The one law of access: every path to data asks here, and nowhere else.

Scopes, compartments and consent arrive with the authorization server. Until then a caller is open (`--open`, loopback
only) and may do everything, or is nobody and may do nothing.
"""

from __future__ import annotations

from typing import TypeVar

from fhirserver.context import Caller
from fhirserver.fhir.outcome import Outcome

Q = TypeVar("Q")


def authorize(caller: Caller, interaction: str, type_: str | None) -> None:
    """Raise unless the caller may use the interaction on the type (None: the system level)."""
    if not caller.open:
        raise Outcome(
            401,
            "login",
            f"{interaction} on {type_ or 'the system'} needs authorization, and no access token was sent;"
            " a sandbox on this machine can be started with `healthmate serve --open`",
            headers=(("www-authenticate", 'Bearer realm="healthmate"'),),
        )


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
