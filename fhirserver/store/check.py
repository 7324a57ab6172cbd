"""What `healthmate check` says about a database: every collection has the indexes this release searches with."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fhirserver.store.resources import Store
from fhirserver.store.schema import differs, indexes_of


async def findings(store: Store) -> AsyncIterator[tuple[bool, str]]:
    """(whether it is good, a sentence)."""
    build = await store.database.client.admin.command("buildInfo")
    yield True, f"database: MongoDB {build['version']}, replica set or sharded cluster"
    types = await store.types()
    total = 0
    for type_ in types:
        for name, wanted in indexes_of(type_).items():
            present = await store[name].index_information()
            for index in wanted:
                total += 1
                code = index.document["name"]
                if code not in present or differs(present[code], index):
                    fault = "is another one than this release wants" if code in present else "is missing"
                    yield False, f"index {code} of {name} {fault}; start the server or reindex"
    yield True, f"indexes: {total} looked for in {len(types)} resource types"
