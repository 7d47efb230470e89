"""A pool of clients over a log in memory: everyone takes part in every round and leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.errors import ConfigError, LogError
from mainstem.protocol.log import MessageLog, Record
from mainstem.protocol.messages import Rules
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import Pool, make, open_federation
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import head_tensors, reference_mean, rounds_of
from tests.support.patience import PATIENCE

MODEL: list[Tensor] = [np.linspace(0, 1, 500, dtype=np.float32), np.array(3, np.int64)]


@contextmanager
def aggregated(log: MessageLog, federation: str) -> Iterator[None]:
    """An aggregator beside it, until the run ends; after an error it resumes from the log, as its worker does."""

    def drive() -> None:
        going = True
        while going:
            driver = Federation(log, federation, clock=SystemClock(), writer="w")
            with suppress(LogError):
                while going:
                    going = driver.step(0.05)

    thread = threading.Thread(target=drive)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_all_take_part_in_every_round() -> None:
    """Seven clients on three threads: each round has all of them, the result is the mean, and all have left."""
    log = MemoryLog(SystemClock())
    federation = open_federation(log, MODEL, Rules(rounds=2, min_clients=7))
    pool = Pool(log, federation, [make("shift", n) for n in range(7)], first=10, threads=3)
    with aggregated(log, federation):
        pool.run(threading.Event())
    assert [len(record.accepted) for record in rounds_of(log, federation)] == [7, 7]
    assert {a.client for a in rounds_of(log, federation)[0].accepted} == {f"client-{n}" for n in range(10, 17)}
    mean = reference_mean([MODEL[0] + np.float32(1 + n % 7) for n in range(7)], [1] * 7)
    second = reference_mean([mean.astype(np.float32) + np.float32(1 + n % 7) for n in range(7)], [1] * 7)
    np.testing.assert_allclose(head_tensors(log, federation)[0], second, rtol=1e-6)
    assert all(client.gone and sorted(client.seen) == [0, 1, 2] for client in pool.clients)


def test_a_client_that_meets_an_error_begins_anew() -> None:
    """The log fails for each client's download, or the aggregator's: all come back and every round still has them."""

    class Flaky(MemoryLog):
        failures = 0

        def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
            if self.failures:
                self.failures -= 1
                raise LogError("it is away")
            return super().read(topic, partition, start, end)

    log = Flaky(SystemClock())
    federation = open_federation(log, MODEL, Rules(rounds=1, min_clients=4))
    pool = Pool(log, federation, [make("noop", n) for n in range(4)])
    log.failures = 5
    with aggregated(log, federation):
        pool.run(threading.Event())
    assert [len(record.accepted) for record in rounds_of(log, federation)] == [4]


def test_whoever_is_told_to_leave_does_while_the_log_is_away() -> None:
    """Clients whose every download fails do not begin anew once they are told to leave."""

    class Away(MemoryLog):
        away = threading.Event()

        def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
            if self.away.is_set():
                failed.set()
                raise LogError("it is away")
            return super().read(topic, partition, start, end)

    log, leave, failed = Away(SystemClock()), threading.Event(), threading.Event()
    federation = open_federation(log, MODEL, Rules(rounds=1, min_clients=4))
    pool = Pool(log, federation, [make("noop", n) for n in range(4)])
    log.away.set()
    running = threading.Thread(target=pool.run, args=(leave,), daemon=True)
    running.start()
    assert failed.wait(PATIENCE)
    leave.set()
    running.join(PATIENCE)
    assert not running.is_alive()


def test_what_training_raises_ends_the_pool() -> None:
    """A defect of the training function is not swallowed."""

    def broken(_: Sequence[Tensor], __: int) -> list[Tensor]:
        raise ZeroDivisionError

    log = MemoryLog(SystemClock())
    federation = open_federation(log, MODEL, Rules(rounds=1, min_clients=1))
    with pytest.raises(ZeroDivisionError):
        Pool(log, federation, [broken]).run(threading.Event())


def test_trainings() -> None:
    """The same client makes the same update of the same base; an unknown training is refused."""
    for name in ("noop", "noise", "shift"):
        one, again, other = make(name, 1)(MODEL, 5), make(name, 1)(MODEL, 5), make(name, 2)(MODEL, 5)
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, again, strict=True))
        assert np.array_equal(one[0], other[0]) == (name == "noop")
        assert one[1] == 3
    with pytest.raises(ConfigError, match="noise"):
        make("magic", 1)
