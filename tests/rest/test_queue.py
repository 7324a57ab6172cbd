"""Who works and who waits: fair, bounded, and nobody's time runs while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from ports import free_port
from pymongo.errors import NetworkTimeout

from fhirserver.app import Application
from fhirserver.fhir.outcome import Outcome
from fhirserver.rest.queue import Gone, Queue, is_wide
from fhirserver.settings import Settings

NARROW, WIDE = False, True


@pytest.mark.parametrize(
    ("method", "path", "wide"),
    [
        ("GET", "Patient/1", NARROW),
        ("HEAD", "Patient/1", NARROW),
        ("PUT", "Patient/1", NARROW),
        ("DELETE", "Patient/1", NARROW),
        ("GET", "Patient/1/_history/3", NARROW),
        ("POST", "Patient", NARROW),
        ("PATCH", "Patient", NARROW),
        ("GET", "Patient", WIDE),
        ("POST", "Patient/_search", WIDE),
        ("POST", "_search", WIDE),
        ("GET", "Patient/1/_history", WIDE),
        ("GET", "Patient/_history", WIDE),
        ("GET", "_history", WIDE),
        ("GET", "Patient/1/$everything", WIDE),
        ("GET", "Patient/1/Observation", WIDE),
        ("POST", "Observation/$stats", WIDE),
        ("POST", "$convert", WIDE),
        ("POST", "", WIDE),
        ("GET", "", WIDE),
    ],
)
def test_what_may_touch_many_resources_is_wide(method: str, path: str, wide: bool) -> None:
    assert is_wide(method, tuple(filter(None, path.split("/")))) is wide


async def patient_client() -> dict[str, Any]:
    """Sends nothing more and does not leave."""
    await asyncio.Event().wait()
    raise AssertionError


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Bench:
    """Requests by name; each works until it is told to finish."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.at_work: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def arrives(
        self, name: str, wide: bool = NARROW, receive: Callable[[], Any] = patient_client, client: str = ""
    ) -> None:
        self._ends[name] = asyncio.Event()

        async def request() -> None:
            async with self.queue.turn(wide, receive, client):
                self.at_work.append(name)
                await self._ends[name].wait()
                self.at_work.remove(name)

        self.tasks[name] = asyncio.create_task(request())
        await settled()

    async def finishes(self, name: str) -> None:
        self._ends[name].set()
        await self.tasks[name]
        await settled()


def story(tell: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(tell(), 10))  # type: ignore[arg-type]


def test_first_come_first_served() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=10, silence=2))
        for name, wide in (("a", NARROW), ("b", WIDE), ("c", NARROW), ("d", WIDE)):
            await bench.arrives(name, wide)
        for name in "abcd":
            assert bench.at_work == [name]
            await bench.finishes(name)

    story(tell)


def test_who_asks_much_does_not_keep_others_waiting() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=10, silence=2))
        for name in ("a0", "a1", "a2", "a3", "b1", "a4", "b2", "c1"):
            await bench.arrives(name, WIDE if name == "b1" else NARROW, client=name[0])
        for name in ("a0", "a1", "b1", "c1", "a2", "b2", "a3", "a4"):
            assert bench.at_work == [name]
            await bench.finishes(name)

    story(tell)


def test_what_one_asked_before_is_forgotten_when_nobody_waits() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=10, silence=2))
        for name in ("a0", "a1", "a2"):
            await bench.arrives(name, client="a")
        for name in ("a1", "a2"):  # they leave, and their rounds never come
            bench.tasks[name].cancel()
        await settled()
        await bench.arrives("a3", client="a")
        await bench.arrives("b", client="b")
        for name in ("a0", "a3", "b"):
            assert bench.at_work == [name]
            await bench.finishes(name)

    story(tell)


def test_nobody_waits_for_ever() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=1, silence=2, patience=0.05))
        await bench.arrives("a")
        await bench.arrives("b")
        with pytest.raises(Outcome) as refused:
            await bench.tasks["b"]
        assert refused.value.status == 503
        await bench.arrives("c")  # there is room to wait again
        await bench.finishes("a")
        assert bench.at_work == ["c"]

    story(tell)


def test_slow_searches_leave_room_for_reads() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=3, wide=2, waiting=10, silence=2))
        for name in ("search 1", "search 2", "search 3"):
            await bench.arrives(name, WIDE)
        await bench.arrives("read")
        assert bench.at_work == ["search 1", "search 2", "read"]
        await bench.finishes("read")
        assert bench.at_work == ["search 1", "search 2"]  # the third waits for a place of its kind
        await bench.finishes("search 1")
        assert bench.at_work == ["search 2", "search 3"]

    story(tell)


def test_too_many_are_told_to_come_again() -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=1, silence=2))
        await bench.arrives("a")
        await bench.arrives("b")
        await bench.arrives("c")
        with pytest.raises(Outcome) as refused:
            await bench.tasks["c"]
        assert (refused.value.status, dict(refused.value.headers).keys()) == (503, {"retry-after"})
        await bench.finishes("a")
        assert bench.at_work == ["b"]

    story(tell)


def test_who_leaves_is_not_waited_for() -> None:
    async def tell() -> None:
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        bench = Bench(Queue(at_work=1, wide=1, waiting=10, silence=2))
        await bench.arrives("a")
        await bench.arrives("b", receive=messages.get)
        await bench.arrives("c")
        await messages.put({"type": "http.request"})
        await messages.put({"type": "http.disconnect"})
        with pytest.raises(Gone):
            await bench.tasks["b"]
        await bench.finishes("a")
        assert bench.at_work == ["c"]

    story(tell)


