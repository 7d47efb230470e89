"""A federation in memory with a model of three classes, and one round of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from federated_training import keras_runtime
from federated_training.dataset import Dataset, split
from federated_training.engine import Engine, Trained
from mainstem import updates
from mainstem.clock import SystemClock
from mainstem.memory_log import MemoryLog
from mainstem.messages import Data, InputSpec, Opened, Rules, Strategy, Topics, Training, Weights
from mainstem.topics import TopicSpec
from mainstem.weights import Tensor, digest, specs_of


def samples(*, sparse: bool = False) -> Dataset:
    """Ninety noisy samples of three classes, with one-hot labels or class numbers."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 90)
    x = (np.eye(3, 6)[labels] + random.normal(0, 0.2, (90, 6))).astype("float32")
    y = labels.astype("int32") if sparse else np.eye(3, dtype="float32")[labels]
    return split(x, y, validation_rate=0.2, test_rate=0.1, seed=1)


class Bench:
    """A federation of a small model; `stateful` has everything that could carry state from round to round."""

    def __init__(self, *, stateful: bool = True, outputs: int = 3, **training: Any) -> None:
        keras_runtime.prepare(Path("/nonexistent"))
        import keras

        from federated_training import keras_models

        self.log = MemoryLog(SystemClock())
        self.log.create_topics([TopicSpec("data", 1, {})])
        within = [
            keras.layers.GaussianNoise(0.1), keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.3),
        ]  # fmt: skip
        head = keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
        model = keras_models.build(
            keras.Sequential([keras.Input((6,)), *(within if stateful else []), head]).to_json(), seed=7
        )
        names = [tensor["name"] for tensor in keras_models.tensors_of(model)]
        self.specs = specs_of(zip(names, keras_models.weights_of(model), strict=True))
        self.start = self.publish(keras_models.weights_of(model), "v0")
        self.opened = Opened(
            federation="abcdefgh", seq=0, prev="", name="t", framework="tf",
            architecture=keras_models.describe(model)["architecture"], input=InputSpec(shape=(6,)),
            training=Training(**{"epochs": 2, "batch_size": 16, "seed": 3} | training), strategy=Strategy(),
            rules=Rules(), data=Data(), topics=Topics(control="c", data="data", aggregator="a"), weights=self.start,
        )  # fmt: skip

    def publish(self, tensors: list[Tensor], update: str) -> Weights:
        """Weights in the log."""
        return updates.publish(self.log, "data", writer="w", update=update, specs=self.specs, tensors=tensors)

    def engine(self) -> Engine:
        """A fresh engine."""
        from federated_training.KafkaModelEngine import KafkaModelEngine

        return KafkaModelEngine(lambda: self.log, self.opened)

    def round(self, engine: Engine, data: Dataset, weights: Weights | None = None, seq: int = 0) -> tuple[str, Trained]:
        """A round from the weights (version 0's without): the sha256 of what came out, and the outcome."""
        engine.receive(weights or self.start)
        engine.evaluate(data.held_out)
        trained = engine.train(data, seq, lambda share: None)
        return digest(self.specs, trained.tensors), trained
