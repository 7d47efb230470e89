"""The worker's threads; what keeps a federation from going on is told in its own log, once, until the next commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregator import turns
from mainstem.aggregator.federation import Federation
from mainstem.aggregator.turns import TurnStage
from mainstem.aggregator.worker import Worker
from mainstem.errors import LogError, UnreadableError
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Progress, Rules, encode
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import announcement_of
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation
from tests.support.patience import PATIENCE, until


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """A log, and workers that resume at once."""
    monkeypatch.setattr(turns, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(turns, "LONGEST_PAUSE", 0.01)
    return MemoryLog(SystemClock())


Start = Callable[..., Worker]


@pytest.fixture
def start(log: MemoryLog) -> Iterator[Start]:
    """Makes workers over the log that are closed at the end."""
    started: list[Worker] = []

    def make(kind: type[Federation] = Federation, **settings: Any) -> Worker:
        worker = Worker(
            lambda name, guard: kind(log, name, clock=SystemClock(), writer="w", guard=guard), log.existing, **settings
        )
        started.append(worker)
        return worker

    yield make
    for worker in started:
        worker.close()


def announced(federation: str, revision: int = 1, key: str | None = None) -> Record:
    """Its announcement, as read; `key` where that is another."""
    record = announcement_of(federation, Rules(), revision=revision)
    return Record(topics.MODEL_CONTROL, 0, revision, 0, key.encode() if key else record.key, bytes(record.value or b""))


def stage(worker: Worker, federation: str) -> TurnStage | None:
    """Where a federation stands with the worker."""
    place = worker._turns.places.get(federation)
    return None if place is None else place.stage


def told(log: MemoryLog, federation: str) -> list[str]:
    """The `detail` of each progress record, in order."""
    control = ControlTopic(log, federation)
    return [entry.record.detail for entry in control.sync() if isinstance(entry.record, Progress)]


def test_a_mode_that_this_version_does_not_know(log: MemoryLog, start: Start) -> None:
    """The run would wait for ever without a word."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules())
    control = ControlTopic(log, federation)
    control.sync()
    assert control.head is not None
    rules = msgspec.structs.replace(control.head.rules, mode="swarm")
    log.delete_topics([control.topic])
    log.create_topics(topics.federation_topics(federation))
    log.append(control.topic, [Outgoing(encode(msgspec.structs.replace(control.head.opened, rules=rules)))])
    worker = start()
    worker.announced(announced(federation))
    until(lambda: stage(worker, federation) is TurnStage.OVER)
    (detail,) = told(log, federation)
    assert detail.startswith("this version of the aggregator cannot run it: mode 'swarm' is not known; choose one of")


@pytest.mark.parametrize("error", [UnreadableError("offset 7 is gone"), ZeroDivisionError("one by none")], ids=repr)
def test_a_round_that_cannot_be_reduced_for_now(log: MemoryLog, start: Start, error: Exception) -> None:
    """Said while it lasts, however often it is tried; the commit that goes through in the end takes it back."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules(rounds=1, min_clients=1))
    tries: list[int] = []

    class Failing(Federation):
        def _reduce(self, plan):  # type: ignore[no-untyped-def]
            tries.append(1)
            if len(tries) < 4:
                raise error
            return super()._reduce(plan)

    worker = start(Failing)
    worker.announced(announced(federation))
    client = LightClient(log, federation, "a", lambda tensors, seq: [tensor + 1 for tensor in tensors])
    client.run(threading.Event())
    until(lambda: stage(worker, federation) is TurnStage.OVER)
    assert len(tries) == 4
    sentence = str(error) if isinstance(error, UnreadableError) else "unexpected ZeroDivisionError: one by none"
    details = told(log, federation)
    assert details.count(sentence) >= 1 and details[-1] in (sentence, "")
    assert worker._turns.places[federation].shown.trouble == ""


def test_a_step_that_goes_well_does_not_end_the_back_off(
    log: MemoryLog, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step of each attempt does, reading the log; only what it could not do before is progress."""
    monkeypatch.setattr(turns, "LONGEST_PAUSE", PATIENCE)  # a step that takes longer than it counts as progress
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules(rounds=1, min_clients=1))
    tries: list[int] = []

    class Failing(Federation):
        def step(self, timeout: float = 0.2) -> bool:
            if self.machine.head is not None:
                tries.append(1)
                raise UnreadableError("offset 7 is gone")
            return super().step(0.0)

    worker = start(Failing)
    worker.announced(announced(federation))
    until(lambda: len(tries) >= 4)
    worker.close()
    assert worker._turns.places[federation].pauses._failures == len(tries)


