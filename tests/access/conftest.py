from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from seam import Apps, app
from worlds import NEVER

from fhirserver.store.outstanding import Outstanding

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


@pytest.fixture(scope="module")
def slowly() -> Iterator[None]:
    """Servers that are started meanwhile make no event before it is asked for, and none when they end."""

    async def left(_: Outstanding) -> None:
        """As where it is killed."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fhirserver.store.outstanding.PACE", NEVER)
        patch.setattr("fhirserver.store.outstanding.Outstanding.close", left)
        yield
