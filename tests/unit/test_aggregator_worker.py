"""What keeps the aggregator from going on is told in the run's own log, once, and taken back by the next commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from backend.aggregator import worker
from backend.aggregator.federation import Federation
from backend.aggregator.worker import Runner
from mainstem import topics
from mainstem.clock import SystemClock
from mainstem.control import ControlTopic
from mainstem.errors import UnreadableError
from mainstem.memory_log import MemoryLog
from mainstem.messages import Progress, Rules, encode
from mainstem.ports import Outgoing
from tests.support.federations import LightClient, open_federation
from tests.support.patience import PATIENCE


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """A log, and a runner that resumes at once."""
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.01)
    return MemoryLog(SystemClock())


def told(log: MemoryLog, federation: str) -> list[str]:
    """The `detail` of each progress record, in order."""
    control = ControlTopic(log, federation)
    return [entry.record.detail for entry in control.sync() if isinstance(entry.record, Progress)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_mode_that_this_version_does_not_know(log: MemoryLog) -> None:
    """The run would wait for ever without a word."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules())
    control = ControlTopic(log, federation)
    control.sync()
    assert control.head is not None
    rules = msgspec.structs.replace(control.head.rules, mode="swarm")
    log.delete_topics([control.topic])
    log.create_topics(topics.federation_topics(federation))
    log.append(control.topic, [Outgoing(encode(msgspec.structs.replace(control.head.opened, rules=rules)))])
    runner = Runner(federation, 0, 1, lambda name: Federation(log, name, clock=SystemClock(), writer="w"))
    runner.start()  # in a thread, as the worker does: what it binds to log lines stays there
    runner.join(PATIENCE)
    (detail,) = told(log, federation)
    assert detail.startswith("this version of the aggregator cannot run it: mode 'swarm' is not known; choose one of")


@pytest.mark.parametrize("error", [UnreadableError("offset 7 is gone"), ZeroDivisionError("one by none")], ids=repr)
def test_a_round_that_cannot_be_reduced_for_now(log: MemoryLog, error: Exception) -> None:
    """Said while it lasts, however often it is tried; the commit that goes through in the end takes it back."""
    federation = open_federation(log, [np.zeros(2, np.float32)], Rules(rounds=1, min_clients=1))
    tries: list[int] = []

    class Failing(Federation):
        def _reduce(self, plan):  # type: ignore[no-untyped-def]
            tries.append(1)
            if len(tries) < 4:
                raise error
            return super()._reduce(plan)

    runner = Runner(federation, 0, 1, lambda name: Failing(log, name, clock=SystemClock(), writer="w"))
    runner.start()
    client = LightClient(log, federation, "a", lambda tensors, seq: [tensor + 1 for tensor in tensors])
    client.run(threading.Event())
    runner.join(20)
    assert not runner.is_alive() and len(tries) == 4
    sentence = str(error) if isinstance(error, UnreadableError) else "unexpected ZeroDivisionError: one by none"
    details = told(log, federation)
    assert details.count(sentence) >= 1 and details[-1] in (sentence, "")
    assert runner._trouble == ""
