"""Run real protocol clients on federations, step by step, with any function in the place of training."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mainstem.protocol import topics
from mainstem.protocol.changes import read_version
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Round
from mainstem.protocol.weights import Tensor
from mainstem.swarm import PoolClient, TrainFunction, open_federation

__all__ = ["LightClient", "TrainFunction", "head_tensors", "open_federation", "reference_mean", "rounds_of"]


@dataclass
class LightClient(PoolClient):
    """A client with a reader of the control topic of its own; `step` does whatever is to be done now."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.control = ControlTopic(self.log, self.federation)

    def step(self, timeout: float = 0.0) -> bool:
        """One turn; False when the client has left."""
        entries = self.control.poll(timeout) if self.machine.head else self.control.sync()
        if self.control.head is not None and any(entry.link for entry in entries):
            self.follow(self.control.head)
        if self.gone:
            self.control.close()
        return not self.gone

    def run(self, leave: threading.Event) -> None:
        """Until the run ends or `leave` is set."""
        while not leave.is_set() and self.step(0.2):
            pass


def head_tensors(log: MessageLog, federation: str) -> list[Tensor]:
    """The tensors of the run's head."""
    control = ControlTopic(log, federation)
    control.sync()
    assert control.head is not None
    control.close()
    way = control.head.way(control.head.base.version)
    assert way is not None
    return read_version(log, topics.data_topic(federation), way, exchange(control.head.opened))


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
