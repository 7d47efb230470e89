"""The Job's loop with a light engine, over a log in memory."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest

from federated_training.data.dataset import Dataset, LabelledSamples
from federated_training.engines.engine import Progress, TrainingError, TrainingResult
from federated_training.job.config import Settings
from federated_training.job.loop import JobFailed, TrainingJob
from mainstem.aggregation.local import GradientHook
from mainstem.errors import LogError
from mainstem.lineage import read_history
from mainstem.protocol import topics, updates
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    Base,
    ClientFailed,
    Closed,
    Failed,
    Heartbeat,
    InputSpec,
    Joined,
    LearningRateSchedule,
    Left,
    Lifecycle,
    Member,
    Metrics,
    Opened,
    Round,
    Rules,
    Snapshot,
    Stopped,
    StrategyChoice,
    Training,
    Update,
    encode,
)
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support import sent
from tests.support.federations import open_federation
from tests.support.patience import PATIENCE
from tests.unit.test_training_data import sample, spec_of

TENSORS: list[Tensor] = [np.arange(6, dtype="float32").reshape(2, 3), np.array(7, "float32")]
LABELLED = InputSpec(shape=(1,), label_shape=(3,), classes=3)


@dataclass
class LightEngine:
    """Adds one to every tensor."""

    tensors: Sequence[Tensor] = ()
    sample_dtype: str = "float32"
    trained: list[int] = field(default_factory=list)
    given: list[tuple[GradientHook | None, float | None]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def unfit(self, x: Any) -> list[tuple[int, str]]:
        """See `Engine`."""
        return []

    def load(self, tensors: Sequence[Tensor]) -> None:
        """See `Engine`."""
        self.tensors = tensors

    def train(
        self,
        data: Dataset,
        base_seq: int,
        progress: Progress,
        hook: GradientHook | None = None,
        rate: float | None = None,
    ) -> TrainingResult:
        """See `Engine`."""
        progress(0.5)
        self.during()
        self.trained.append(base_seq)
        self.given.append((hook, rate))
        metrics = Metrics(examples=len(data.training), values={"loss": 0.5})
        return TrainingResult([tensor + 1 for tensor in self.tensors], 1, metrics, None, 0.01)

    def evaluate(self, part: LabelledSamples, *, weighted: bool = False) -> Metrics | None:
        """See `Engine`."""
        return Metrics(examples=len(part), values={"loss": float(self.tensors[1])})


@dataclass
class World:
    """A federation of one client in memory; the test itself plays the aggregator."""

    log: MemoryLog
    federation: str
    engines: list[LightEngine] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def job(
        self,
        connect: Callable[[], Any] | None = None,
        reshape: str = "1",
        topic: str = "stream:0:0:10",
        data: Callable[[], Any] | None = None,
        **more: Any,
    ) -> TrainingJob:
        """A Job for it."""
        spec = spec_of(topic, validation_rate=0.2, config={"data_reshape": reshape}, **more)
        settings = Settings(
            spec=dataclasses.replace(spec, federation=self.federation), client="c1", patience=1.0, heartbeat=0.05
        )

        def engine(opened: Opened) -> LightEngine:
            self.engines.append(LightEngine(during=self.during))
            return self.engines[-1]

        return TrainingJob(settings, connect or (lambda: self.log), data or (lambda: self.log), engine)

    def said(self, kind: type) -> list[Any]:
        """What clients have said of one kind, in order."""
        return [message for _, message in sent.said(self.log, self.federation) if isinstance(message, kind)]

    def tensors(self, update: Update) -> list[Tensor]:
        """What an update carries: the whole model."""
        opened = read_history(self.log, self.federation).opened
        offset = next(record.offset for record, said in sent.said(self.log, self.federation) if said == update)
        return sent.carried(self.log, opened, offset, update)

    def wait(self, kind: type, count: int = 1) -> list[Any]:
        """The records of one kind, once there are `count`."""
        deadline = time.monotonic() + PATIENCE
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

    def commit(self, number: int, tensors: Sequence[Tensor], members: Sequence[Member] = ()) -> None:
        """Commit round `number` with these weights, and with these members in its snapshot."""

        def record(seq: int, prev: str, opened: Opened) -> Round:
            weights = updates.publish(
                self.log, opened.topics.data, writer="a", update=f"v{number}",
                specs=opened.tensors, tensors=tensors,
            )  # fmt: skip
            return Round(
                federation=self.federation, seq=seq, prev=prev, round=number, version=number,
                base=Base(seq=seq - 1, version=number - 1), strategy=StrategyChoice(), accepted=(), weights=weights,
                snapshot=Snapshot(position=0, time_ms=0, members=tuple(members)),
                closed=Closed(by="all", offset=0, time_ms=0),
                opened_ms=0, writer="a",
            )  # fmt: skip

        self.append(record)


def world_of(**chosen: Any) -> World:
    """Ten samples and a federation of two rounds."""
    log = MemoryLog(SystemClock())
    log.create_topics([topics.stream_spec("stream")])
    log.append("stream", [Outgoing(np.float32(number).tobytes(), key=sample(number).key) for number in range(10)])
    federation = open_federation(log, TENSORS, Rules(rounds=2, min_clients=1), input=LABELLED, **chosen)
    return World(log, federation)


@pytest.fixture
def world() -> World:
    """A run of fedavg."""
    return world_of()


def void(_: object) -> None:
    """Turn a value into none."""


def start(job: TrainingJob) -> tuple[threading.Thread, list[BaseException]]:
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


@pytest.mark.parametrize("name", ["fedprox", "scaffold", "qfedavg"])
def test_a_job_does_what_its_strategy_asks(name: str) -> None:
    """The round's rate and the gradient hook reach the engine; steps, loss and groups stand in the update."""
    schedule = LearningRateSchedule(params={"warmup": 1})
    training = Training(optimizer="sgd", learning_rate=0.5, learning_rate_schedule=schedule)
    world = world_of(strategy=StrategyChoice(name=name), training=training)
    thread, raised = start(world.job())
    (update,) = world.wait(Update)
    world.append(lambda seq, prev, opened: Stopped(federation=world.federation, seq=seq, prev=prev, command=0))
    thread.join(PATIENCE)
    assert raised == [] and not thread.is_alive()
    ((hook, rate),) = world.engines[0].given
    assert rate == 0.25 and (hook is not None) == (name != "qfedavg") and update.steps == 1
    assert update.loss == (7.0 if name == "qfedavg" else None)
    assert sorted(update.extra) == (["scaffold_dc"] if name == "scaffold" else [])
    carried = world.tensors(update)
    floats = [tensor for tensor in TENSORS if tensor.dtype.kind == "f"]
    for change, tensor in zip(carried[len(TENSORS) :], floats, strict=name == "scaffold"):
        np.testing.assert_array_equal(change, np.full_like(tensor, -1 / 0.25))  # from x to x + 1, in a step of 0.25


