"""What the Job asks of a training engine; `KafkaModelEngine` is the one with Keras, tests have a light one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from federated_training.dataset import Array, Dataset, Part
from mainstem.errors import MainstemError
from mainstem.messages import Metrics, Weights
from mainstem.weights import Tensor

Progress = Callable[[float], None]
"""Called with the share of a round's training that is done, 0..1."""


class TrainingError(MainstemError):
    """Training or evaluating went wrong in a way that trying again will not mend; the sentence says how."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A round's outcome: the tensors in the model's order, and what was measured."""

    tensors: Sequence[Tensor]
    training: Metrics
    validation: Metrics | None
    seconds: float


class Engine(Protocol):
    """Holds one model. Used by one thread."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the model's output for one sample."""
        ...

    @property
    def sample_dtype(self) -> str:
        """The type that the model's first layers compute with: every value of a sample must survive in it."""
        ...

    def unfit(self, x: Array) -> list[tuple[int, str]]:
        """(number, reason) of the samples (n, *input shape) with a value that a layer of the model does not take."""
        ...

    def receive(self, weights: Weights) -> None:
        """Read the global weights that a manifest names, and load them; raises RefusedError, LogError."""
        ...

    def train(self, data: Dataset, base_seq: int, progress: Progress) -> Trained:
        """Train from the received weights, as a pure function of them, the data, the settings and `base_seq`.

        Raises TrainingError.
        """
        ...

    def evaluate(self, part: Part) -> Metrics | None:
        """Measure the received weights; None without samples. Raises TrainingError."""
        ...
