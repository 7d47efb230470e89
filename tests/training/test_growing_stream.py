"""Labels that nothing explains: a model that learns them by heart must still be right by chance alone on the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from federated_training.data.dataset import split_by_place
from federated_training.engines.keras import runtime
from mainstem.protocol import updates
from mainstem.protocol.messages import Data, InputSpec, Opened, Rules, StrategyChoice, Topics, Training
from mainstem.protocol.topics import TopicSpec
from mainstem.protocol.weights import specs_of
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog

pytestmark = pytest.mark.training


def test_random_labels_on_a_growing_stream_report_chance() -> None:
    """Ten classes, five rounds, each with 100 samples more: training nears 1, what is held out stays near 0.1."""
    runtime.prepare(Path("/nonexistent"))
    import keras

    from federated_training.engines.keras import models
    from federated_training.engines.keras.engine import KafkaModelEngine

    layers = [keras.Input((32,)), keras.layers.Dense(256, activation="relu"), keras.layers.Dense(10, "softmax")]
    model = models.build(keras.Sequential(layers).to_json(), seed=7)
    names = [tensor["name"] for tensor in models.tensors_of(model)]
    tensors = list(models.weights_of(model))
    specs = specs_of(list(zip(names, tensors, strict=True)))
    log = MemoryLog(SystemClock())
    log.create_topics([TopicSpec("data", 1, {})])
    weights = updates.publish(log, "data", writer="w", update="v0", specs=specs, tensors=tensors)
    opened = Opened(
        federation="abcdefgh", seq=0, prev="", name="t", framework="tf", input=InputSpec(shape=(32,)),
        architecture=models.describe(model)["architecture"], strategy=StrategyChoice(), rules=Rules(), data=Data(),
        training=Training(epochs=10, batch_size=16, seed=3, learning_rate=0.01), weights=weights, tensors=specs,
        topics=Topics(control="c", data="data", aggregator="a"),
    )  # fmt: skip
    engine = KafkaModelEngine(opened)
    random = np.random.default_rng(1)
    x, labels = random.normal(0, 1, (500, 32)).astype("float32"), random.integers(0, 10, 500)
    y, places = np.eye(10, dtype="float32")[labels], [("site", 0, offset) for offset in range(500)]
    for number in range(1, 6):
        grown = slice(0, 100 * number)
        data = split_by_place(x[grown], y[grown], places[grown], validation_rate=0.2, test_rate=0.1, seed=1)
        engine.load(updates.read(log, "data", weights, specs))
        trained = engine.train(data, number, lambda _: None)
        weights = updates.publish(log, "data", writer="w", update=f"v{number}", specs=specs, tensors=trained.tensors)
    engine.load(updates.read(log, "data", weights, specs))
    held_out = engine.evaluate(data.held_out)
    assert trained.training.values["accuracy"] > 0.9 and held_out is not None
    assert held_out.examples > 120 and held_out.values["accuracy"] < 0.2
