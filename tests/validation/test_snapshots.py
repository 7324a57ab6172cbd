"""Snapshots generated from differentials are the official ones, as far as validation reads them."""

from __future__ import annotations

from typing import Any

import pytest
from official import IPS, US_CORE, beside

from fhirserver.fhir.definitions import r4
from fhirserver.validation.profiles import Profile, Profiles, published
from fhirserver.validation.snapshots import outline, snapshot, type_elements
from tests.validation.packages import structure_definitions

Json = dict[str, Any]
SAME = ("sliceName", "min", "max", "maxLength")
UNKNOWN_BASE = {"us-core-questionnaireresponse"}  # of the SDC guide, which is not beside the repository
PRIMITIVE_VALUES = ("Coding.display.value", "Observation.effective[x].value")  # no element of JSON

DIFFERENT = {
    "us-core-goal Goal.target.detail[x]": "an example binding without a value set",
    "Observation-results-laboratory-uv-ips Observation.value[x]": "opens slices that its base has closed",
    "Observation-results-pathology-uv-ips Observation.value[x]": "opens slices that its base has closed",
}


def said(element: Json) -> Json:
    """What validation reads of an element; rules of its types are asked by the base."""
    out = {key: element[key] for key in SAME if key in element}
    out |= {key: value for key, value in element.items() if key.startswith(("fixed", "pattern"))}
    out["content"] = element.get("contentReference", "").rpartition("#")[2]
    types = [each for each in element.get("type", ()) if element["path"].rpartition(".")[2] not in ("id", "url")]
    out["type"] = sorted(
        (each["code"], sorted(each.get("profile", ())), sorted(each.get("targetProfile", ()))) for each in types
    )
    if "binding" in element:
        out["binding"] = element["binding"]["strength"], element["binding"].get("valueSet")
    of_type = {c.key for each in types if each["code"] in r4().types for c in r4().types[each["code"]].constraints}
    out["constraint"] = sorted({each["key"] for each in element.get("constraint", ())} - of_type - {"ele-1", "sqty-1"})
    slicing = element.get("slicing", {})
    discriminators = [(each["type"], each["path"]) for each in slicing.get("discriminator", ())]
    if discriminators not in ([], [("value", "url")]):  # every extension is sliced by its url
        out["slicing"] = discriminators, slicing.get("rules")
    return out


@beside(US_CORE, IPS)
def test_the_snapshots_of_us_core_and_ips_come_out_of_their_differentials() -> None:
    official = structure_definitions(US_CORE) | structure_definitions(IPS)
    bare = ({key: value for key, value in each.items() if key != "snapshot"} for each in official.values())
    known = Profiles({**published(), **Profiles(Profile(each, r4()) for each in bare)}.values())
    different = set()
    for url, definition in official.items():
        elements = known[url].elements(known)
        if elements is None:
            assert definition["id"] in UNKNOWN_BASE
            continue
        ours = {each["id"]: each for each in elements}
        theirs = {e["id"]: e for e in definition["snapshot"]["element"] if e["path"] not in PRIMITIVE_VALUES}
        assert list(ours) == list(theirs), url
        different |= {f"{definition['id']} {id_}" for id_, each in theirs.items() if said(ours[id_]) != said(each)}
    assert different == DIFFERENT.keys()


def profile(*elements: Json) -> list[Json]:
    """A snapshot of Observation with these elements."""
    return snapshot(elements, type_elements("Observation", r4()), lambda url: None, r4())


def test_elements_that_the_base_does_not_unfold_are_unfolded() -> None:
    elements = profile({"path": "Observation.code.coding.system", "min": 1})
    at = [each["id"] for each in elements].index("Observation.code")
    assert [each["id"] for each in elements[at : at + 5]] == [
        "Observation.code",
        "Observation.code.id",
        "Observation.code.extension",
        "Observation.code.coding",
        "Observation.code.coding.id",
    ]
    assert next(each["min"] for each in elements if each["id"] == "Observation.code.coding.system") == 1


@pytest.mark.parametrize(
    ("differential", "id_", "expected"),
    [
        (
            [{"path": "Observation.valueQuantity", "min": 1}],
            "Observation.value[x]",
            {"min": 1, "type": [{"code": "Quantity"}]},
        ),
        (
            [{"path": "Observation.valueQuantity"}, {"path": "Observation.valueString", "max": "0"}],
            "Observation.value[x]:valueString",
            {"max": "0", "sliceName": "valueString"},
        ),
        (
            [{"path": "Observation.component", "sliceName": "a"}, {"path": "Observation.component.code", "max": "0"}],
            "Observation.component:a.code",
            {"max": "0"},
        ),
        (
            [{"path": "Observation.component", "sliceName": "a"}, {"path": "Observation.component", "sliceName": "b"}],
            "Observation.component:b.code",
            {"max": "1"},
        ),
        (
            [{"id": "Observation.component:a.value[x]", "path": "Observation.component.value[x]", "min": 1}],
            "Observation.component:a.value[x]",
            {"min": 1},
        ),
        (
            [{"path": "Observation.component.referenceRange.low", "min": 1}],
            "Observation.component.referenceRange.low",
            {
                "min": 1,
                "type": [{"code": "Quantity", "profile": ["http://hl7.org/fhir/StructureDefinition/SimpleQuantity"]}],
            },
        ),
        (
            [{"path": "Observation.value[x].extension", "sliceName": "e"}],
            "Observation.value[x].extension",
            {"slicing": {"discriminator": [{"type": "value", "path": "url"}], "ordered": False, "rules": "open"}},
        ),
        (
            [{"path": "Observation", "constraint": [{"key": "x-1", "severity": "error", "human": "x"}]}],
            "Observation",
            {},
        ),
    ],
)
def test_a_differential(differential: list[Json], id_: str, expected: Json) -> None:
    (found,) = [each for each in profile(*differential) if each["id"] == id_]
    assert found | expected == found


def test_reslices_come_behind_what_they_slice() -> None:
    names = ["a", "b", "a/x", "a/y", "a/x/z"]
    elements = profile(*({"path": "Observation.category", "sliceName": name} for name in names))
    assert [each["sliceName"] for each in elements if "sliceName" in each] == ["a", "a/x", "a/x/z", "a/y", "b"]


def test_constraints_add_up() -> None:
    constraint = {"key": "x-1", "severity": "error", "human": "x", "expression": "status.exists()"}
    (root, *_) = profile({"path": "Observation", "constraint": [constraint]})
    assert {"obs-6", "obs-7", "x-1"} < {each["key"] for each in root["constraint"]}


def test_a_base_that_leads_back_is_no_base() -> None:
    def circular(name: str, base: str) -> Profile:
        url = "http://example.org/"
        return Profile({"url": url + name, "type": "Patient", "baseDefinition": url + base}, r4())

    known = Profiles([circular("a", "b"), circular("b", "a")])
    assert known["http://example.org/a"].elements(known) is None


def test_the_order_of_a_differential_without_ids_says_what_is_meant() -> None:
    root = outline(
        [
            {"path": "Observation"},
            {"path": "Observation.component", "sliceName": "a"},
            {"path": "Observation.component.code"},
            {"path": "Observation.component"},
            {"path": "Observation.component.value[x]"},
        ]
    )
    component = root.children["component"]
    assert list(component.slices["a"].children) == ["code"]
    assert list(component.children) == ["value[x]"]
