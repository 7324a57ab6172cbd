"""Two worlds that differ in what others have answer an app of one patient alike, on every path to data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from paths import NAMES, READING, WRITING, Path
from record import SECRET, fill

if TYPE_CHECKING:
    from conftest import Fhir, Serve
    from seam import Apps

_own = re.compile(
    r'"(?:lastUpdated|lastModified|timestamp|updated)":"[^"]*"|_cursor=[^"&]*|"identifier":"urn:uuid:[^"]*"|<lastUpdated[^>]*>'
    r'|"id":"0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}"|0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}'
)


def answer(fhir: Fhir, path: Path) -> tuple[int, str]:
    """Without what is of this answer alone: new ids, times, where the server listens."""
    headers = dict(path.headers)
    if path.method == "PATCH":
        found = fhir.patch(path.url, path.body, headers=headers)
    elif path.body is not None:
        found = fhir.request(path.method, path.url, json=path.body, headers=headers)
    else:
        found = fhir.request(path.method, path.url, headers=headers)
    return found.status_code, _own.sub("", found.text.replace(fhir.base_url, "http://fhir"))


class Worlds(NamedTuple):
    """An app of the patient in a world of its own, among others, and the open client of that one."""

    alone: Fhir
    among: Fhir
    open: Fhir


SCOPES = "patient/*.cruds launch/patient openid"


@pytest.fixture(scope="module")
def worlds(serve: Serve, apps: Apps) -> Worlds:
    alone, among = (serve(secret="that of both") for _ in range(2))
    fill(alone.client, others=False)
    fill(among.client, others=True)
    return Worlds(*(apps(each, SCOPES, "p") for each in (alone, among)), among.client)


def shown(path: Path) -> str:
    return f"{path.method} {path.url}"


@pytest.mark.parametrize("path", READING, ids=shown)
def test_what_is_of_others_is_not_there(worlds: Worlds, path: Path) -> None:
    alone, among = answer(worlds.alone, path), answer(worlds.among, path)
    assert alone == among
    assert SECRET not in among[1]
    assert among[0] < 500


def test_what_is_of_others_can_be_seen_by_others(worlds: Worlds) -> None:
    """Otherwise the rows above would say nothing."""
    leaky = [path for path in READING if SECRET in answer(worlds.open, path)[1]]
    assert {path.kind for path in leaky} >= {"read", "vread", "history-instance", "search", "history", "operation"}
    assert {path.kind for path in leaky} >= {"batch", "transaction"}
    assert len(leaky) > len(READING) // 3


def test_what_is_the_patients_own_is_there(worlds: Worlds) -> None:
    app = worlds.among
    assert app.ids("Patient") == ["p"]
    assert sorted(app.ids("Observation")) == ["lab", "pulse"]
    assert sorted(app.ids("Practitioner")) == ["doctor", "nurse"]
    assert sorted(app.ids("Organization")) == ["clinic", "trust"]
    assert sorted(app.ids("Location")) == ["house", "ward"]
    for name in (
        "Medication/aspirin",
        "Questionnaire/form",
        "Binary/letter",
        "Binary/scan",
        "Binary/own",
        "Device/implant",
        "PractitionerRole/role",
    ):
        assert app.get(name).status_code == 200, name
    assert app.get("Observation/old").status_code == 410
    assert app.get("Observation/old/_history/1").status_code == 200
    record = app.bundle("Patient/p/$everything?_count=200")["entry"]
    found = {f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in record}
    assert found >= {"Device/implant", "Binary/letter", "Practitioner/doctor", "Organization/clinic", "List/list"}
    history = app.bundle("Observation/_history")["entry"]
    assert len(history) == 5
    assert len(app.bundle("_history?_count=200")["entry"]) > 20


def test_pages_go_on_within_reach(worlds: Worlds) -> None:
    for url in (
        "Observation/_history?_count=1",
        "_history?_count=4",
        "Patient/p/$everything?_count=3",
        "Patient/$everything?_count=2",
        "Patient/p/*?_count=2",
    ):
        pages = []
        for fhir in (worlds.alone, worlds.among):
            found, next_ = [], url
            while next_:
                bundle = fhir.bundle(next_)
                found.append(
                    [(e["fullUrl"].replace(fhir.base_url, ""), e.get("request")) for e in bundle.get("entry", ())]
                )
                next_ = next((each["url"] for each in bundle["link"] if each["relation"] == "next"), "")
            pages.append(found)
        assert pages[0] == pages[1]
        assert len(pages[0]) > 2


def test_writes_neither_reach_nor_tell_of_what_is_of_others(serve: Serve, apps: Apps) -> None:
    alone, among = (serve(secret="that of both") for _ in range(2))
    fill(alone.client, others=False)
    fill(among.client, others=True)
    before = {name: among.client.get(name).text for name in NAMES}
    one, other = (apps(each, SCOPES, "p") for each in (alone, among))
    for path in WRITING:
        expected, found = answer(one, path), answer(other, path)
        assert expected == found, shown(path)
        assert SECRET not in found[1], shown(path)
        assert found[0] < 500, shown(path)
    changed = {name for name in NAMES if among.client.get(name).text != before[name]}
    assert changed <= {"Observation/pulse", "Observation/old"}
    assert {*_subjects(one), *_subjects(other)} == {"p"}


def _subjects(fhir: Fhir) -> list[str]:
    found = [each["resource"] for each in fhir.bundle("Observation?_count=100").get("entry", ())]
    assert found
    return [each["subject"]["reference"].removeprefix("Patient/") for each in found]
