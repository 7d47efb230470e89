"""A federation in memory with a model of three classes, and one round of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from federated_training.data.dataset import Dataset, split
from federated_training.engines.engine import Engine, TrainingResult
from federated_training.engines.keras import runtime
from mainstem.jobs.compiling import SettingError, input_of
from mainstem.protocol import updates
from mainstem.protocol.messages import Data, InputSpec, Opened, Rules, StrategyChoice, Topics, Training, Weights
from mainstem.protocol.topics import TopicSpec
from mainstem.protocol.weights import Tensor, digest, specs_of
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog


def samples(*, sparse: bool = False) -> Dataset:
    """Ninety noisy samples of three classes, with one-hot labels or class numbers."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 90)
    x = (np.eye(3, 6)[labels] + random.normal(0, 0.2, (90, 6))).astype("float32")
    y = labels.astype("int32") if sparse else np.eye(3, dtype="float32")[labels]
    return split(x, y, validation_rate=0.2, test_rate=0.1, seed=1)


class Bench:
    """A federation of a small model; `stateful` has everything that could carry state from round to round, `rows` an
    embedding."""

    def __init__(self, *, stateful: bool = True, rows: bool = False, outputs: int = 3, **training: Any) -> None:
        runtime.prepare(Path("/nonexistent"))
        import keras

        from federated_training.engines.keras import models

        self.log = MemoryLog(SystemClock())
        self.log.create_topics([TopicSpec("data", 1, {})])
        within = [
            keras.layers.GaussianNoise(0.1), keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.3),
        ]  # fmt: skip
        if rows:  # an embedding of what is rounded: its gradients come as rows
            within[:0] = [
                keras.layers.Discretization([0.0, 0.5, 1.0]),
                keras.layers.Embedding(4, 2),
                keras.layers.Flatten(),
            ]
        head = keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
        model = models.build(
            keras.Sequential([keras.Input((6,)), *(within if stateful else []), head]).to_json(), seed=7
        )
        names = [tensor["name"] for tensor in models.tensors_of(model)]
        self.specs = specs_of(zip(names, models.weights_of(model), strict=True))
        self.tensors = models.weights_of(model)
        self.start = self.publish(self.tensors, "v0")
        try:
            wanted = input_of((6,), "float32", (outputs,), training.get("loss", "categorical_crossentropy"))
        except SettingError:  # an engine is to refuse that loss
            wanted = InputSpec(shape=(6,))
        self.opened = Opened(
            federation="abcdefgh", seq=0, prev="", name="t", framework="tf",
            architecture=models.describe(model)["architecture"], input=wanted,
            training=Training(**{"epochs": 2, "batch_size": 16, "seed": 3} | training), strategy=StrategyChoice(),
            rules=Rules(), data=Data(), topics=Topics(control="c", data="data", aggregator="a"), weights=self.start,
            tensors=self.specs,
        )  # fmt: skip

    def publish(self, tensors: list[Tensor], update: str) -> Weights:
        """Weights in the log."""
        return updates.publish(self.log, "data", writer="w", update=update, specs=self.specs, tensors=tensors)

    def engine(self) -> Engine:
        """A fresh engine."""
        from federated_training.engines.keras.engine import KafkaModelEngine

        return KafkaModelEngine(self.opened)

    def load(self, engine: Engine, weights: Weights | None = None) -> None:
        """Hand it the weights; without, version 0's."""
        engine.load(updates.read(self.log, "data", weights or self.start, self.specs))

    def round(
        self, engine: Engine, data: Dataset, weights: Weights | None = None, seq: int = 0
    ) -> tuple[str, TrainingResult]:
        """A round from the weights (version 0's without): the sha256 of what came out, and the outcome."""
        self.load(engine, weights)
        engine.evaluate(data.held_out)
        trained = engine.train(data, seq, lambda share: None)
        return digest(self.specs, trained.tensors), trained
