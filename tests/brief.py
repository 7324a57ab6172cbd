"""A database client that is opened for a moment only."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def briefly(story: Coroutine[Any, Any, T]) -> T:
    """Run it. The driver forgets a socket when it is closed while its monitor connects: that is not our warning.

    What was there before is not looked through for garbage: a server is far more than a story.
    """
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            told = asyncio.run(story)
            gc.collect()
            return told
    finally:
        gc.unfreeze()
