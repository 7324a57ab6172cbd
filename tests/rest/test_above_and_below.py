""":above and :below of media types, of canonical URLs and their versions, and definitions by `url|version`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fhirserver.fhir.outcome import Outcome
from fhirserver.search.media_types import broader, narrower

if TYPE_CHECKING:
    from conftest import Fhir, Serve

STRICT = {"Prefer": "handling=strict"}
ACME = "http://acme.com/some-profile"
VS = "http://acme.com/ValueSet/pets"
OID = "urn:oid:1.2.3"
MESSAGE = {"resourceType": "MessageHeader", "source": {"endpoint": "http://acme.com/x"}}

MEDIA = {
    "png": "image/png",
    "tiff": "image/tiff",
    "xml": "text/xml",
    "utf8": "text/xml;charset=utf-8",
    "spaced": "text/xml; charset=utf-8; v=1",
    "xmlx": "text/xml-external-parsed-entity",
    "imagery": "imagery/png",
    "fhir": "application/fhir+json",
}
PROFILES = {"any": ACME, "v1": f"{ACME}|1", "v10": f"{ACME}|1.0", "v11": f"{ACME}|1.1-beta", "v2": f"{ACME}|2.0"}
PROFILES |= {"ten": f"{ACME}|10", "deep": f"{ACME}/deep|1.0", "oid": f"{OID}|1.0"}
SETS = {"old": "1.0", "new": "1.1", "next": "10", "none": None}


def document(id_: str, media: str) -> dict[str, Any]:
    content = [{"attachment": {"contentType": media, "url": "http://acme.com/x"}}]
    return {"resourceType": "DocumentReference", "id": id_, "status": "current", "content": content}


def response(id_: str, canonical: str) -> dict[str, Any]:
    head = {"resourceType": "QuestionnaireResponse", "id": id_, "status": "completed"}
    return head | {"questionnaire": canonical, "meta": {"profile": [canonical]}}


def value_set(id_: str, version: str | None, url: str = VS) -> dict[str, Any]:
    found = {"resourceType": "ValueSet", "id": id_, "url": url, "status": "active"}
    return found | ({"version": version} if version else {})


@pytest.fixture(scope="module")
def world(serve: Serve) -> Fhir:
    fhir = serve().client
    for resource in (
        *(document(id_, media) for id_, media in MEDIA.items()),
        *(response(id_, canonical) for id_, canonical in PROFILES.items()),
        *(value_set(id_, version) for id_, version in SETS.items()),
        value_set("other", "1.0", f"{VS}/other"),
        MESSAGE | {"id": "said", "eventUri": "http://acme.com/events/admit"},
        MESSAGE | {"id": "coded", "eventCoding": {"system": "http://acme.com/events", "code": "admit"}},
    ):
        assert fhir.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201, resource
    return fhir


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("contenttype:below=image", "png tiff"),
        ("contenttype:below=image/", "png tiff"),
        ("contenttype:below=image/*", "png tiff"),
        ("contenttype:below=image/png", "png"),
        ("contenttype:below=text/xml", "spaced utf8 xml"),
        ("contenttype:below=text/xml; charset=utf-8", "spaced"),
        ("contenttype:below=image/png,application", "fhir png"),
        ("contenttype:below=video", ""),
        ("contenttype:above=text/xml;charset=utf-8", "utf8 xml"),
        ("contenttype:above=text/xml", "xml"),
        ("contenttype:above=image/png", "png"),
        ("contenttype=text/xml", "xml"),
        ("_filter=contenttype ss image/png or contenttype ss application", "fhir png"),
        ("_filter=not (contenttype ss image)", "fhir imagery spaced utf8 xml xmlx"),
    ],
)
def test_media_types(world: Fhir, search: str, found: str) -> None:
    path = f"DocumentReference?{search.replace('+', '%2B').replace(';', '%3B')}"
    assert " ".join(sorted(world.ids(path, headers=STRICT))) == found


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (f"questionnaire={ACME}", "any ten v1 v10 v11 v2"),
        (f"questionnaire={ACME}|1", "v1"),
        (f"questionnaire:below={ACME}", "any ten v1 v10 v11 v2"),
        (f"questionnaire:below={ACME}|1", "v1 v10 v11"),
        (f"questionnaire:below={ACME}|1.1", "v11"),
        (f"questionnaire:below={ACME}|1.0,{ACME}|2", "v10 v2"),
        (f"questionnaire:below={ACME}|3", ""),
        (f"questionnaire:below={OID}|1", "oid"),
        (f"questionnaire:above={ACME}|1.1-beta", "any v1 v11"),
        (f"questionnaire:above={ACME}|1.0.7", "any v1 v10"),
        (f"questionnaire:above={ACME}", "any"),
        (f"_profile:below={ACME}|1", "v1 v10 v11"),
        (f"_profile:below={OID}|1", "oid"),
        (f"_profile:below={ACME}", "any deep ten v1 v10 v11 v2"),
        (f"_profile:above={ACME}|1.0.7", "any v1 v10"),
        (f"_profile:above={ACME}|2.0,{OID}|1.0.1", "any oid v2"),
        (f"_profile:above={ACME}|", "any ten v1 v10 v11 v2"),
        (f'_filter=questionnaire ss "{ACME}|1"', "v1 v10 v11"),
        (f'_filter=questionnaire sb "{ACME}|1"', "any v1"),
    ],
)
def test_versions_of_canonical_urls(world: Fhir, search: str, found: str) -> None:
    assert " ".join(sorted(world.ids(f"QuestionnaireResponse?{search}", headers=STRICT))) == found


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (f"url={VS}", "new next none old"),
        (f"url={VS}|1.0", "old"),
        (f"url={VS}|1", ""),
        (f"url={VS}|", "new next none old"),
        (f"url={VS}|1.0,{VS}/other", "old other"),
        (f"url={VS}|1.0,{VS}/other|1.0,{VS}|10", "next old other"),
        (f"url:below={VS}|1", "new old"),
        (f"url:below={VS}", "new next none old other"),
        (f"url:above={VS}|1.0.3", "none old"),
        (f"url:above={VS}|10", "next none"),
        (f"url:above={VS}|1.1,{VS}/other", "new next none old other"),
        (f"url:above={VS}/other|1.0", "other"),
        (f"url:above={VS}|", "new next none old"),
        (f'_filter=url eq "{VS}|1.1"', "new"),
        (f'_filter=url ne "{VS}|1.1"', "next none old other"),
    ],
)
def test_definitions_by_url_and_version(world: Fhir, search: str, found: str) -> None:
    assert " ".join(sorted(world.ids(f"ValueSet?{search}", headers=STRICT))) == found
    several = world.ids(f"?_type=ValueSet,CodeSystem&{search}", headers=STRICT)
    assert " ".join(sorted(several)) == found


def test_a_definition_is_created_once_by_url_and_version(world: Fhir) -> None:
    condition = {"If-None-Exist": f"url={VS}|1.0"}
    assert world.post("ValueSet", value_set("x", "1.0"), headers=condition).json()["id"] == "old"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("event:below=http://acme.com/events", "said"),
        ("event:above=http://acme.com/events/admit/2", "said"),
        ("event:below=http://acme.com/event", ""),
    ],
)
def test_urls_that_are_tokens(world: Fhir, search: str, found: str) -> None:
    assert " ".join(world.ids(f"MessageHeader?{search}", headers=STRICT)) == found


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("DocumentReference?contenttype:below=text/xml/x", "contenttype:below: 'text/xml/x' is not a media type"),
        ("DocumentReference?contenttype:above=*/*", "contenttype:above: '*/*' is not a media type"),
        ("Observation?code:below=dog", "code:below: 'dog' names no code system"),
        (
            "Observation?code:below=http://acme.org/animals|",
            "code:below: 'http://acme.org/animals|' names no code: write",
        ),
        ("MessageHeader?event:below=dog", "event:below: 'dog' names no code system"),
        ("ValueSet?url:below=urn:oid:1", "url:below: 'urn:oid:1' is not a URL"),
        ("Patient?identifier:below=x", "identifier:below: the values of this parameter are no codes"),
    ],
)
def test_what_is_not_above_or_below_anything_is_refused(world: Fhir, search: str, sentence: str) -> None:
    answer = world.get(search)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["diagnostics"].startswith(sentence)


@pytest.mark.parametrize(
    ("text", "starts", "above"),
    [
        ("image", ["image/"], ["image", "image/*"]),
        ("image/*", ["image/"], ["image/*", "image"]),
        ("text/xml", ["text/xml;", "text/xml "], ["text/xml", "text/*", "text"]),
        ("a/b ; c=d", ["a/b ; c=d;", "a/b ; c=d "], ["a/b ; c=d", "a/b", "a/*", "a"]),
        ("application/vnd.x+json", ["application/vnd.x+json;", "application/vnd.x+json "], None),
        ("", None, None),
        ("/png", None, None),
        ("a;b", None, None),
        ("a/b c", None, None),
    ],
)
def test_what_begins_a_media_type(text: str, starts: list[str] | None, above: list[str] | None) -> None:
    if starts is None:
        for read in (narrower, broader):
            with pytest.raises(Outcome, match="is not a media type"):
                read(text)
        return
    assert narrower(text) == starts
    assert above is None or broader(text) == above
