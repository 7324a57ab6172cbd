"""Contexts of workers on a database of their own, without a broker: what the table of jobs promises on its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from brief import briefly

from fhirserver.assembly import contexts
from fhirserver.context import OPERATOR, Context
from fhirserver.settings import Settings

Story = Callable[[Context], Awaitable[Any]]
Tell = Callable[..., Any]


@pytest.fixture
def tell(mongodb: str) -> Tell:
    """Run a story in the context of a worker."""
    database = f"jobs-{uuid4().hex[:12]}"

    def run(story: Story, **settings: Any) -> Any:
        async def inside() -> Any:
            values = {"mongodb_url": mongodb, "database": database, "job_lease_seconds": 30.0} | settings
            async with contexts(Settings(**values)) as found:
                return await story(replace(found[""], caller=OPERATOR))

        return briefly(inside())

    return run
