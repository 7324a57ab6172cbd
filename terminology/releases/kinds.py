"""Which releases can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from terminology.releases import cvx, icd10cm, loinc, rxnorm, snomed
from terminology.releases.described import Described
from terminology.releases.files import Files
from terminology.releases.staging import Staging

KINDS: Mapping[str, Callable[[Files, Staging], Described]] = {
    "cvx": cvx.read,
    "icd-10-cm": icd10cm.read,
    "loinc": loinc.read,
    "rxnorm": rxnorm.read,
    "snomed": snomed.read,
}
