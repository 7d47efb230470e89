"""The Job's loop with a light engine, over a log in memory."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from federated_training.config import Settings
from federated_training.dataset import Dataset, Part
from federated_training.engine import Progress, Trained, TrainingError
from federated_training.loop import Job, JobFailed
from mainstem import topics, updates
from mainstem.clock import SystemClock
from mainstem.control import ControlTopic
from mainstem.errors import DecodeError, LogError
from mainstem.memory_log import MemoryLog
from mainstem.messages import (
    Base,
    ClientFailed,
    Closed,
    Failed,
    Heartbeat,
    Joined,
    Left,
    Lifecycle,
    Metrics,
    Opened,
    Round,
    Rules,
    Snapshot,
    Strategy,
    Update,
    Weights,
    decode_client,
)
from mainstem.ports import Outgoing
from mainstem.weights import Tensor
from tests.support.federations import open_federation
from tests.unit.test_training_data import sample, spec_of

TENSORS: list[Tensor] = [np.arange(6, dtype="float32").reshape(2, 3), np.array(7, "float32")]


@dataclass
class LightEngine:
    """Adds one to every tensor."""

    log: Callable[[], Any]
    opened: Opened
    tensors: Sequence[Tensor] = ()
    output_shape: tuple[int, ...] = (3,)
    sample_dtype: str = "float32"
    trained: list[int] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def unfit(self, x: Any) -> list[tuple[int, str]]:
        """See `Engine`."""
        return []

    def receive(self, weights: Weights) -> None:
        """See `Engine`."""
        self.tensors = updates.read(self.log(), self.opened.topics.data, weights)

    def train(self, data: Dataset, base_seq: int, progress: Progress) -> Trained:
        """See `Engine`."""
        progress(0.5)
        self.during()
        self.trained.append(base_seq)
        metrics = Metrics(examples=len(data.training), values={"loss": 0.5})
        return Trained([tensor + 1 for tensor in self.tensors], metrics, None, 0.01)

    def evaluate(self, part: Part) -> Metrics | None:
        """See `Engine`."""
        return Metrics(examples=len(part), values={"loss": float(self.tensors[1])})


@dataclass
class World:
    """A federation of one client in memory; the test itself plays the aggregator."""

    log: MemoryLog
    federation: str
    engines: list[LightEngine] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def job(self, connect: Callable[[], Any] | None = None, reshape: str = "1") -> Job:
        """A Job for it."""
        spec = spec_of(validation_rate=0.2, config={"data_reshape": reshape})
        settings = Settings(
            spec=dataclasses.replace(spec, federation=self.federation), client="c1", patience=1.0, heartbeat=0.05
        )

        def engine(log: Callable[[], Any], opened: Opened) -> LightEngine:
            self.engines.append(LightEngine(log, opened, during=self.during))
            return self.engines[-1]

        return Job(settings, connect or (lambda: self.log), lambda: self.log, engine)

    def said(self, kind: type) -> list[Any]:
        """What clients have said of one kind, in order."""
        topic = topics.aggregator_topic(self.federation)
        found = []
        for record in self.log.read(topic, 0, *self.log.bounds(topic, 0)):
            try:
                message = decode_client(record.value)
            except DecodeError:
                continue
            if isinstance(message, kind):
                found.append(message)
        return found

    def wait(self, kind: type, count: int = 1) -> list[Any]:
        """The records of one kind, once there are `count`."""
        deadline = time.monotonic() + 20
        while len(self.said(kind)) < count:
            assert time.monotonic() < deadline, f"no {kind.__name__} came"
            time.sleep(0.01)
        return self.said(kind)

    def append(self, make: Callable[[int, str, Opened], Lifecycle]) -> None:
        """Append the record that `make` gives for (sequence, hash of the head, opened)."""
        control = ControlTopic(self.log, self.federation)
        control.sync()
        assert control.head is not None
        control.append(make(control.head.link.record.seq + 1, control.head.link.hash, control.head.opened))

    def commit(self, number: int, tensors: Sequence[Tensor]) -> None:
        """Commit round `number` with these weights."""

        def record(seq: int, prev: str, opened: Opened) -> Round:
            weights = updates.publish(
                self.log, opened.topics.data, writer="a", update=f"v{number}",
                specs=opened.weights.tensors, tensors=tensors,
            )  # fmt: skip
            return Round(
                federation=self.federation, seq=seq, prev=prev, round=number, version=number,
                base=Base(seq=seq - 1, version=number - 1), strategy=Strategy(), accepted=(), weights=weights,
                snapshot=Snapshot(position=0, time_ms=0), closed=Closed(by="all", offset=0, time_ms=0),
                opened_ms=0, writer="a",
            )  # fmt: skip

        self.append(record)


@pytest.fixture
def world() -> World:
    """Ten samples and a federation of two rounds."""
    log = MemoryLog(SystemClock())
    log.create_topics([topics.stream_spec("stream")])
    log.append("stream", [Outgoing(np.float32(number).tobytes(), key=sample(number).key) for number in range(10)])
    federation = open_federation(log, TENSORS, Rules(rounds=2, min_clients=1))
    return World(log, federation)


def void(_: object) -> None:
    """Turn a value into none."""


def start(job: Job) -> tuple[threading.Thread, list[BaseException]]:
    """The Job in a thread, and what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            job.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_two_rounds_and_the_final_evaluation(world: World) -> None:
    """The Job joins, trains each round from the committed weights, evaluates the final model and leaves."""
    thread, raised = start(world.job())
    (joined,) = world.wait(Joined)
    assert (joined.client, joined.examples) == ("c1", 8)
    first = world.wait(Update)[0]
    assert first.base == Base(seq=0, version=0) and first.examples == 8
    assert first.report.evaluation.values == {"loss": 7.0} and first.report.evaluation.examples == 2
    sent = updates.read(world.log, topics.aggregator_topic(world.federation), first.weights)
    assert [tensor.tolist() for tensor in sent] == [(tensor + 1).tolist() for tensor in TENSORS]
    world.commit(1, sent)
    second = world.wait(Update, 2)[1]
    assert second.base == Base(seq=1, version=1) and second.report.evaluation.values == {"loss": 8.0}
    world.commit(2, updates.read(world.log, topics.aggregator_topic(world.federation), second.weights))
    thread.join(20)
    assert raised == [] and not thread.is_alive()
    (left,) = world.said(Left)
    assert left.version == 2 and left.evaluation.values == {"loss": 9.0}
    assert world.engines[0].trained == [0, 1]


