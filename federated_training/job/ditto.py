"""A site's own model beside the federation's: Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning
Through Personalization", ICML 2021 (arXiv:2012.04221), algorithm 1.

In each round the site also trains its own model v by the gradient of its loss plus lambda (v - w), where w is the
version that it was given. v begins as the first version that the site trains from, and never leaves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from federated_training.data.dataset import Dataset, LabelledSamples
from federated_training.engines.engine import Engine, Progress, TrainingResult
from mainstem.aggregation.local import GradientHook
from mainstem.client.keep import State
from mainstem.protocol.messages import Metrics
from mainstem.protocol.weights import Tensor

DITTO: Final = "ditto"
"""By this name a client keeps its own model."""


class Ditto:
    """A site's own model, in an engine of its own: so nothing is compiled anew between it and the federation's."""

    def __init__(self, engine: Engine, strength: float) -> None:
        """`strength` is lambda; the engine's run keeps none of its floats from training."""

        def drawn(gradient: Any, weight: Any, start: Any, constant: Any) -> Any:
            return gradient + strength * (weight - constant)

        self._engine, self._drawn = engine, drawn
        self._toward: Sequence[Tensor] = ()

    def begin(self, version: Sequence[Tensor], kept: State) -> None:
        """Take the version that it is drawn to, and the model that was kept."""
        self._toward = version
        self._engine.load(kept.get(DITTO, version))

    def evaluate(self, part: LabelledSamples) -> Metrics | None:
        """Measure it."""
        return self._engine.evaluate(part)

    def train(self, data: Dataset, base_seq: int, progress: Progress, rate: float | None = None) -> TrainingResult:
        """Train it, from where it was, in the settings of the federation's."""
        toward = [tensor for tensor in self._toward if tensor.dtype.kind == "f"]
        return self._engine.train(data, base_seq, progress, GradientHook(self._drawn, toward), rate)
