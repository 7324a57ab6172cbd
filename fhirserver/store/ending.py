"""The end of what runs beside requests and asks the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until it is heard: where an answer arrives in the same moment, the driver can lose a cancellation."""
    pending = {*tasks}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=0.2)
        await asyncio.gather(*done, return_exceptions=True)
