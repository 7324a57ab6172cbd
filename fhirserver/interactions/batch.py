"""A Bundle of requests: batch, whose entries stand alone, and transaction. https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from time import monotonic
from typing import Any

from pymongo.errors import PyMongoError

from fhirserver.access.policy import authorize
from fhirserver.context import Context
from fhirserver.fhir.bundles import bundle
from fhirserver.fhir.ids import new_id
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.fhir.places import placed
from fhirserver.interactions.changes import Resource
from fhirserver.interactions.entries import Perform, respond, response_entry
from fhirserver.interactions.exchange import Answer, Request
from fhirserver.interactions.sizes import Room, too_large
from fhirserver.interactions.transaction import transaction
from fhirserver.store.faults import refusal

BATCH_SECONDS = 60
LEFT = Outcome(503, "transient", "not done: the database did not answer an entry before it; send this one again")

log = logging.getLogger(__name__)


async def answered(ctx: Context, request: Request, perform: Perform, representation: bool = False) -> Answer:
    """A Bundle of type batch or transaction; `perform` does one read or one entry of a batch."""
    document = request.body
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise invalid("POST to the base takes a Bundle", "Bundle", code="structure")
    kind = document.get("type")
    if kind not in ("batch", "transaction"):
        raise invalid(f"a Bundle of type batch or transaction is expected, not {kind!r}", "Bundle.type")
    authorize(ctx.caller, str(kind), None)
    entries = _entries(ctx, document)
    answers: Sequence[Answer | Outcome]
    room = Room(ctx.settings.max_response_bytes)
    if kind == "batch":
        answers = _placed(ctx, request, await _batch(ctx, entries, request.strict, perform, room))
    else:
        answers, room = await transaction(ctx, entries, request.strict, perform)
    shown = [representation and isinstance(each, Answer) and each.wrote and room.admits(each.body) for each in answers]
    responses = [response_entry(answer, shown[index], index) for index, answer in enumerate(answers)]
    body = bundle(f"{kind}-response", responses, id_=new_id())
    return Answer(status=200, body=body)


async def _batch(
    ctx: Context, entries: list[Any], strict: bool, perform: Perform, room: Room
) -> list[Answer | Outcome]:
    """Entry by entry, each for itself. What is left when time is up or the database away is answered as not done."""
    answers: list[Answer | Outcome] = []
    over: Outcome | None = None
    deadline = monotonic() + BATCH_SECONDS
    for index, entry in enumerate(entries):
        if over is None and monotonic() > deadline:
            over = Outcome(503, "timeout", f"not done: a batch has {BATCH_SECONDS} s; send this entry again")
        if over is None:
            try:
                answer = await respond(ctx, entry, index, strict, perform)
                fits = isinstance(answer, Outcome) or answer.wrote or room.admits(answer.body)
                answers.append(answer if fits else too_large(ctx.settings.max_response_bytes))
            except PyMongoError as error:
                if not any(isinstance(answer, Answer) and answer.wrote for answer in answers):
                    raise
                answers.append(_refused(error, entry, index))
                over = LEFT if refusal(error) else None
        else:
            answers.append(over)
    return answers


def _placed(ctx: Context, request: Request, answers: list[Answer | Outcome]) -> list[Answer | Outcome]:
    """What was refused with its places in the text of the Bundle, which is read once for all."""
    refusals = [answer for answer in answers if isinstance(answer, Outcome)]
    issues = iter(placed(request.sent, [issue for each in refusals for issue in each.issues], ctx.definitions))
    return [each.saying(islice(issues, len(each.issues))) if isinstance(each, Outcome) else each for each in answers]


def _refused(error: PyMongoError, entry: Resource, index: int) -> Outcome:
    """What is written already has to be answered, whatever the database says to this one."""
    found = refusal(error, writing=entry["request"]["method"] not in ("GET", "HEAD"))
    if found is not None:
        return found
    log.error("unexpected, in entry %d", index, exc_info=error)
    return Outcome(500, "exception", "an unexpected error, which the server's log tells more about")


def _entries(ctx: Context, document: Resource) -> list[Any]:
    """The entries, of a Bundle that is in order but for them."""
    entries = document.get("entry", [])
    if not isinstance(entries, list):
        raise invalid("Bundle.entry is a list", "Bundle.entry", code="structure")
    issues = ctx.validator.issues({key: value for key, value in document.items() if key != "entry"})
    if issues:
        raise Outcome(400, issues[0].code, issues[0].diagnostics, issues=tuple(issues))
    return entries
