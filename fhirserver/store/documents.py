"""All documents that a `find` or an `aggregate` gives, asked as a command: in one batch, as far as 16 MB go.

The driver's cursors take a quarter more of a server's time for a page of 20, and times with a zone as much again.
https://www.mongodb.com/docs/manual/reference/command/find/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.errors import AutoReconnect

from fhirserver.store.blobs import size_of

if TYPE_CHECKING:
    from fhirserver.store.resources import Store

Document = dict[str, Any]


async def documents(
    store: Store, command: Document, *, most: int | None = None, besides: int = 0, at_once: bool = False
) -> list[Document]:
    """Times in them are in UTC, and naive.

    Where there are more than one batch holds: of bodies that are together larger than `most`, at least two come, and no
    more than tell that they are; the first few, `besides`, do not count. `at_once`: OverflowError instead.
    """
    database = store.naive
    if store.comment is not None:
        command = {**command, "comment": store.comment}
    concern = database.read_concern.document  # what its URL asks for; a command by itself does not
    if concern and store.session is None:
        command = {**command, "readConcern": concern}

    async def asked() -> Document:
        return await database.command({**command}, codec_options=database.codec_options, session=store.session)

    try:
        cursor = (await asked())["cursor"]
    except AutoReconnect as error:
        if error.timeout or store.session is not None:
            raise
        cursor = (await asked())["cursor"]  # of a new primary, as the driver asks again elsewhere
    found: list[Document] = cursor["firstBatch"]
    if cursor["id"] == 0:
        return found
    await database.command({"killCursors": command[next(iter(command))], "cursors": [cursor["id"]]})
    if at_once:
        raise OverflowError("more than one batch holds")
    batches = await database.cursor_command(
        {**command}, codec_options=database.codec_options, session=store.session
    )  # of more than fits one answer: the driver asks the server that has the cursor for the rest
    return await batches.to_list() if most is None else await _up_to(batches, most, besides)


async def _up_to(batches: AsyncCommandCursor[Document], most: int, besides: int) -> list[Document]:
    found: list[Document] = []
    size = 0
    async for document in batches:
        found.append(document)
        size += size_of(document["body"]) if "body" in document and len(found) > besides else 0
        if size > most and len(found) > besides + 1:
            break
    await batches.close()
    return found