def test_two_rounds_and_the_final_evaluation(world: World) -> None:
    """The Job joins, trains each round from the committed weights, evaluates the final model and leaves."""
    thread, raised = start(world.job())
    (joined,) = world.wait(Joined)
    assert (joined.client, joined.examples) == ("c1", 8)
    first = world.wait(Update)[0]
    assert first.base == Base(seq=0, version=0) and first.examples == 8
    assert first.report.evaluation.values == {"loss": 7.0} and first.report.evaluation.examples == 2
    trained = world.tensors(first)
    assert [tensor.tolist() for tensor in trained] == [(tensor + 1).tolist() for tensor in TENSORS]
    world.commit(1, trained)
    second = world.wait(Update, 2)[1]
    assert second.base == Base(seq=1, version=1) and second.report.evaluation.values == {"loss": 8.0}
    world.commit(2, world.tensors(second))
    thread.join(PATIENCE)
    assert raised == [] and not thread.is_alive()
    (left,) = world.said(Left)
    assert left.version == 2 and left.evaluation.values == {"loss": 9.0}
    assert world.engines[0].trained == [0, 1]


def test_a_growing_stream_tells_its_newest_examples_and_leaks_none(world: World) -> None:
    """Each round with the samples that have come meanwhile, none of which was ever trained on and is held out now.

    What memorises its training samples, on labels that nothing explains, is right by chance alone on the others.
    """
    random, shares = np.random.default_rng(1), []
    seen: set[float] = set()

    def grow() -> None:
        labels = np.eye(3, dtype="<f4")[random.integers(0, 3, 100)]
        first = world.log.bounds("stream", 0)[1]
        values = [np.float32(first + n).tobytes() for n in range(100)]
        world.log.append("stream", [Outgoing(v, key=k.tobytes()) for v, k in zip(values, labels, strict=True)])

    train = LightEngine.train

    def remember(engine: LightEngine, data: Dataset, *given: Any) -> TrainingResult:
        shares.append(len({float(x) for x in data.held_out.x[:, 0]} & seen))
        seen.update(float(x) for x in data.training.x[:, 0])
        return train(engine, data, *given)

    grow()
    with mock.patch.object(LightEngine, "train", remember):
        thread, raised = start(world.job(topic="stream", incremental=True))
        for number in range(1, 3):
            newest = world.wait(Update, number)[-1]
            grow()  # before the commit, so that the next round has them
            world.commit(number, world.tensors(newest))
        thread.join(PATIENCE)
    assert raised == [] and not thread.is_alive()
    told = [record.examples for record in world.said(Joined)]
    assert shares == [0, 0] and told[-1] == len(seen) == world.said(Update)[-1].examples > told[0]
    assert {record.incarnation for record in world.said(Joined)} == {world.said(Update)[0].incarnation}


