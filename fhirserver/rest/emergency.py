"""X-Break-Glass: why the record of a patient is opened in an emergency, said with the request that needs it.

It is `Patient/[id]/$break-glass` and the request in one: the same right, the same reason, the same event.
"""

from __future__ import annotations

from fhirserver.context import Context
from fhirserver.fhir.outcome import invalid
from fhirserver.interactions.exchange import Pairs, Request
from fhirserver.operations.break_glass import open_record
from fhirserver.rest.bodies import Headers

HEADER = b"x-break-glass"
NAMING = ("patient", "subject", "subject:Patient", "patient:Patient")


def reason_of(headers: Headers) -> str | None:
    raw = headers.get(HEADER)
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:  # what RFC 9110 §5.5 calls obs-text, as browsers send it
        return raw.decode("latin-1")


async def break_glass(ctx: Context, asked: Request, reason: str) -> None:
    """Open the record of the one patient whom the request is about, or refuse."""
    patient = patient_of(asked, ctx.base_url)
    if patient is None:
        raise invalid(
            "X-Break-Glass opens the record of one patient: read Patient/[id] or what is below it, or search with"
            " patient=[id]; a write needs Patient/[id]/$break-glass first",
            "X-Break-Glass",
        )
    await open_record(ctx, patient, reason)


def patient_of(asked: Request, base_url: str) -> str | None:
    """The id of the only patient that a read, a search or an operation names; None where that is nobody or several."""
    reads = asked.method == "GET" or asked.path[-1:] == ("_search",)
    match asked.path:
        case _ if not reads:
            return None
        case ("Patient", id_, *_) if id_ != "_search" and not id_.startswith(("_", "$")):
            return id_
        case ("Patient",) | ("Patient", "_search"):
            return _only(asked.pairs, ("_id",), base_url)
    return _only(asked.pairs, NAMING, base_url)


def _only(pairs: Pairs, names: tuple[str, ...], base_url: str) -> str | None:
    """The patient of the one parameter that names one. Without a type, only `patient` and `_id` say what it is."""
    found = [(name, value.removeprefix(f"{base_url}/")) for name, value in pairs if name in names]
    if len(found) != 1:
        return None
    ((name, value),) = found
    type_, _, id_ = value.rpartition("/")
    typed = type_ == "Patient" or (not type_ and name != "subject")
    return id_ if typed and id_ and "," not in id_ else None
