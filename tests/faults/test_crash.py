"""kill -9 in the middle of writes: what was acknowledged is there, and nothing is there by half.

The long rounds run with `make faults`, CRASH_ROUNDS of them, 100 where it says nothing; two of each kind run with every
test. The controls break a promise on purpose: a harness that cannot see broken promises proves nothing.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine import BROKEN, Machine
from verdict import Verdict, verdict
from writers import Writers

WARM = 20  # acknowledged writes between two crashes, at least
RECOVERY_SECONDS = 45  # after a minute MongoDB ends what the dead left open by itself, and clients have waited for that
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "100"))
Strike = Callable[[Machine], None]


def long(test: Any) -> Any:
    """Minutes, so only with `make faults`."""
    return pytest.mark.faults(pytest.mark.timeout(600)(test))


def server_killed(machine: Machine) -> None:
    """Its mongod stays, and the transactions that were open in it; the next server adopts it."""
    pid = machine.mongod_pid()
    machine.kill_server()
    machine.start()
    assert machine.mongod_pid() == pid


def mongod_killed(machine: Machine) -> None:
    """The server starts it again on the same files."""
    machine.signal_mongod(signal.SIGKILL)
    machine.wait_until_ready()


def both_killed(machine: Machine) -> None:
    machine.kill_server()
    machine.signal_mongod(signal.SIGKILL)
    machine.start()


def crashed(machine: Machine, strikes: list[Strike]) -> tuple[Verdict, list[float]]:
    """Strike while clients write. A round is over when every contended resource has been written again."""
    chosen, recoveries = random.Random(len(strikes)), []
    with Writers(machine.url) as writers:
        for strike in strikes:
            before = len(writers.ledger.acknowledged)
            while len(writers.ledger.acknowledged) < before + WARM:
                time.sleep(0.01)
            time.sleep(chosen.uniform(0, 0.7))
            began = time.monotonic()
            strike(machine)
            writers.update_shared()
            recoveries.append(time.monotonic() - began)
    return verdict(writers.base, writers.ledger), recoveries


def say(name: str, result: Verdict, recoveries: list[float]) -> None:
    mean = sum(recoveries) / len(recoveries)
    print(f"\n{name}: rounds {len(recoveries)}, {result}; recovery {mean:.1f} s, at most {max(recoveries):.1f} s")


def promises_kept(folder: Path, name: str, strikes: list[Strike]) -> None:
    with Machine(folder / "data") as machine:
        result, recoveries = crashed(machine, strikes)
    say(name, result, recoveries)
    assert result.clean, result
    assert result.acknowledged > len(strikes) * WARM
    assert result.transactions
    assert max(recoveries) < RECOVERY_SECONDS
    assert not {"400", "404", "412", "500"} & set(result.answers), result.answers


def test_a_few_crashes_lose_nothing_and_leave_nothing_half_done(tmp_path: Path) -> None:
    promises_kept(tmp_path, "smoke", [server_killed, mongod_killed] * 2)


@long
@pytest.mark.parametrize(("strike", "share"), [(server_killed, 0.4), (mongod_killed, 0.4), (both_killed, 0.2)])
def test_many_crashes_lose_nothing_and_leave_nothing_half_done(tmp_path: Path, strike: Strike, share: float) -> None:
    promises_kept(tmp_path, strike.__name__, [strike] * round(ROUNDS * share))


@long
def test_the_harness_sees_transactions_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "separate")
    with Machine(tmp_path / "data", BROKEN) as machine:
        result, recoveries = crashed(machine, [server_killed] * 5)
    say("control, separate writes", result, recoveries)
    assert result.half_applied


@long
def test_the_harness_sees_writes_that_only_memory_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "unjournaled")
    with Machine(tmp_path / "data", BROKEN) as machine:
        result, recoveries = crashed(machine, [mongod_killed] * 5)
    say("control, unjournaled", result, recoveries)
    assert result.lost
