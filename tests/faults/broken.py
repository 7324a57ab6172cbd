"""`healthmate` with one promise broken, to see that the crash rounds notice. `BROKEN=separate|unjournaled`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.write_concern import WriteConcern

from fhirserver.cli import main
from fhirserver.store import connect, transactions
from fhirserver.store.resources import Store


async def separately(store: Store, work: Callable[[Store], Awaitable[Any]]) -> Any:
    """The writes of a transaction one after the other, each for itself."""
    return await work(store)


def separate() -> None:
    vars(transactions)["_attempt"] = separately


def unjournaled() -> None:
    """Acknowledged by memory alone."""
    weak = {"w": 1, "journal": False}
    vars(connect)["AsyncMongoClient"] = lambda url, **options: AsyncMongoClient(url, **options | weak)
    vars(transactions)["WriteConcern"] = lambda *_, **__: WriteConcern(1, j=False)


if __name__ == "__main__":
    {"separate": separate, "unjournaled": unjournaled}[os.environ["BROKEN"]]()
    main()
