"""Open federations and run real protocol clients on them, with any function in the place of training."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mainstem import topics, updates
from mainstem.client import ClientMachine, Evaluate, Evaluated, Followed, Join, Leave, Train, Trained, Upload, Uploaded
from mainstem.control import ControlTopic
from mainstem.messages import (
    Announcement,
    Data,
    InputSpec,
    Joined,
    Left,
    Metrics,
    Opened,
    Report,
    Round,
    Rules,
    Strategy,
    Topics,
    Training,
    Update,
    Weights,
    encode,
)
from mainstem.ports import MessageLog, Outgoing
from mainstem.weights import Tensor, specs_of

TrainFunction = Callable[[Sequence[Tensor], int], list[Tensor]]
"""(global tensors, base sequence) -> the client's tensors."""


def open_federation(
    log: MessageLog,
    tensors: Sequence[Tensor],
    rules: Rules,
    strategy: Strategy | None = None,
    aggregator_partitions: int = 1,
    federation: str | None = None,
    names: Sequence[str] | None = None,
) -> str:
    """Create the topics, publish version 0, append `opened`, announce; the federation's id."""
    federation = federation or topics.new_federation_id()
    log.create_topics(
        (*topics.shared_topics(), *topics.federation_topics(federation, aggregator_partitions=aggregator_partitions))
    )
    specs = specs_of(zip(names or [f"t{i}" for i in range(len(tensors))], tensors, strict=True))
    data = topics.data_topic(federation)
    weights = updates.publish(log, data, writer="opener", update="version-0", specs=specs, tensors=tensors)
    where = Topics(control=topics.control_topic(federation), data=data, aggregator=topics.aggregator_topic(federation))
    opened = Opened(
        federation=federation,
        seq=0,
        prev="",
        name="test",
        framework="tf",
        architecture="{}",
        input=InputSpec(shape=(1,)),
        training=Training(),
        strategy=strategy or Strategy(),
        rules=rules,
        data=Data(),
        topics=where,
        weights=weights,
    )
    log.append(where.control, [Outgoing(encode(opened))])
    announcement = Announcement(
        federation=federation,
        name="test",
        revision=1,
        framework="tf",
        input=opened.input,
        data=opened.data,
        min_clients=rules.min_clients,
        max_clients=rules.max_clients,
        topics=where,
    )
    log.append(topics.MODEL_CONTROL, [Outgoing(encode(announcement), key=federation.encode())])
    return federation


@dataclass
class LightClient:
    """A real protocol client around a function; `step` does whatever is to be done now."""

    log: MessageLog
    federation: str
    client: str
    train: TrainFunction
    examples: int = 1
    incarnation: str = "1"
    gone: bool = False
    uploads: int = 0
    seen: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machine = ClientMachine()
        self.control = ControlTopic(self.log, self.federation)
        self._trained: list[Tensor] = []

    def step(self, timeout: float = 0.0) -> bool:
        """One turn; False when the client has left."""
        entries = self.control.poll(timeout) if self.machine.head else self.control.sync()
        if self.control.head is not None and any(entry.link for entry in entries):
            self._act(self.machine.handle(Followed(self.control.head)))
        if self.gone:
            self.control.close()
        return not self.gone

    def run(self, leave: threading.Event) -> None:
        """Until the run ends or `leave` is set."""
        while not leave.is_set() and self.step(0.2):
            pass

    def _act(self, effects: Sequence[object]) -> None:
        for effect in effects:
            match effect:
                case Join():
                    joined = Joined(
                        federation=self.federation,
                        client=self.client,
                        incarnation=self.incarnation,
                        examples=self.examples,
                    )
                    self.send(joined)
                case Train():
                    tensors = updates.read(self.log, topics.data_topic(self.federation), effect.weights)
                    self._trained = self.train(tensors, effect.base.seq)
                    self._act(self.machine.handle(Trained(effect.base)))
                case Upload():
                    self.upload(effect, self._trained)
                    self._act(self.machine.handle(Uploaded(effect.base)))
                case Evaluate():
                    self._act(self.machine.handle(Evaluated(effect.version)))
                case Leave():
                    evaluation = None if effect.version is None else Metrics(examples=1, values={"loss": 0.0})
                    self.send(
                        Left(
                            client=self.client,
                            incarnation=self.incarnation,
                            version=effect.version,
                            evaluation=evaluation,
                        )
                    )
                    self.gone = True

    def upload(self, effect: Upload, tensors: Sequence[Tensor]) -> None:
        """Publish the update's chunks, then its manifest."""
        self.send(self.manifest(effect, self.chunks(tensors, f"{effect.base.seq}-{effect.number}-{self.incarnation}")))
        self.uploads += 1

    def chunks(self, tensors: Sequence[Tensor], update: str) -> Weights:
        """Publish only the chunks."""
        topic = topics.aggregator_topic(self.federation)
        assert self.machine.head is not None
        return updates.publish(
            self.log,
            topic,
            writer=self.client,
            update=update,
            specs=self.machine.head.opened.weights.tensors,
            tensors=tensors,
            partition=updates.chunk_partition(self.client, self.log.partitions(topic)),
        )

    def manifest(self, effect: Upload, weights: Weights) -> Update:
        """The manifest of an update from `effect.base`."""
        return Update(
            client=self.client,
            incarnation=self.incarnation,
            base=effect.base,
            number=effect.number,
            examples=self.examples,
            weights=weights,
            report=Report(),
        )

    def send(self, record: object) -> int:
        """Append a deciding record; its offset."""
        value = record if isinstance(record, bytes) else encode(record)  # type: ignore[arg-type]
        return self.log.append(topics.aggregator_topic(self.federation), [Outgoing(value)])[0]


def head_tensors(log: MessageLog, federation: str) -> list[Tensor]:
    """The tensors of the run's head."""
    control = ControlTopic(log, federation)
    control.sync()
    assert control.head is not None
    tensors = updates.read(log, topics.data_topic(federation), control.head.weights)
    control.close()
    return tensors


def rounds_of(log: MessageLog, federation: str) -> list[Round]:
    """The committed rounds, in order."""
    control = ControlTopic(log, federation)
    entries = control.sync()
    control.close()
    return [e.record for e in entries if e.link is not None and isinstance(e.record, Round)]


def reference_mean(values: Sequence[Tensor], examples: Sequence[int]) -> Tensor:
    """The example-weighted mean by NumPy in float64."""
    stacked = np.stack([v.astype(np.float64) for v in values])
    return np.average(stacked, axis=0, weights=np.asarray(examples, np.float64))
