"""Round trips shared by the requests in flight: while one is under way, what else is asked gathers for the next.

To the driver a round trip costs more than all else in a request, however little it carries. One that finds none under
way goes at the end of this turn of the loop, with whoever asked in it. Each carries only what was asked before it was
sent: who asks after a write was acknowledged sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

import pymongo

L = TypeVar("L", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")

MOST = 100  # questions in one round trip
LEAST_SECONDS = 0.001
COMPANY_SECONDS = 0.1  # after a round trip with several questions: whoever asks next is hardly alone


class _Waiting(NamedTuple, Generic[Q, A]):
    question: Q
    since: float
    answer: asyncio.Future[A]


class Shared(Generic[L, Q, A]):
    """`ask` answers questions of a lane (a collection, say) in one round trip, in order; each has so many seconds.

    Where several have gathered, the next round trip waits `pause` seconds for more: those who were just answered. So
    does the first one to ask where the last trip had company: who follow soon would wait for it to come back.
    """

    def __init__(
        self,
        ask: Callable[[L, list[Q]], Awaitable[Sequence[A]]],
        seconds: float,
        most: int = MOST,
        pause: float = 0.0,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._most = most
        self._pause = pause
        self._waiting: dict[L, list[_Waiting[Q, A]]] = {}  # by lane, while a round trip is under way there
        self._tasks: dict[L, asyncio.Task[None]] = {}
        self._company: dict[L, float] = {}  # when a round trip with several questions was last sent there

    async def __call__(self, lane: L, question: Q) -> A:
        if lane in self._waiting:
            return await self._enlisted(lane, question)
        waiting = self._waiting[lane] = []
        pause = self._pause if self._expects(lane) else 0.0
        try:
            await asyncio.sleep(pause)  # those who were answered together ask together: this turn of the loop ends
            if not waiting:
                self._company.pop(lane, None)
                with pymongo.timeout(self._seconds):
                    (answer,) = await self._ask(lane, [question])
                return answer
            turn = self._enlisted(lane, question)
        finally:
            if waiting:  # in no request's context, for it belongs to all of them
                self._tasks[lane] = asyncio.create_task(self._together(lane, gathered=pause > 0), context=Context())
            else:
                del self._waiting[lane]
        return await turn

    def _expects(self, lane: L) -> bool:
        return lane in self._company and monotonic() - self._company[lane] < COMPANY_SECONDS

    def _enlisted(self, lane: L, question: Q) -> asyncio.Future[A]:
        turn: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(_Waiting(question, monotonic(), turn))
        return turn

    async def _together(self, lane: L, *, gathered: bool) -> None:
        while waiting := self._waiting[lane]:
            # who waits alone gains nothing by company
            if self._pause and not gathered and 1 < len(waiting) < self._most:
                await asyncio.sleep(self._pause)
                waiting = self._waiting[lane]
            gathered = False
            asked, self._waiting[lane] = waiting[: self._most], waiting[self._most :]
            if self._pause and len(asked) > 1:
                self._company[lane] = monotonic()
            left = asked[0].since + self._seconds - monotonic()
            try:
                with pymongo.timeout(max(left, LEAST_SECONDS)):
                    answers = await self._ask(lane, [each.question for each in asked])
            except Exception as error:  # whatever it is, each request that asked has to deal with it
                for each in asked:
                    if not each.answer.done():
                        each.answer.set_exception(error)
            else:
                for each, answer in zip(asked, answers, strict=True):
                    if not each.answer.done():  # its request was cancelled
                        each.answer.set_result(answer)
        del self._waiting[lane], self._tasks[lane]