def test_heartbeats_tell_how_far_training_is(world: World) -> None:
    """While the engine trains, heartbeats say so, from a thread of their own."""
    released = threading.Event()
    world.during = lambda: void(released.wait(20))
    thread, _ = start(world.job())
    beats = world.wait(Heartbeat, 3)
    released.set()
    world.wait(Update)
    world.append(lambda seq, prev, opened: Failed(federation=world.federation, seq=seq, prev=prev, detail="x"))
    thread.join(20)
    assert (beats[-1].phase, beats[-1].base, beats[-1].progress) == ("training", 0, 0.5)
    assert world.said(Left)[0].version is None


def test_people_are_told_what_is_left_out(world: World) -> None:
    """The client joins with a sentence about the records that it cannot use."""
    world.log.append("stream", [Outgoing(b"no", key=sample(0).key)])
    thread, _ = start(world.job())
    (joined,) = world.wait(Joined)
    world.append(lambda seq, prev, opened: Failed(federation=world.federation, seq=seq, prev=prev, detail="x"))
    thread.join(20)
    assert joined.note == (
        "1 of 11 records are left out: 1 because the record's value has 2 bytes, but data_reshape '1' of float32 "
        "needs 4 (the first: stream:0 offset 10)"
    )


def test_a_base_that_went_stale_is_not_uploaded(world: World) -> None:
    """When the round closes during training the update is dropped, and training begins from the new head."""
    committed = threading.Event()

    def during() -> None:
        if not committed.is_set():
            committed.set()
            world.commit(1, [tensor * 10 for tensor in TENSORS])

    world.during = during
    thread, _ = start(world.job())
    (update,) = world.wait(Update)
    assert update.base == Base(seq=1, version=1)
    world.commit(2, TENSORS)
    thread.join(20)
    assert world.engines[0].trained == [0, 1] and len(world.said(Update)) == 1


def test_a_stream_that_does_not_fit_ends_the_job_and_tells_why(world: World) -> None:
    """A misfit is told to the aggregator in a sentence, and the Job fails before an engine is built."""
    thread, raised = start(world.job(reshape="2 2"))
    thread.join(20)
    assert isinstance(raised[0], JobFailed) and "data_reshape is [2, 2]" in str(raised[0])
    (failed,) = world.said(ClientFailed)
    assert "data_reshape is [2, 2]" in failed.detail
    assert world.engines == [] and world.said(Joined) == []


def test_a_loss_that_is_no_number_ends_the_job(world: World) -> None:
    """What the engine finds wrong in training reaches the aggregator."""

    def during() -> None:
        raise TrainingError("the loss became nan in epoch 1, batch 1; lower the learning rate")

    world.during = during
    thread, raised = start(world.job())
    thread.join(20)
    assert isinstance(raised[0], JobFailed)
    assert "loss became nan" in world.said(ClientFailed)[0].detail


def test_a_signal_makes_the_client_leave(world: World) -> None:
    """Whatever ends the Job from outside, the aggregator hears that the client left."""

    class Signal(BaseException):
        pass

    def during() -> None:
        raise Signal

    world.during = during
    thread, raised = start(world.job())
    thread.join(20)
    assert isinstance(raised[0], Signal)
    assert len(world.said(Left)) == 1 and world.said(ClientFailed) == []


def test_a_kafka_that_fails_once_costs_no_training(world: World) -> None:
    """After a failed append the Job begins anew with the outcome that it has, and joins again."""

    class Failing:
        failed = False

        def __getattr__(self, name: str) -> Any:
            return getattr(world.log, name)

        def append(self, topic: str, records: Any) -> list[int]:
            rows = list(records)
            if rows and rows[0].headers and not Failing.failed:
                Failing.failed = True
                raise LogError("the broker is away")
            return world.log.append(topic, rows)

    thread, raised = start(world.job(connect=Failing))
    world.wait(Update)
    world.append(lambda seq, prev, opened: Failed(federation=world.federation, seq=seq, prev=prev, detail="x"))
    thread.join(20)
    assert raised == [] and world.engines[0].trained == [0] and len(world.engines) == 1
    assert len(world.said(Joined)) == 2 and len({joined.incarnation for joined in world.said(Joined)}) == 2


def test_a_federation_that_never_opens_is_given_up(world: World) -> None:
    """Waiting for the model has an end, and a sentence."""
    world.log.delete_topics([topics.control_topic(world.federation)])
    thread, raised = start(world.job())
    thread.join(20)
    assert isinstance(raised[0], JobFailed) and "FEDERATED_MODEL_ID" in str(raised[0])
