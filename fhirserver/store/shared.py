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
from typing import Any, Generic, NamedTuple, TypeVar

import pymongo
from pymongo.errors import NetworkTimeout

L = TypeVar("L", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")

MOST = 100  # questions in one round trip
LEAST_SECONDS = 0.001
AT_MOST = 1.25  # of the time that one has, where a trip has the time of others
LANES = 1_000  # whose company is remembered
KEEPS = 0.9  # how slowly the number of those who ask at the same time falls
COMPANY_SECONDS = 0.1  # after a round trip with several questions: whoever asks next is hardly alone


class _Waiting(NamedTuple, Generic[Q, A]):
    question: Q
    since: float
    answer: asyncio.Future[A]


class _Company(NamedTuple):
    """How many asked at the same time, and when; a number that falls slowly, for not all of them are back each time."""

    number: int
    time: float


class _Gathering(NamedTuple):
    """Ends when so many wait."""

    number: int
    end: asyncio.Future[None]


class Shared(Generic[L, Q, A]):
    """`ask` answers questions of a lane (a collection, say) in one round trip, in order, within so many seconds.

    A round trip has as long as who asked last in it has left: nobody fails because another has waited longer. Who has
    waited a quarter longer than so many seconds is told that it was in vain, and the trip goes on for the others.

    Where several have gathered, the next round trip waits for more: until as many ask as did lately, `pause` seconds at
    most. So does the first one to ask where the last trip had company: who follow soon would wait for it to come back.
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
        self._company: dict[L, _Company] = {}  # of the last round trip with several questions
        self._gathering: dict[L, _Gathering] = {}

    async def __call__(self, lane: L, question: Q) -> A:
        if lane in self._waiting:
            return await self._enlisted(lane, question)
        waiting = self._waiting[lane] = []
        answered = 0
        try:
            if (company := self._expected(lane)) > 1:
                await self._gather(lane, company - 1)
            else:
                await asyncio.sleep(0)  # those who were answered together ask together: this turn of the loop ends
            if not waiting:
                self._company.pop(lane, None)
                with pymongo.timeout(self._seconds):
                    (answer,) = await self._ask(lane, [question])
                answered = 1
                return answer
            turn = self._enlisted(lane, question)
        finally:
            if waiting:  # in no request's context, for it belongs to all of them
                self._tasks[lane] = asyncio.create_task(self._together(lane, answered), context=Context())
            else:
                del self._waiting[lane]
        return await turn

    def _expected(self, lane: L) -> int:
        company = self._company.get(lane)
        return company.number if company is not None and monotonic() - company.time < COMPANY_SECONDS else 1

    def _enlisted(self, lane: L, question: Q) -> asyncio.Future[A]:
        turn: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[lane]
        waiting.append(_Waiting(question, monotonic(), turn))
        gathering = self._gathering.get(lane)
        if gathering is not None and len(waiting) >= gathering.number:
            _end(gathering.end)
        return turn

    async def _gather(self, lane: L, number: int) -> None:
        """Until so many wait; not for ever."""
        loop = asyncio.get_running_loop()
        gathering = self._gathering[lane] = _Gathering(min(number, self._most), loop.create_future())
        late = loop.call_later(self._pause, _end, gathering.end)
        try:
            await gathering.end
        finally:
            late.cancel()
            del self._gathering[lane]

    async def _together(self, lane: L, answered: int) -> None:
        """Round trips until nobody waits; so many were just answered, who may ask again."""
        while waiting := self._waiting[lane]:
            # who waits alone gains nothing by company
            if self._pause and answered and 1 < len(waiting) < self._most:
                await self._gather(lane, max(len(waiting) + answered, self._expected(lane)))
                waiting = self._waiting[lane]
            asked, self._waiting[lane] = waiting[: self._most], waiting[self._most :]
            left = asked[-1].since + self._seconds - monotonic()
            limits = self._limits(asked)
            try:
                with pymongo.timeout(max(left, LEAST_SECONDS)):
                    answers = await self._ask(lane, [each.question for each in asked])
            except Exception as error:  # whatever it is, each request that asked has to deal with it
                for each in asked:
                    if not each.answer.done():
                        each.answer.set_exception(error)
            else:
                for each, answer in zip(asked, answers, strict=True):
                    if not each.answer.done():  # its request was cancelled, or its time was over
                        each.answer.set_result(answer)
            finally:
                for limit in limits:
                    limit.cancel()
            answered = len(asked)
            if self._pause and answered > 1:
                number = max(answered + len(self._waiting[lane]), int(KEEPS * self._expected(lane)))
                if len(self._company) >= LANES:
                    self._company.clear()
                self._company[lane] = _Company(number, monotonic())
        del self._waiting[lane], self._tasks[lane]

    def _limits(self, asked: Sequence[_Waiting[Q, A]]) -> list[asyncio.TimerHandle]:
        """For those who asked so long before the last one that the trip may outlast their time: hardly ever any."""
        loop, now, most = asyncio.get_running_loop(), monotonic(), AT_MOST * self._seconds
        early = [each for each in asked if each.since + most < asked[-1].since + self._seconds]
        return [loop.call_later(each.since + most - now, _in_vain, each.answer) for each in early]


def _in_vain(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(NetworkTimeout("no answer in time"))


def _end(gathering: asyncio.Future[None]) -> None:
    if not gathering.done():
        gathering.set_result(None)
