"""From a resource that a client sent to the one change that the store writes.

The server owns `id`, `meta.versionId` and `meta.lastUpdated`; everything else is kept as it came.
https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/resource.html#Meta
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.bundles import instant
from fhirserver.fhir.outcome import Outcome, invalid
from fhirserver.files import is_conformance
from fhirserver.interactions.own_operations import check_not_own
from fhirserver.interactions.summary import subsetted
from fhirserver.search.attachments import CONTENTS, DOCUMENT
from fhirserver.search.custom import SEARCH_PARAMETER, row
from fhirserver.store.versions import LABELS, Change, Stored
from fhirserver.validation.findings import MOST_ISSUES

Resource = dict[str, Any]
# what may be wrong where validation is off: whatever else is wrong could not be indexed or written as XML
LEFT = frozenset(
    {
        *("cardinality-min", "binding", "reference-target", "reference-contained", "reference-format", "invariant"),
        *("bundle-fullurl", "bundle-reference"),
    }
)


def accepted(ctx: Context, resource: Any, type_: str) -> Resource:
    """The resource, if it may be stored as this type. Raises a 400 Outcome that lists what is wrong with it.

    A search parameter that is active must be one that can be used: 422.
    """
    if not isinstance(resource, dict):
        raise invalid(f"a {type_} is expected in the body, as a JSON object", type_, code="structure")
    named = resource.get("resourceType")
    if named != type_:
        raise invalid(f"the URL says {type_}, the body says {named!r}", f"{type_}.resourceType")
    issues = ctx.validator.issues(resource)
    if ctx.settings.validation == "off" and len(issues) < MOST_ISSUES and not is_conformance(type_, ctx.definitions):
        issues = [issue for issue in issues if issue.rule not in LEFT]
    if issues:
        raise Outcome(400, issues[0].code, issues[0].diagnostics, issues=tuple(issues))
    storable(resource)
    return resource


def storable(resource: Resource) -> None:
    """422 for what is valid and yet no good to keep: a part of a resource, a search parameter that cannot be used."""
    type_ = resource["resourceType"]
    if subsetted(resource):
        message = f"this is a part of a {type_} (SUBSETTED); storing it would lose the rest: read it whole first"
        raise Outcome(422, "business-rule", message, f"{type_}.meta.tag")
    if type_ == SEARCH_PARAMETER:
        row(resource)


def written(ctx: Context, resource: Resource, id_: str, previous: Stored | None = None) -> Change:
    """The next version of a resource."""
    type_ = resource["resourceType"]
    check_not_own(ctx, type_, id_)
    version = previous.version + 1 if previous else 1
    updated = max(ctx.now(), previous.updated) if previous else ctx.now()
    stamped = _stamped(resource, id_, version, updated)
    entry = ctx.indexer.entry(stamped)
    body = json.encode(stamped)
    return Change(
        type_,
        id_,
        version,
        updated,
        body,
        stamped,
        entry.search,
        entry.sort,
        entry.compartments,
        previous,
        ctx.indexer.generation,
        *_ended(ctx, previous, {*entry.search.get(CONTENTS, ())}),
    )


def unchanged(resource: Resource, current: Stored) -> bool:
    """Whether the next version would say what the current one says, word for word."""
    return current.body == json.encode(_stamped(resource, current.id, current.version, current.updated))


def _stamped(resource: Resource, id_: str, version: int, updated: datetime) -> Resource:
    """As it is stored. Meta's tags, profiles, security labels and extensions stay the client's."""
    meta = resource.get("meta")
    stamped: Resource = {
        "resourceType": resource["resourceType"],
        "id": id_,
        "meta": (meta if isinstance(meta, dict) else {}) | {"versionId": str(version), "lastUpdated": instant(updated)},
    }
    for key, value in resource.items():
        if key not in stamped:
            stamped[key] = value
    return stamped


def deleted(ctx: Context, previous: Stored) -> Change:
    """A tombstone: it answers 410 and stays in the history."""
    updated = max(ctx.now(), previous.updated)
    belonged = [*previous.compartments]
    labels = _labels(ctx, previous)
    change = Change(previous.type, previous.id, previous.version + 1, updated, None, {}, labels, {}, belonged, previous)
    ended, labelled = _ended(ctx, previous, None)
    return change._replace(ended=ended, labels=labelled)


def _ended(ctx: Context, previous: Stored | None, left: set[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a version of a document was the last one to have, where the next has what is `left`, or none is; its labels.

    Of one that is deleted with itself: what is secured by it.
    """
    if previous is None or previous.deleted or previous.type != DOCUMENT:
        return (), ()
    search = ctx.indexer.entry(json.resource(previous.body)).search
    ended = [each for each in search.get(CONTENTS, ()) if left is None or each not in left]
    ended += [previous.reference] if left is None else []
    return tuple(ended), tuple(search.get(LABELS, ())) if ended else ()


def _labels(ctx: Context, version: Stored) -> dict[str, Any]:
    """Its security labels, as the index has them."""
    if b'"security"' not in version.body:
        return {}
    search = ctx.indexer.entry(json.resource(version.body)).search
    return {LABELS: search[LABELS]} if LABELS in search else {}
