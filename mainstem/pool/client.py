"""One protocol client around a function: the Job's state machine, without data and without an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from mainstem import topics, updates
from mainstem.chain import Head
from mainstem.client import (
    ClientMachine,
    Effect,
    Evaluate,
    Evaluated,
    Followed,
    Join,
    Leave,
    Train,
    Trained,
    Upload,
    Uploaded,
    superseded,
)
from mainstem.messages import Joined, Left, Metrics, Report, Update, Weights, encode
from mainstem.ports import MessageLog, Outgoing, Source
from mainstem.weights import Tensor

TrainFunction = Callable[[Sequence[Tensor], int], list[Tensor]]
"""(global tensors, base sequence) -> the client's tensors."""


@dataclass
class PoolClient:
    """A client of one federation; whoever reads the control topic tells it of each new head by `follow`.

    `reader` is the source through which it downloads weights (default: `log`). `seen` has, for each version that it
    trained from or evaluated, the wall time in seconds at which it had the tensors.
    """

    log: MessageLog
    federation: str
    client: str
    train: TrainFunction
    examples: int = 1
    incarnation: str = "1"
    reader: Source | None = None
    gone: bool = False
    uploads: int = 0
    seen: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machine = ClientMachine(self.client)
        self._trained: list[Tensor] = []

    def follow(self, head: Head) -> bool:
        """Do what a new head asks for, to the end; False when the client has left, or another one in its place.

        Raises LogError.
        """
        if not head.ended and superseded(head, self.client, self.incarnation):
            self.gone = True
            return False
        self._act(self.machine.handle(Followed(head)))
        return not self.gone

    def _act(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Join():
                    self.send(
                        Joined(
                            federation=self.federation,
                            client=self.client,
                            incarnation=self.incarnation,
                            examples=self.examples,
                        )
                    )
                case Train():
                    self._trained = self.train(self._download(effect.weights, effect.base.version), effect.base.seq)
                    self._act(self.machine.handle(Trained(effect.base)))
                case Upload():
                    trained, self._trained = self._trained, []
                    self.upload(effect, trained)
                    self._act(self.machine.handle(Uploaded(effect.base)))
                case Evaluate():
                    self._download(effect.weights, effect.version)
                    self._act(self.machine.handle(Evaluated(effect.version)))
                case Leave():
                    self._leave(effect.version)

    def _download(self, weights: Weights, version: int) -> list[Tensor]:
        tensors = updates.read(self.reader or self.log, topics.data_topic(self.federation), weights, written=True)
        self.seen[version] = time.time()
        return tensors

    def _leave(self, version: int | None) -> None:
        evaluation = None if version is None else Metrics(examples=1, values={"loss": 0.0})
        self.send(Left(client=self.client, incarnation=self.incarnation, version=version, evaluation=evaluation))
        self.gone = True

    # ------------------------------------------------------------ what it writes
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

    def send(self, record: msgspec.Struct | bytes) -> int:
        """Append a deciding record; its offset."""
        value = record if isinstance(record, bytes) else encode(record)
        return self.log.append(topics.aggregator_topic(self.federation), [Outgoing(value)])[0]
