"""A fair, bounded queue in front of the work: how many requests a process works on at once, and who is next.

Without it the connections to the database go to whoever is lucky, and the time of a request runs out while it waits.
Here it waits before its time begins to run. Clients, told apart by their addresses, take turns, so that one who asks
much does not keep the others waiting; behind a proxy they are one, and the first comes first. What may touch many
resources (searches, histories, operations, Bundles) has a share of the places, so that reads and writes of single
resources find room beside slow searches. When a request fails and the database has answered nobody for a while, who
waits is refused too: their turn would be no better.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from time import monotonic
from types import TracebackType

from pymongo.errors import PyMongoError
from starlette.types import Receive

from fhirserver.fhir.outcome import Outcome

Ticket = tuple[int, int, asyncio.Future[None]]  # the round and, within it, the order of coming
FORGET = 1_000  # clients that do not wait any more
RETRY = (("retry-after", "2"),)


class Gone(Exception):
    """The client left while it waited: there is nobody to answer."""


def is_wide(method: str, path: tuple[str, ...]) -> bool:
    """Whether a request may touch many resources: all but those of one resource."""
    match path:
        case (_, _, "_history", _):
            return False
        case (type_,):
            return method in ("GET", "HEAD") or type_.startswith(("_", "$"))
        case (_, id_):
            return id_.startswith(("_", "$"))
    return True


class Queue:
    """`at_work` requests at once, `wide` of them wide; `waiting` more may wait, for `patience` seconds at most.

    Who waits is served in rounds: of each client one after the other. `silence` are the seconds without an answer after
    which a failure of the database is everybody's.
    """

    def __init__(self, at_work: int, wide: int, waiting: int, silence: float, patience: float | None = None) -> None:
        self._silence = silence
        self._patience = patience
        self._places = at_work
        self._room = at_work
        self._wide_room = wide
        self._most_waiting = waiting
        self._narrow_lane: list[Ticket] = []  # heaps
        self._wide_lane: list[Ticket] = []
        self._numbers = count()
        self._round = 0
        self._rounds: dict[str, int] = {}  # the last one in which a client is served
        self._answered = monotonic()

    def turn(self, wide: bool, receive: Receive, client: str = "") -> Turn:
        """Inside is at work. 503 when too many wait, or this one for too long; Gone when the client does not wait."""
        return Turn(self, wide, receive, client)

    async def enter(self, wide: bool, receive: Receive, client: str) -> None:
        """Be at work, once it is its turn."""
        if self._room > 0 and (not wide or self._wide_room > 0):  # then nobody waits who could go first
            self._enter(wide)
        else:
            await self._wait(wide, receive, client)
        if self._room == self._places - 1:  # before, there was nobody to answer
            self._answered = monotonic()

    def leave(self, wide: bool, error: BaseException | None) -> None:
        """It was done, or failed."""
        if error is None:
            self._answered = monotonic()
        elif isinstance(error, PyMongoError) and monotonic() - self._answered > self._silence:
            self._dismiss()
        self._leave(wide)

    def _enter(self, wide: bool) -> None:
        self._room -= 1
        self._wide_room -= wide

    def _leave(self, wide: bool) -> None:
        """The next one is of the earliest round of those for whom there is room."""
        self._room += 1
        self._wide_room += wide
        lanes = (self._narrow_lane, self._wide_lane) if self._wide_room > 0 else (self._narrow_lane,)
        lane = min(filter(None, lanes), default=None)
        if lane is not None:
            self._enter(lane is self._wide_lane)
            self._round, _, turn = heappop(lane)
            turn.set_result(None)

    def _dismiss(self) -> None:
        for lane in (self._narrow_lane, self._wide_lane):
            for _, _, turn in lane:
                turn.set_exception(Outcome(503, "transient", "the database does not answer; try again", headers=RETRY))
            lane.clear()

    async def _wait(self, wide: bool, receive: Receive, client: str) -> None:
        if len(self._narrow_lane) + len(self._wide_lane) >= self._most_waiting:
            raise Outcome(503, "throttled", "too many requests are waiting already; try again soon", headers=RETRY)
        lane = self._wide_lane if wide else self._narrow_lane
        turn = asyncio.get_running_loop().create_future()
        ticket = self._round_of(client), next(self._numbers), turn
        heappush(lane, ticket)
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((turn, left), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._withdraw(lane, ticket)
            raise
        finally:
            left.cancel()
        if left.done() and not left.cancelled():
            self._withdraw(lane, ticket)
            raise Gone
        if not turn.done():
            self._withdraw(lane, ticket)
            raise Outcome(503, "throttled", "its turn did not come in time; try again later", headers=RETRY)
        turn.result()

    def _round_of(self, client: str) -> int:
        """The next round in which this client has no other request yet."""
        if not self._narrow_lane and not self._wide_lane:
            self._rounds.clear()
        elif len(self._rounds) > FORGET:
            self._rounds = {each: last for each, last in self._rounds.items() if last > self._round}
        self._rounds[client] = max(self._round, self._rounds.get(client, 0)) + 1
        return self._rounds[client]

    def _withdraw(self, lane: list[Ticket], ticket: Ticket) -> None:
        turn = ticket[2]
        if not turn.done():
            lane.remove(ticket)
            heapify(lane)
        elif turn.exception() is None:
            self._leave(lane is self._wide_lane)


class Turn:
    """A class, for a generator costs every request a hundredth of its time."""

    __slots__ = ("_client", "_queue", "_receive", "_wide")

    def __init__(self, queue: Queue, wide: bool, receive: Receive, client: str) -> None:
        self._queue = queue
        self._wide = wide
        self._receive = receive
        self._client = client

    async def __aenter__(self) -> None:
        await self._queue.enter(self._wide, self._receive, self._client)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.leave(self._wide, error)


async def _left(receive: Receive) -> None:
    """Ends when the client goes away. Its body has been read; what it still sends has no meaning."""
    while (await receive())["type"] != "http.disconnect":
        pass