@pytest.mark.parametrize("admitted", [False, True])
def test_a_request_that_is_cancelled_takes_no_place(admitted: bool) -> None:
    async def tell() -> None:
        bench = Bench(Queue(at_work=1, wide=1, waiting=10, silence=2))
        await bench.arrives("a", WIDE)
        await bench.arrives("b", WIDE)
        await bench.arrives("c", WIDE)
        if admitted:  # its turn comes, and it is cancelled before it notices
            bench.tasks["a"].add_done_callback(lambda _: bench.tasks["b"].cancel())
        else:
            bench.tasks["b"].cancel()
            await settled()
        await bench.finishes("a")
        assert bench.tasks["b"].cancelled()
        assert bench.at_work == ["c"]
        await bench.finishes("c")
        await bench.arrives("d", WIDE)
        assert bench.at_work == ["d"]

    story(tell)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time that the queue sees."""
    times = [100.0]
    monkeypatch.setattr("fhirserver.rest.queue.monotonic", lambda: times[-1])
    return lambda seconds: times.append(times[-1] + seconds)


async def fails(queue: Queue, after: Callable[[], Awaitable[None]]) -> None:
    async with queue.turn(NARROW, patient_client):
        await after()
        raise NetworkTimeout("silence")


@pytest.mark.parametrize("late", [False, True])
def test_when_nobody_is_answered_nobody_waits(clock: Callable[[float], None], late: bool) -> None:
    """Also when a last answer, which was on its way, came after the work began that then met silence."""

    async def tell() -> None:
        bench = Bench(Queue(at_work=2, wide=1, waiting=10, silence=2))

        async def four_seconds() -> None:
            await bench.arrives("other")
            for name in "abc":
                await bench.arrives(name)
            clock(0.01)
            if late:
                await bench.finishes("other")
            clock(4)

        with pytest.raises(NetworkTimeout):
            await fails(bench.queue, four_seconds)
        sent = "bc" if late else "abc"
        refused = await asyncio.gather(*(bench.tasks[name] for name in sent), return_exceptions=True)
        assert [each.status for each in refused if isinstance(each, Outcome)] == [503] * len(sent)
        assert bench.at_work == (["a"] if late else ["other"])
        await bench.finishes(bench.at_work[0])
        await bench.arrives("d")
        await bench.arrives("e")
        assert bench.at_work == ["d", "e"]  # there is room again

    story(tell)


@pytest.mark.parametrize(("seconds", "answered"), [(4, True), (0.01, False)])
def test_one_failure_sends_nobody_away(clock: Callable[[float], None], seconds: float, answered: bool) -> None:
    """Either others are answered meanwhile, or it is too early to speak of silence, also after a quiet hour."""

    async def tell() -> None:
        bench = Bench(Queue(at_work=2, wide=1, waiting=10, silence=2))
        clock(3600)

        async def unlucky() -> None:
            clock(seconds - 0.005)
            await bench.arrives("a")
            await bench.arrives("b")
            clock(0.005)
            if answered:
                await bench.finishes("a")
            await bench.arrives("c")

        with pytest.raises(NetworkTimeout):
            await fails(bench.queue, unlucky)
        await settled()
        assert bench.at_work == (["b", "c"] if answered else ["a", "b"])

    story(tell)


@asynccontextmanager
async def served(mongodb: str, **limits: int) -> AsyncIterator[tuple[Queue, httpx.AsyncClient]]:
    """A server in this event loop, so that a test can be at work in it."""
    port = free_port()
    values = {"mongodb_url": mongodb, "database": f"test-{uuid4().hex[:12]}", "open": True, "port": port}
    app = Application(Settings(**values | limits))  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on"))
    running = asyncio.create_task(server.serve())
    for _ in range(1000):
        if server.started:
            break
        await asyncio.sleep(0.01)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield app.queue, client
    finally:
        server.should_exit = True
        await running


def test_health_is_asked_past_the_queue_and_waiting_requests_are_answered_in_the_end(mongodb: str) -> None:
    async def tell() -> None:
        async with served(mongodb, max_at_work=1, max_waiting=2) as (queue, client):
            async with queue.turn(NARROW, patient_client):
                waiting = [asyncio.create_task(client.get(f"/fhir/Patient/{n}")) for n in range(2)]
                await asyncio.wait(waiting, timeout=0.3)
                refused = await client.get("/fhir/Patient/3")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
                assert refused.json()["issue"][0]["code"] == "throttled"
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                assert (await client.get("/fhir/metadata")).status_code == 200
                assert (await client.get("/fhir/metadata?_format=json&_pretty=true")).status_code == 200
                assert (await client.get("/fhir/metadata?_summary=true")).status_code == 503
                assert not any(task.done() for task in waiting)
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [404, 404]

    story(tell)


def test_a_client_that_goes_away_leaves_the_queue(mongodb: str) -> None:
    async def tell() -> None:
        async with served(mongodb, max_at_work=1, max_waiting=1) as (queue, client):
            async with queue.turn(NARROW, patient_client):
                with pytest.raises(httpx.ReadTimeout):
                    await client.get("/fhir/Patient/1", timeout=0.2)
                next_ = asyncio.create_task(client.get("/fhir/Patient/2"))  # there is room to wait again
                await asyncio.wait([next_], timeout=0.3)
                assert not next_.done()
            assert (await next_).status_code == 404

    story(tell)
