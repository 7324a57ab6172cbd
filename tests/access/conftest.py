from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from seam import Apps, app

if TYPE_CHECKING:
    from conftest import Fhir, Served


@pytest.fixture(scope="module")
def apps() -> Iterator[Apps]:
    """Makes clients with access tokens; they hang up at the end of the module."""
    made: list[Fhir] = []

    def make(served: Served, scope: str, patient: str | None = None, **grant: Any) -> Fhir:
        made.append(app(served, scope, patient, **grant))
        return made[-1]

    yield make
    for each in made:
        each.http.close()