def test_more_federations_than_slots(log: MemoryLog, start: Start) -> None:
    """Six runs on two threads, with fifty strangers beside them: all end, and never more than two run at a time."""
    federations = [open_federation(log, [np.zeros(2, np.float32)], Rules(rounds=2, min_clients=1)) for _ in range(6)]
    at_once: list[int] = []
    two = threading.Event()

    class Counting(Federation):
        stepped = False

        def step(self, timeout: float = 0.2) -> bool:
            if self.stepped:  # then it is on trial no longer, and keeps nobody from beginning beside it
                two.wait(PATIENCE)
            at_once.append(worker._turns.running)
            if at_once[-1] > 1:
                two.set()
            self.stepped = True
            return super().step(0.01)

    worker = start(Counting, slots=2, turn=0.02)
    for n in range(50):
        worker.announced(announced(f"strang{n:02}"))
    for federation in federations:
        worker.announced(announced(federation))
    clients = [
        LightClient(log, federation, "a", lambda tensors, seq: [tensor + 1 for tensor in tensors])
        for federation in federations
    ]
    until(lambda: not [client for client in clients if not client.gone and client.step(0.0)])
    until(lambda: all(stage(worker, federation) is TurnStage.OVER for federation in federations))
    assert max(at_once) == 2


def test_announcements_that_name_another(log: MemoryLog, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Whose key and federation differ, or whose federation is no id, is nobody's: a tombstone could not end it."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules())
    worker = start()
    worker.announced(announced(federation, key="another1"))
    worker.announced(announced("no-id", key="no-id"))
    assert not worker._turns.places
    assert f"key is another1, but it names '{federation}'" in caplog.text


def test_a_machine_without_another_thread(log: MemoryLog, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot begin now is tried again; the worker goes on."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules())
    worker = start()
    right = threading.Thread.start
    refused: list[int] = []

    def wrong(self: threading.Thread) -> None:
        if self.name.startswith("federation-") and len(refused) < 3:
            refused.append(1)
            raise RuntimeError("can't start new thread")
        right(self)

    monkeypatch.setattr(threading.Thread, "start", wrong)
    worker.announced(announced(federation))
    until(lambda: len(worker.sights()) == 1)
    worker.announced(Record(topics.MODEL_CONTROL, 0, 9, 0, federation.encode(), None))
    until(lambda: not [t for t in threading.enumerate() if t.name == f"federation-{federation}"])
    assert len(refused) == 3 and not worker._turns.places


def test_looks_that_fail(log: MemoryLog) -> None:
    """Whatever they fail with: they are repeated, whoever owns the worker is told, and the next one lets in."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules())
    errors: list[Exception] = [LogError("away"), ZeroDivisionError("a defect")]
    told: list[str | None] = []

    def existing(names: Collection[str]) -> set[str]:
        if errors:
            raise errors.pop(0)
        return log.existing(names)

    worker = Worker(
        lambda name, guard: Federation(log, name, clock=SystemClock(), writer="w", guard=guard),
        existing,
        looked=lambda error: told.append(None if error is None else str(error)),
    )
    worker.announced(announced(federation))
    until(lambda: len(worker.sights()) == 1)
    worker.close()
    assert told[:3] == ["away", "a defect", None]
