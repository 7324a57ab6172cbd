"""Round trips shared by the requests in flight: while one is under way, what else is asked gathers for the next.

To the driver a round trip costs more than all else in a request, however little it carries. One that finds none under
way goes at the end of this turn of the loop, with whoever asked in it. Each carries only what was asked before it was
sent: who asks after a write was acknowledged sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

import pymongo

Q = TypeVar("Q")
A = TypeVar("A")

MOST = 100  # questions in one round trip
LEAST_SECONDS = 0.001


class _Waiting(NamedTuple, Generic[Q, A]):
    question: Q
    since: float
    answer: asyncio.Future[A]


class Shared(Generic[Q, A]):
    """`ask` answers questions about a collection in one round trip, in their order; each has so many seconds."""

    def __init__(self, ask: Callable[[str, list[Q]], Awaitable[Sequence[A]]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._waiting: dict[str, list[_Waiting[Q, A]]] = {}  # by collection, while a round trip is under way there
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, collection: str, question: Q) -> A:
        if collection in self._waiting:
            return await self._enlisted(collection, question)
        waiting = self._waiting[collection] = []
        try:
            await asyncio.sleep(0)  # those who were answered together ask together: their turn of the loop ends here
            if not waiting:
                with pymongo.timeout(self._seconds):
                    (answer,) = await self._ask(collection, [question])
                return answer
            turn = self._enlisted(collection, question)
        finally:
            if waiting:  # in no request's context, for it belongs to all of them
                self._tasks[collection] = asyncio.create_task(self._together(collection), context=Context())
            else:
                del self._waiting[collection]
        return await turn

    def _enlisted(self, collection: str, question: Q) -> asyncio.Future[A]:
        turn: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[collection].append(_Waiting(question, monotonic(), turn))
        return turn

    async def _together(self, collection: str) -> None:
        while waiting := self._waiting[collection]:
            asked, self._waiting[collection] = waiting[:MOST], waiting[MOST:]
            left = asked[0].since + self._seconds - monotonic()
            try:
                with pymongo.timeout(max(left, LEAST_SECONDS)):
                    answers = await self._ask(collection, [each.question for each in asked])
            except Exception as error:  # whatever it is, each request that asked has to deal with it
                for each in asked:
                    if not each.answer.done():
                        each.answer.set_exception(error)
            else:
                for each, answer in zip(asked, answers, strict=True):
                    if not each.answer.done():  # its request was cancelled
                        each.answer.set_result(answer)
        del self._waiting[collection], self._tasks[collection]