def test_heartbeats_tell_how_far_training_is(world: World) -> None:
    """While the engine trains, heartbeats say so, from a thread of their own."""
    released = threading.Event()
    world.during = lambda: void(released.wait(PATIENCE))
    thread, _ = start(world.job())
    beats = world.wait(Heartbeat, 3)
    released.set()
    world.wait(Update)
    world.append(lambda seq, prev, opened: Failed(federation=world.federation, seq=seq, prev=prev, detail="x"))
    thread.join(PATIENCE)
    assert (beats[-1].phase, beats[-1].base, beats[-1].progress) == ("training", 0, 0.5)
    assert world.said(Left)[0].version is None


def test_people_are_told_what_is_left_out(world: World) -> None:
    """The client joins with a sentence about the records that it cannot use."""
    world.log.append("stream", [Outgoing(b"no", key=sample(0).key)])
    thread, _ = start(world.job(topic="stream:0:0:11"))
    (joined,) = world.wait(Joined)
    world.append(lambda seq, prev, opened: Failed(federation=world.federation, seq=seq, prev=prev, detail="x"))
    thread.join(PATIENCE)
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
    thread.join(PATIENCE)
    assert world.engines[0].trained == [0, 1] and len(world.said(Update)) == 1


def test_a_stream_that_does_not_fit_ends_the_job_and_tells_why(world: World) -> None:
    """A misfit is told to the aggregator in a sentence, and the Job fails before an engine is built."""
    thread, raised = start(world.job(reshape="2 2"))
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and "data_reshape is [2, 2]" in str(raised[0])
    assert raised[0].for_good
    (failed,) = world.said(ClientFailed)
    assert "data_reshape is [2, 2]" in failed.detail
    assert world.engines == [] and world.said(Joined) == []


def test_a_loss_that_is_no_number_ends_the_job(world: World) -> None:
    """What the engine finds wrong in training reaches the aggregator."""

    def during() -> None:
        raise TrainingError("the loss became nan in epoch 1, batch 1; lower the learning rate")

    world.during = during
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good
    assert "loss became nan" in world.said(ClientFailed)[0].detail


def test_a_signal_makes_the_client_leave(world: World) -> None:
    """Whatever ends the Job from outside, the aggregator hears that the client left."""

    class Signal(BaseException):
        pass

    def during() -> None:
        raise Signal

    world.during = during
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], Signal)
    assert len(world.said(Left)) == 1 and world.said(ClientFailed) == []


