"""The Keras engine: a round is a pure function of base weights, data, settings and base sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from federated_training.data.dataset import Dataset, split
from federated_training.engines.engine import Engine, TrainingError, TrainingResult
from mainstem.aggregation.local import GradientHook, LocalStart
from mainstem.aggregation.strategies import make
from mainstem.protocol import updates
from mainstem.protocol.messages import Weights
from mainstem.protocol.weights import Tensor, digest
from tests.training.bench import Bench, samples

SPARSE = "sparse_categorical_crossentropy"
pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Ninety noisy samples of three classes."""
    return samples()


def _round(bench: Bench, engine: Engine, weights: Weights, data: Dataset, seq: int) -> tuple[str, list[Tensor]]:
    digest, trained = bench.round(engine, data, weights, seq)
    return digest, list(trained.tensors)


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
    bench.load(engine)
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


def test_a_schedule_would_start_anew_each_round() -> None:
    """An optimizer is made anew for each round, so that a schedule never gets beyond one: it is refused."""
    schedule = {"class_name": "ExponentialDecay", "module": "keras.optimizers.schedules", "registered_name": None,
                "config": {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5}}  # fmt: skip
    optimizer = {"class_name": "SGD", "config": {"learning_rate": schedule, "momentum": 0.9}}
    with pytest.raises(TrainingError, match="schedule ExponentialDecay, which would start anew in each round"):
        Bench(optimizer=optimizer).engine()


def test_gradients_collected_for_longer_than_a_round_are_an_error(data: Dataset) -> None:
    """Not one step would be applied: the round would return the weights that it was given."""
    bench = Bench(optimizer={"class_name": "SGD", "config": {"gradient_accumulation_steps": 9}})
    engine = bench.engine()
    with pytest.raises(TrainingError, match="gradient_accumulation_steps is 9, but a client of 63 training samples"):
        bench.round(engine, data)


def test_a_metric_without_a_value_is_left_out_and_marked() -> None:
    """The AUC of samples of one class is no 0; F1 comes by class, and a class that nobody has or finds has none."""
    metrics = ({"class_name": "AUC", "config": {"multi_label": True}}, "f1_score", "precision")
    bench = Bench(stateful=False, metrics=metrics, learning_rate=0.1)
    engine, everything = bench.engine(), samples()
    one = everything.training.y[:, 0] == 1
    only = split(everything.training.x[one], everything.training.y[one], validation_rate=0.2, test_rate=0, seed=1)
    _, trained = bench.round(engine, only)
    assert trained.training.undefined["auc"] == 1 and "auc" not in trained.training.values
    assert {"f1_score[0]", "loss"} <= set(trained.training.values)
    assert trained.validation is not None and trained.validation.undefined["auc"] == 1
    _, whole = bench.round(engine, everything)
    assert whole.training.undefined == {}
    assert {"auc", "precision", "f1_score[0]", "f1_score[1]", "f1_score[2]", "loss"} == set(whole.training.values)
    assert 0 < whole.training.values["auc"] < 1


@pytest.mark.parametrize(("loss", "sparse"), [("categorical_crossentropy", False), (SPARSE, True)])
def test_classes_weigh_as_keras_weighs_them(loss: str, *, sparse: bool) -> None:
    """The same bytes as Keras' own `fit(class_weight=...)` gives over the same batches, and repeatable."""
    import keras

    from federated_training.engines.keras import models
    from federated_training.engines.keras import training as keras_training
    from federated_training.engines.keras.engine import _Batches

    training: dict[str, Any] = {"loss": loss, "shuffle": False, "epochs": 1, "optimizer": "sgd", "metrics": ()}
    bench = Bench(stateful=False, class_weight={"0": 5.0, "2": 0.25}, **training)
    data = samples(sparse=sparse)
    engine = bench.engine()
    weighted, trained = bench.round(engine, data)
    assert bench.round(engine, data)[0] == weighted
    plain = Bench(stateful=False, **training)
    assert plain.round(plain.engine(), data)[0] != weighted
    local = models.build(bench.opened.architecture, seed=7)
    keras_training.compile_model(local, training)
    local.fit(_Batches(data.training, 16, 0, shuffle=False), class_weight={0: 5.0, 2: 0.25}, shuffle=False, verbose=0)
    ours = [np.asarray(tensor) for tensor in trained.tensors]
    assert all(np.array_equal(a, keras.ops.convert_to_numpy(b)) for a, b in zip(ours, local.weights, strict=True))


def test_what_an_operation_objects_to_is_told_with_its_layer(data: Dataset) -> None:
    """A label outside the classes: TensorFlow's sentence, not the first line of its stack."""
    bench = Bench(loss="sparse_categorical_crossentropy")
    engine = bench.engine()
    bench.load(engine)
    labels = np.full(len(data.training.x), 3.0, "float32")
    wrong = split(data.training.x, labels, validation_rate=0, test_rate=0, seed=1)
    with pytest.raises(TrainingError, match=r": indices\[\d+\] = 3 is not in \[0, 3\) \(in the loss\)$"):
        engine.train(wrong, 0, lambda share: None)


