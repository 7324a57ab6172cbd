"""Resources in files: Bundles, single resources, NDJSON, each plain or gzip, and FHIR packages.

https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/nd-json.html,
https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from fhirserver.fhir import json
from fhirserver.fhir.definitions import Definitions
from fhirserver.fhir.ids import ID
from fhirserver.fhir.outcome import Outcome
from fhirserver.fhir.references import Target, linked, parse, rewrite

Resource = dict[str, Any]

GZIP_MAGIC = b"\x1f\x8b"
CORE = "hl7.fhir.r4.core"  # which every package needs, and the server is
NODES_PER_DOCUMENT = 50_000_000  # the operator's own file, not a stranger's request

_UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error)
_urn = re.compile(r"urn:(?:uuid|oid):([A-Za-z0-9\-.]{1,64})")


class Unread(NamedTuple):
    """A part of a file that holds no resource to store."""

    place: str
    reason: str


class Source(NamedTuple):
    """An open file. `raw.tell()` says how far reading has come, also inside gzip."""

    name: str
    size: int
    raw: IO[bytes]
    text: IO[bytes]


def opened(path: Path) -> Source:
    raw = path.open("rb")
    compressed = raw.read(2) == GZIP_MAGIC
    raw.seek(0)
    text = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw
    return Source(path.name, path.stat().st_size, raw, text)


def resources(source: Source, definitions: Definitions, unread: Callable[[Unread], None]) -> Iterator[Resource]:
    """Every resource of a file, links between the entries of a Bundle made local. What cannot be read is reported."""
    lines = ((number, line) for number, line in enumerate(source.text, 1) if line.strip())
    try:
        first = next(lines, (1, b""))
        second = next(lines, None) if _whole(first[1]) else None
        if second:
            yield from _lines(chain((first, second), lines), source.name, unread)
        else:
            yield from _document(first[1] + source.text.read(), source.name, definitions, unread)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        unread(Unread(source.name, f"the gzip file is damaged: {error}"))


def _whole(line: bytes) -> bool:
    """Whether a first line is a text by itself, as in NDJSON, and not the start of a longer one."""
    return line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}")


def _lines(lines: Iterable[tuple[int, bytes]], name: str, unread: Callable[[Unread], None]) -> Iterator[Resource]:
    for number, line in lines:
        try:
            yield json.resource(line)
        except Outcome as refusal:
            unread(Unread(f"{name}, line {number}", str(refusal)))


def _document(text: bytes, name: str, definitions: Definitions, unread: Callable[[Unread], None]) -> Iterator[Resource]:
    try:
        document = json.decode(text, max_nodes=NODES_PER_DOCUMENT)
    except Outcome as refusal:
        unread(Unread(name, str(refusal)))
        return
    if not isinstance(document, dict) or "resourceType" not in document:
        unread(Unread(name, "this is JSON, but neither a Bundle nor another resource"))
    elif document["resourceType"] == "Bundle":
        yield from entries(document, name, definitions, unread)
    else:
        yield document


def entries(
    bundle: Resource, name: str, definitions: Definitions, unread: Callable[[Unread], None]
) -> Iterator[Resource]:
    """The resources of a Bundle of any type, under the ids they have or their fullUrl gives them."""
    found: list[Resource] = []
    targets: dict[str, Target] = {}
    for index, entry in enumerate(bundle.get("entry", [])):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or resource.get("resourceType") not in definitions.resource_types:
            unread(Unread(f"{name}, Bundle.entry[{index}]", "the entry holds no resource"))
            continue
        full_url = entry.get("fullUrl")
        if (id_ := _identity(entry, resource, full_url)) is not None:
            resource["id"] = id_
            if isinstance(full_url, str):
                targets[full_url] = linked(full_url, resource, id_)
        found.append(resource)
    for resource in found:
        yield rewrite(resource, targets, definitions)


def _identity(entry: Resource, resource: Resource, full_url: Any) -> str | None:
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) and request.get("method") == "PUT" else None
    if isinstance(url, str) and (target := parse(url)):
        return target.id
    if isinstance(resource.get("id"), str) and ID.fullmatch(resource["id"]):
        return str(resource["id"])
    if isinstance(full_url, str):
        if urn := _urn.fullmatch(full_url):
            return urn[1]
        if target := parse(full_url):
            return target.id
    return None


class Package(NamedTuple):
    """A FHIR package as it describes itself."""

    name: str = "package"
    version: str = "?"
    fhir_versions: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def is_r4(self) -> bool:
        return not self.fhir_versions or any(each.startswith("4.0") for each in self.fhir_versions)


def described(path: Path) -> Package:
    """What a package says in its package.json, where it has one that can be read."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            file = archive.extractfile("package/package.json")
            found = json.decode(file.read()) if file else None
    except (*_UNREADABLE, KeyError, Outcome):
        return Package()
    if not isinstance(found, dict):
        return Package()
    versions = found.get("fhirVersions") or found.get("fhir-version-list") or ()
    needs = found.get("dependencies") or {}
    return Package(
        str(found.get("name")),
        str(found.get("version")),
        tuple(map(str, versions)),
        tuple(f"{name}#{version}" for name, version in needs.items() if name != CORE),
    )


def package(
    source: Source, definitions: Definitions, unread: Callable[[Unread], None], *, examples: bool = False
) -> Iterator[Resource]:
    """The conformance resources of a FHIR package; or its examples, and whatever else it holds."""
    folders = {"package", "example"} if examples else {"package"}
    try:
        with tarfile.open(fileobj=source.raw, mode="r:gz") as archive:
            for member in archive:
                place = PurePosixPath(member.name)
                if member.isfile() and place.parent.name in folders and place.suffix == ".json":
                    file = archive.extractfile(member)
                    if file is None:
                        raise tarfile.ReadError(f"{member.name} does not open")
                    example = place.parent.name == "example"
                    resource = _packed(file.read(), place.name, unread if example is examples else _said)
                    if resource is not None:
                        example = example or not is_conformance(str(resource["resourceType"]), definitions)
                        if example is examples:
                            yield resource
    except _UNREADABLE as error:
        unread(Unread(source.name, f"this is not a FHIR package: {error}"))


def _said(part: Unread) -> None:
    """Whoever reads the other part of the package is told."""


def _packed(text: bytes, name: str, unread: Callable[[Unread], None]) -> Resource | None:
    """Index files hold no resource."""
    try:
        document = json.decode(text, max_nodes=NODES_PER_DOCUMENT)
    except Outcome as refusal:
        unread(Unread(name, str(refusal)))
        return None
    return document if isinstance(document, dict) and "resourceType" in document else None


def is_conformance(type_: str, definitions: Definitions) -> bool:
    """https://hl7.org/fhir/R4/conformance-module.html: what somebody publishes, with a status and a date."""
    return (
        type_ in definitions.resource_types
        and {"publisher", "status", "date"} <= definitions.types[type_].by_name.keys()
    )