def test_a_kafka_that_fails_once_costs_no_training(world: World) -> None:
    """After a failed append the Job begins anew with the outcome that it has, and joins again, as itself."""

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
    thread.join(PATIENCE)
    assert raised == [] and world.engines[0].trained == [0] and len(world.engines) == 1
    assert len(world.said(Joined)) == 2 and len({joined.incarnation for joined in world.said(Joined)}) == 1


def test_a_federation_that_never_opens_is_given_up(world: World) -> None:
    """Waiting for the model has an end, and a sentence."""
    world.log.delete_topics([topics.control_topic(world.federation)])
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good
    assert "FEDERATED_MODEL_ID" in str(raised[0]) and "does not exist" in str(raised[0])


class Away:
    """A Kafka that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise LogError("the broker is away")

    def close(self) -> None:
        """Nothing to free."""


def test_a_kafka_that_is_away_may_be_back_at_the_next_attempt(world: World) -> None:
    """Its absence is the one failure that another start may mend; of the stream's the federation is told."""
    for job, told in ((world.job(connect=Away), False), (world.job(data=Away), True)):
        thread, raised = start(job)
        thread.join(PATIENCE)
        assert isinstance(raised[0], JobFailed) and not raised[0].for_good
        assert "the broker is away" in str(raised[0])
        assert [failed.detail for failed in world.said(ClientFailed)] == [str(raised[0])] * told


def test_a_client_that_cannot_join_says_why(world: World) -> None:
    """Also where it is the federation's framework, before anything is read."""
    control = ControlTopic(world.log, world.federation)
    control.sync()
    assert control.head is not None
    opened = msgspec.structs.replace(control.head.opened, framework="torch")
    world.log.delete_topics([control.topic])
    world.log.create_topics(topics.federation_topics(world.federation))
    world.log.append(control.topic, [Outgoing(encode(opened))])
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good
    assert "framework is 'torch'" in world.said(ClientFailed)[0].detail and world.said(Joined) == []


def test_weights_that_are_gone_for_good_end_the_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka answers, but holds no more what the head names: after some looks the federation is told."""
    monkeypatch.setattr("federated_training.job.loop._PAUSE_SECONDS", 0.0)
    data = topics.data_topic(world.federation)
    world.log.delete_records(data, 0, world.log.bounds(data, 0)[1])
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good, raised
    assert world.said(ClientFailed)[0].detail == str(raised[0])


@pytest.mark.parametrize("how", ["deleted", "made anew", "topic"])
def test_announced_data_that_are_gone_are_told(world: World, how: str) -> None:
    """Not in the Job's log alone: the federation hears which topic it is and why, before the client ever joined."""
    known = {"stream": world.log.identify("stream").id}  # type: ignore[union-attr]
    if how == "deleted":
        world.log.delete_records("stream", 0, 3)
    else:
        world.log.delete_topics(["stream"])
        if how == "made anew":
            world.log.create_topics([topics.TopicSpec("stream", 1, {})])
    thread, raised = start(world.job(topic_ids=known))
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good
    (told,) = world.said(ClientFailed)
    assert told.detail == str(raised[0]) and "DATA_TOPIC" in told.detail and "stream" in told.detail
    assert world.said(Joined) == []


def test_a_job_from_which_another_one_took_over_ends_with_a_sentence(world: World) -> None:
    """The first commit that knows the other process ends this one, whatever it was doing."""

    def during() -> None:
        (mine,) = world.said(Joined)
        other = Member(client="c1", incarnation="other", joined=7, superseded=(mine.incarnation,))
        world.commit(1, TENSORS, [other])

    world.during = during
    thread, raised = start(world.job())
    thread.join(PATIENCE)
    assert isinstance(raised[0], JobFailed) and raised[0].for_good
    assert "another process has joined as c1 and taken over" in str(raised[0])
    assert world.said(ClientFailed)[0].detail == str(raised[0]) and world.said(Update) == []
