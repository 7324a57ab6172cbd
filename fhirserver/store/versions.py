"""A version of a resource: as it lies in the store, to be written, and the documents of both.

The stored shapes are described in docs/architecture.md. Times are aware, in UTC, to the millisecond.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from fhirserver.store.blobs import pack, unpack

Document = dict[str, Any]

BODY = {"version": 1, "updated": 1, "deleted": 1, "body": 1, "compartments": 1, "belonged": 1}
LABELS = "_security"  # the search parameter
ENDED = "ended"


class Conflict(Exception):
    """Somebody else wrote the same resource in between: read again and decide again."""


class Behind(Conflict):
    """A transaction began before all was there that is made later: make it, and begin again."""


class Stored(NamedTuple):
    """One version of a resource as it lies in the store. A deleted one has no body.

    `compartments` are those that it is in or, of a deleted one, was in before. `written` is in UTC, and naive, as it is
    read: to say the zone of each version of a page costs as much as to read it.
    """

    type: str
    id: str
    version: int
    written: datetime
    deleted: bool
    packed: bytes
    compartments: tuple[str, ...] = ()

    @property
    def updated(self) -> datetime:
        return self.written.replace(tzinfo=UTC)

    @property
    def body(self) -> bytes:
        """The resource as JSON, exactly as answered."""
        return unpack(self.packed) if self.packed else b""

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


class Change(NamedTuple):
    """One new version to be written. `body` None is a deletion; `previous` is the version that it replaces.

    Of a deletion, `compartments` are those that the resource was in, and `search` has its security labels alone.

    `generation` is the one of the search parameters of which `search` and `sort` are.

    `ended` is what the version that is replaced was the last one to say, by references, with its security `labels`.
    """

    type: str
    id: str
    version: int
    updated: datetime
    body: bytes | None
    resource: Document
    search: Document
    sort: Document
    compartments: list[str]
    previous: Stored | None = None
    generation: int = 0
    ended: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """The compartments that it is in, and those that it was in before."""
        return [*dict.fromkeys([*self.compartments, *(self.previous.compartments if self.previous else ())])]

    @property
    def marks(self) -> Document:
        """What the history says of the version that is replaced, beside it."""
        return {ENDED: [*self.ended]} | ({"labels": [*self.labels]} if self.labels else {}) if self.ended else {}

    @property
    def stored(self) -> Stored:
        deleted, packed = self.body is None, pack(self.body or b"")
        return Stored(
            self.type,
            self.id,
            self.version,
            self.updated.replace(tzinfo=None),
            deleted,
            packed,
            tuple(self.compartments),
        )


def stored(type_: str, document: Document) -> Stored:
    written: datetime = document["updated"]
    return Stored(
        type_,
        document["_id"],
        document["version"],
        written if written.tzinfo is None else written.replace(tzinfo=None),
        "deleted" in document,
        document.get("body", b""),
        tuple(document.get("compartments") or document.get("belonged", ())),
    )


def now() -> datetime:
    """The present, to the millisecond that MongoDB keeps."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def current_document(change: Change, written: Stored, *, mirror: bool) -> Document:
    document: Document = {"_id": change.id, "version": change.version, "updated": change.updated}
    if change.body is None:
        belonged = {"belonged": change.compartments} if change.compartments else {}
        labels = {"labels": change.search[LABELS]} if LABELS in change.search else {}
        return document | {"deleted": True} | belonged | labels
    return document | {"body": written.packed} | derived_document(change, mirror=mirror)


def derived_document(change: Change, *, mirror: bool) -> Document:
    """What is worked out of the body; with `mirror` the resource as it can be queried."""
    mirrored = {"resource": _queried(change.resource)} if mirror else {}
    known = {"generation": change.generation} if change.generation else {}
    return {
        **mirrored,
        "compartments": change.compartments,
        "search": change.search,
        "sort": change.sort,
        **known,
    }


def _queried(resource: Document) -> Document:
    """What of a resource is worth a query: not the content of a Binary, which would fill its document twice."""
    if resource["resourceType"] != "Binary":
        return resource
    return {key: value for key, value in resource.items() if key != "data"}


def past_document(version: Stored) -> Document:
    document: Document = {"_id": {"id": version.id, "version": version.version}, "updated": version.updated}
    if version.compartments:
        document["compartments"] = [*version.compartments]
    return document | ({"deleted": True} if version.deleted else {"body": version.packed})
