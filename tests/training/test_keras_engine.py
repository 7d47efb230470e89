"""The Keras engine: a round is a pure function of base weights, data, settings and base sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated_training import keras_runtime
from federated_training.dataset import Dataset, split
from federated_training.engine import Engine, TrainingError
from mainstem import updates
from mainstem.clock import SystemClock
from mainstem.memory_log import MemoryLog
from mainstem.messages import Data, InputSpec, Opened, Rules, Strategy, Topics, Training, Weights
from mainstem.topics import TopicSpec
from mainstem.weights import Tensor, digest, specs_of

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Ninety noisy samples of three classes."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 90)
    x = (np.eye(3, 6)[labels] + random.normal(0, 0.2, (90, 6))).astype("float32")
    return split(x, np.eye(3, dtype="float32")[labels], validation_rate=0.2, test_rate=0.1, seed=1)


class Bench:
    """A federation in memory whose model has everything that could carry state from round to round."""

    def __init__(self, **training: Any) -> None:
        keras_runtime.prepare(Path("/nonexistent"))
        import keras

        from federated_training import keras_models

        self.log = MemoryLog(SystemClock())
        self.log.create_topics([TopicSpec("data", 1, {})])
        layers = [
            keras.Input((6,)), keras.layers.GaussianNoise(0.1), keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(3, activation="softmax"),
        ]  # fmt: skip
        model = keras_models.build(keras.Sequential(layers).to_json(), seed=7)
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


def _round(bench: Bench, engine: Engine, weights: Weights, data: Dataset, seq: int) -> tuple[str, list[Tensor]]:
    engine.receive(weights)
    engine.evaluate(data.held_out)
    trained = engine.train(data, seq, lambda share: None)
    return digest(bench.specs, trained.tensors), list(trained.tensors)


def test_a_round_depends_on_nothing_that_came_before_it(data: Dataset) -> None:
    """The same engine twice, a fresh one, and one that skipped the first round all give the same bytes."""
    bench = Bench()
    one, two, three = bench.engine(), bench.engine(), bench.engine()
    first, tensors = _round(bench, one, bench.start, data, 0)
    assert _round(bench, one, bench.start, data, 0)[0] == first
    assert _round(bench, two, bench.start, data, 0)[0] == first
    middle = bench.publish(tensors, "v1")
    second, _ = _round(bench, one, middle, data, 1)
    assert _round(bench, three, middle, data, 1)[0] == second
    assert len({first, second, _round(bench, one, bench.start, data, 1)[0]}) == 3


def test_training_and_validation_are_measured_and_progress_is_told(data: Dataset) -> None:
    """Metrics carry their number of examples; progress ends at one."""
    engine = Bench(epochs=30, learning_rate=0.02).engine()
    bench = Bench()
    shares: list[float] = []
    engine.receive(bench.start)
    before = engine.evaluate(data.held_out)
    trained = engine.train(data, 0, shares.append)
    after = engine.evaluate(data.held_out)
    assert trained.validation is not None and before is not None and after is not None
    assert (trained.training.examples, trained.validation.examples, before.examples) == (63, 18, 27)
    assert set(trained.training.values) == set(before.values) == {"loss", "accuracy"}
    assert after.values["loss"] < before.values["loss"]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert engine.evaluate(split(data.test.x, data.test.y, validation_rate=0, test_rate=0, seed=1).test) is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optimizer": "magic"}, "optimizer"),
        ({"optimizer": {"class_name": "SGD", "config": {"momentum": "much"}}}, "optimizer"),
        ({"loss": "nope"}, "loss"),
        ({"metrics": ("nope",)}, "metrics"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_settings_that_keras_cannot_use_are_named(settings: dict[str, Any], says: str) -> None:
    """The federation's settings are compiled in safe mode; what does not work is named."""
    with pytest.raises(TrainingError, match=says):
        Bench(**settings).engine()


def test_optimizers_may_be_configs_with_schedules(data: Dataset) -> None:
    """A Keras config with a learning rate schedule trains, and repeats."""
    schedule = {"class_name": "ExponentialDecay", "module": "keras.optimizers.schedules", "registered_name": None,
                "config": {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5}}  # fmt: skip
    bench = Bench(optimizer={"class_name": "SGD", "config": {"learning_rate": schedule, "momentum": 0.9}})
    engine = bench.engine()
    assert _round(bench, engine, bench.start, data, 0)[0] == _round(bench, engine, bench.start, data, 0)[0]


def test_what_an_operation_objects_to_is_told_with_its_layer(data: Dataset) -> None:
    """A label outside the classes: TensorFlow's sentence, not the first line of its stack."""
    bench = Bench(loss="sparse_categorical_crossentropy")
    engine = bench.engine()
    engine.receive(bench.start)
    labels = np.full(len(data.training.x), 3.0, "float32")
    wrong = split(data.training.x, labels, validation_rate=0, test_rate=0, seed=1)
    with pytest.raises(TrainingError, match=r": indices\[\d+\] = 3 is not in \[0, 3\) \(in the loss\)$"):
        engine.train(wrong, 0, lambda share: None)


def test_a_loss_that_is_no_number_is_an_error(data: Dataset) -> None:
    """NaN ends training with the advice to lower the learning rate."""
    bench = Bench(optimizer="sgd")
    engine = bench.engine()
    engine.receive(bench.start)
    huge = split(data.training.x * 1e35, data.training.y, validation_rate=0, test_rate=0, seed=1)
    with pytest.raises(TrainingError, match="learning rate"):
        engine.train(huge, 0, lambda share: None)
