"""The official tabular list of ICD-10-CM, as another reader of it ships it: we find the codes that it found."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from terminology.releases import icd10cm
from terminology.releases.files import Files
from terminology.releases.staging import Staging

BATCH = 5_000


@pytest.fixture(scope="module")
def data() -> Path:
    """Where it lies; the package itself, which reads all of it when it is imported, is left alone."""
    spec = find_spec("simple_icd_10_cm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def test_it_has_the_same_codes(data: Path, tmp_path: Path) -> None:
    (listed,) = data.glob("*.txt")
    (tabular,) = data.glob("*tabular*.xml")
    with Staging(tmp_path / "staging") as staging, Files(tabular) as files:
        described = icd10cm.read(files, staging)
        total = staging.sealed()
        found = [each.concept for first in range(0, total, BATCH) for each in staging.batch(first, BATCH)]
    assert described.version in tabular.name
    assert {each.code.replace(".", "") for each in found} == {*listed.read_text().split()}
    assert total == len(found) > 95_000
    assert all(each.parents or each.abstract for each in found)
    assert all(each.display for each in found)
    by_code = {each.code: each for each in found}
    assert by_code["S02.0XXA"].parents == ("S02.0",)
    assert by_code["E11.9"].display == "Type 2 diabetes mellitus without complications"