def test_a_loss_that_is_no_number_is_an_error(data: Dataset) -> None:
    """NaN ends training with the advice to lower the learning rate."""
    bench = Bench(optimizer="sgd")
    engine = bench.engine()
    bench.load(engine)
    huge = split(data.training.x * 1e35, data.training.y, validation_rate=0, test_rate=0, seed=1)
    with pytest.raises(TrainingError, match="learning rate"):
        engine.train(huge, 0, lambda share: None)


def test_strategies_change_gradients_as_numpy_says(data: Dataset) -> None:
    """FedProx, SCAFFOLD and rates by round: plain SGD on softmax, step by step in float64.

    Rounds with other constants and rates, without a hook and with it again do not touch one another.
    """
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "metrics": (), "shuffle": False}
    bench = Bench(stateful=False, **settings)
    first = updates.read(bench.log, "data", bench.start, bench.specs)
    start = [tensor.astype("float64") for tensor in first]
    server = [np.full(tensor.shape, 0.01 * number + 0.02, "float32") for number, tensor in enumerate(start)]
    client = [np.full(tensor.shape, 0.03, "float32") for tensor in start]
    where = LocalStart(0.1, first, {"scaffold_c": server}, {"scaffold_dc": client})
    prox, scaffold = make("fedprox", {"mu": 0.5}).asks, make("scaffold", {}).asks
    engine = bench.engine()

    def trained(hook: GradientHook | None, rate: float | None) -> TrainingResult:
        bench.load(engine)
        return engine.train(data, 0, lambda share: None, hook, rate)

    def by_numpy(mu: float, shift: Sequence[Any], rate: float) -> tuple[list[Any], list[Any]]:
        """The tensors, and the mean of all gradients as they were."""
        kernel, bias = (tensor.copy() for tensor in start)
        totals, steps = [np.zeros_like(kernel), np.zeros_like(bias)], 0
        for _ in range(2):
            for at in range(0, len(data.training), 16):
                x, y = data.training.x[at : at + 16].astype("float64"), data.training.y[at : at + 16]
                scores = np.exp(x @ kernel + bias)
                error = (scores / scores.sum(axis=1, keepdims=True) - y) / len(x)
                raw, steps = [x.T @ error, error.sum(axis=0)], steps + 1
                totals = [total + gradient for total, gradient in zip(totals, raw, strict=True)]
                kernel -= rate * (raw[0] + mu * (kernel - start[0]) + shift[0])
                bias -= rate * (raw[1] + mu * (bias - start[1]) + shift[1])
        return [kernel, bias], [total / steps for total in totals]

    none, plain = [0.0, 0.0], trained(None, None)
    between = [c - own for c, own in zip(server, client, strict=True)]
    for hook, rate, mu, shift in (
        (prox.hook(where), None, 0.5, none),
        (scaffold.hook(where), None, 0.0, between),
        (None, 0.02, 0.0, none),
        (None, None, 0.0, none),
        (prox.hook(where), 0.05, 0.5, none),
    ):
        found = trained(hook, rate)
        expected, mean = by_numpy(mu, shift, rate or 0.1)
        assert all(np.allclose(a, b, rtol=0, atol=2e-6) for a, b in zip(found.tensors, expected, strict=True))
        same = [np.array_equal(a, b) for a, b in zip(found.tensors, plain.tensors, strict=True)]
        assert same == [hook is None and rate is None] * 2
        if shift is between:  # c_i+ is the mean of the client's own gradients: what went up is that less c_i
            sent = scaffold.carried(where, found.tensors, found.steps)["scaffold_dc"]
            for change, gradient, own in zip(sent, mean, client, strict=True):
                np.testing.assert_allclose(change + own, gradient, atol=2e-5)


def test_a_hook_that_changes_nothing_gives_the_same_bytes(data: Dataset) -> None:
    """Also with dropout, batch normalization, moments, clipping and gradients that come as rows of an embedding; and so
    does the rate that the optimizer has anyway."""
    bench = Bench(optimizer={"class_name": "Adam", "config": {"clipnorm": 0.5}}, rows=True)
    engine = bench.engine()
    without = bench.round(engine, data)[0]
    bench.load(engine)
    engine.evaluate(data.held_out)
    idle = engine.train(data, 0, lambda share: None, GradientHook(lambda gradient, *_: gradient))
    assert digest(bench.specs, idle.tensors) == without
    bench.load(engine)
    engine.evaluate(data.held_out)
    at_its_own = engine.train(data, 0, lambda share: None, rate=0.001)
    assert digest(bench.specs, at_its_own.tensors) == without
