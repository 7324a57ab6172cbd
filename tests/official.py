"""What HL7 publishes, where it lies beside the repository, in ../shared/data; else what reads it is skipped.

The examples of R4 without its conformance resources, as `examples-r4.tar.xz`; US Core 6.1.0 and IPS 1.1.0 from
packages.fhir.org, in `packages`; the suite of FHIRPath: https://github.com/FHIR/fhir-test-cases/blob/master/r4/fhirpath
"""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
EXAMPLES = DATA / "examples-r4.tar.xz"
FHIRPATH = DATA / "fhirpath" / "tests-fhir-r4.xml"
US_CORE = DATA / "packages" / "hl7.fhir.us.core-6.1.0.tgz"
IPS = DATA / "packages" / "hl7.fhir.uv.ips-1.1.0.tgz"


def beside(*files: Path) -> pytest.MarkDecorator:
    """Skip a test where one of the files is not here."""
    missing = [each.name for each in files if not each.exists()]
    return pytest.mark.skipif(bool(missing), reason=f"not beside the repository: {', '.join(missing)}")


@cache
def examples() -> dict[str, bytes]:
    """The examples of R4 by name: `Patient-example`."""
    with tarfile.open(EXAMPLES) as archive:
        files = ((Path(member.name).stem, archive.extractfile(member)) for member in archive)
        return {name: file.read() for name, file in files if file is not None}
