"""Resources are read from every kind of file that FHIR data comes in, and what cannot be read is named."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir.definitions import r4
from fhirserver.files import Package, Unread, described, is_conformance, opened, package, resources

ADA = {"resourceType": "Patient", "id": "ada"}
BOB = {"resourceType": "Patient", "id": "bob"}


def read(path: Path) -> tuple[list[dict[str, Any]], list[Unread]]:
    unread: list[Unread] = []
    source = opened(path)
    with source.raw:
        return list(resources(source, r4(), unread.append)), unread


def bundle(*entries: dict[str, Any], type_: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type_, "entry": list(entries)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(bundle({"resource": ADA}, {"resource": BOB})),
        json.dumps(bundle({"resource": ADA}, {"resource": BOB}), indent=2),
        json.dumps(bundle({"resource": ADA}, {"resource": BOB}, type_="searchset")) + "\n\n",
        "\n" + json.dumps(ADA) + "\n\n" + json.dumps(BOB),
        json.dumps(ADA) + "\r\n" + json.dumps(BOB) + "\r\n",
    ],
)
def test_bundles_and_ndjson_plain_or_gzip(tmp_path: Path, text: str, pack: Any) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(pack(text.encode()))
    assert read(path) == ([ADA, BOB], [])


def test_a_single_resource_on_one_line_or_many(tmp_path: Path) -> None:
    for indent in (None, 2):
        (tmp_path / "ada.json").write_text(json.dumps(ADA, indent=indent))
        assert read(tmp_path / "ada.json") == ([ADA], [])


def test_links_between_entries_become_local(tmp_path: Path) -> None:
    patient = {"fullUrl": "urn:uuid:7a6c8a50-7b6c-4b0e-9d2a-0c1f5f1f0001", "resource": {"resourceType": "Patient"}}
    pulse = {
        "fullUrl": "https://example.org/fhir/Observation/p1",
        "resource": {"resourceType": "Observation", "subject": {"reference": patient["fullUrl"]}},
    }
    put = {
        "fullUrl": "urn:uuid:7a6c8a50-7b6c-4b0e-9d2a-0c1f5f1f0002",
        "resource": {"resourceType": "Basic", "author": {"reference": pulse["fullUrl"]}},
        "request": {"method": "PUT", "url": "Basic/named"},
    }
    new = {"resource": {"resourceType": "Basic"}}
    (tmp_path / "b.json").write_text(json.dumps(bundle(patient, pulse, put, new)))
    found, unread = read(tmp_path / "b.json")
    assert [resource.get("id") for resource in found] == ["7a6c8a50-7b6c-4b0e-9d2a-0c1f5f1f0001", "p1", "named", None]
    assert found[1]["subject"]["reference"] == "Patient/7a6c8a50-7b6c-4b0e-9d2a-0c1f5f1f0001"
    assert found[2]["author"]["reference"] == "Observation/p1"
    assert not unread


def test_a_definition_under_its_own_url_keeps_it(tmp_path: Path) -> None:
    url = "http://acme.example/fhir/CodeSystem/colours"
    system = {"fullUrl": url, "resource": {"resourceType": "CodeSystem", "id": "colours", "url": url}}
    red = {"resource": {"resourceType": "Basic", "code": {"coding": [{"system": url}]}, "subject": {"reference": url}}}
    (tmp_path / "b.json").write_text(json.dumps(bundle(system, red)))
    found, _ = read(tmp_path / "b.json")
    assert found[0]["url"] == found[1]["code"]["coding"][0]["system"] == url
    assert found[1]["subject"]["reference"] == "CodeSystem/colours"


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (json.dumps(ADA) + "\n{\n" + json.dumps(BOB), "x.json, line 2", "ends too early"),
        (json.dumps(ADA) + "\n[1]\n" + json.dumps(BOB), "x.json, line 2", "a resource is a JSON object"),
        (
            json.dumps(bundle({"resource": ADA}, {"request": {}}, {"resource": BOB})),
            "x.json, Bundle.entry[1]",
            "no resource",
        ),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_kept(tmp_path: Path, text: str, place: str, reason: str) -> None:
    (tmp_path / "x.json").write_text(text)
    found, unread = read(tmp_path / "x.json")
    assert found == [ADA, BOB]
    assert [part.place for part in unread] == [place]
    assert reason in unread[0].reason


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"[1, 2]", b'{"a": 1}', gzip.compress(b"{}" * 999, mtime=0)[:-9], b"\x1f\x8bno"]
)
def test_a_file_without_resources_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    found, unread = read(tmp_path / "x")
    assert not found
    assert len(unread) == 1


def archive(path: Path, **members: Any) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            text = json.dumps(content).encode() if not isinstance(content, bytes) else content
            member = tarfile.TarInfo(name.replace("__", "/") + ".json")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text))
    return path


def packed(path: Path, unread: list[Unread], *, examples: bool = False) -> list[Any]:
    source = opened(path)
    with source.raw:
        return list(package(source, r4(), unread.append, examples=examples))


def test_a_package_gives_its_conformance_resources(tmp_path: Path) -> None:
    profile = {"resourceType": "StructureDefinition", "id": "p"}
    path = archive(
        tmp_path / "p.tgz",
        package__package={"name": "x"},
        package__p=profile,
        package__bad=b"{",
        package__ada=ADA,
        package__example__q=profile | {"id": "q"},
    )
    unread: list[Unread] = []
    assert packed(path, unread) == [profile]
    assert [part.place for part in unread] == ["bad.json"]
    unread.clear()
    assert packed(path, unread, examples=True) == [ADA, profile | {"id": "q"}]
    assert unread == []


def test_a_package_says_what_it_is(tmp_path: Path) -> None:
    needs = {"hl7.fhir.r4.core": "4.0.1", "hl7.terminology.r4": "5.0.0"}
    about = {"name": "x", "version": "1", "fhirVersions": ["4.0.1"], "dependencies": needs}
    found = described(archive(tmp_path / "p.tgz", package__package=about))
    assert (found, found.is_r4) == (Package("x", "1", ("4.0.1",), ("hl7.terminology.r4#5.0.0",)), True)
    later = described(archive(tmp_path / "q.tgz", package__package=about | {"fhirVersions": ["5.0.0"]}))
    assert not later.is_r4
    for nothing in ([], b"{"):
        assert described(archive(tmp_path / "r.tgz", package__package=nothing)) == Package()
    (tmp_path / "s.tgz").write_bytes(b"hello")
    assert described(archive(tmp_path / "t.tgz", package__p=ADA)) == described(tmp_path / "s.tgz") == Package()


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.tgz").write_bytes(b"hello")
    unread: list[Unread] = []
    assert not packed(tmp_path / "p.tgz", unread)
    assert "not a FHIR package" in unread[0].reason


def test_conformance_resources_are_told_from_records() -> None:
    assert all(
        is_conformance(type_, r4()) for type_ in ("ValueSet", "NamingSystem", "SearchParameter", "Questionnaire")
    )
    assert not any(is_conformance(type_, r4()) for type_ in ("Patient", "Device", "FamilyMemberHistory", "Nothing"))
