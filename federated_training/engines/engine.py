"""What the Job asks of a training engine; `KafkaModelEngine` is the one with Keras, tests have a light one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from federated_training.data.dataset import Array, Dataset, LabelledSamples
from mainstem.aggregation.local import GradientHook
from mainstem.errors import MainstemError
from mainstem.protocol.messages import InputSpec, Metrics, TensorSpec
from mainstem.protocol.weights import Tensor

Progress = Callable[[float], None]
"""Called with the share of a round's training that is done, 0..1."""


class TrainingError(MainstemError):
    """Training or evaluating went wrong in a way that trying again will not mend; the sentence says how."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A round's outcome: the tensors in the model's order, after so many steps of the optimizer, and what was
    measured."""

    tensors: Sequence[Tensor]
    steps: int
    training: Metrics
    validation: Metrics | None
    seconds: float


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A site's own model: its Keras JSON, the specs of its tensors in order, and these before any training; what it
    takes, and the labels that the run's loss compares its output with."""

    architecture: str
    specs: Sequence[TensorSpec]
    tensors: Sequence[Tensor]
    input: InputSpec


class Engine(Protocol):
    """Holds one model; knows no Kafka. Used by one thread."""

    @property
    def sample_dtype(self) -> str:
        """The type that the model's first layers compute with: every value of a sample must survive in it."""
        ...

    def unfit(self, x: Array) -> list[tuple[int, str]]:
        """(number, reason) of the samples (n, *input shape) with a value that a layer of the model does not take."""
        ...

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Take these weights, of the shapes and dtypes of `opened`."""
        ...

    def train(
        self,
        data: Dataset,
        base_seq: int,
        progress: Progress,
        hook: GradientHook | None = None,
        rate: float | None = None,
    ) -> TrainingResult:
        """Train from the loaded weights, as a pure function of them, the data, the settings and what is given.

        `rate` is the round's learning rate; None: the optimizer's own. Raises TrainingError.
        """
        ...

    def evaluate(self, part: LabelledSamples, *, weighted: bool = False) -> Metrics | None:
        """Measure the loaded weights; None without samples. `weighted`: samples count as in training.

        Raises TrainingError.
        """
        ...
