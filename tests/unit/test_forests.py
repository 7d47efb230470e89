"""Forests as tables: what is sound, what they answer, and XGBoost's own word for all of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federated_training.data.dataset import Dataset, LabelledSamples, split
from federated_training.engines.engine import TrainingError
from federated_training.engines.forest.engine import ForestEngine
from mainstem.errors import ConfigError, RefusedError
from mainstem.jobs import forests
from mainstem.protocol import forests as tables
from mainstem.protocol.messages import LearningRateSchedule, Opened, Rules
from mainstem.protocol.weights import Tensor
from tests.support.trees import drawn, opened_forest

PARAMS: dict[str, dict[str, Any]] = {
    forests.TWO: {"depth": 3},
    forests.SEVERAL: {"depth": 2, "classes": 3},
    forests.NUMBER: {"depth": 3, "start": 0.25},
}


def params_for(objective: str, **more: Any) -> forests.ForestParams:
    """A forest of five features."""
    given = {"features": 5, "objective": objective, "trees": 120, **PARAMS[objective], **more}
    return forests.checked_params(given)


def samples(objective: str, count: int = 200, seed: int = 0) -> LabelledSamples:
    """Samples whose labels the first three features decide."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 5)).astype(np.float32)
    classes = (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 0)
    if objective == forests.SEVERAL:
        return LabelledSamples(x, classes.astype(np.int32))
    y = x[:, 0] - np.abs(x[:, 1]) if objective == forests.NUMBER else classes > 0
    return LabelledSamples(x, y.astype(np.float32).reshape(-1, 1))


def data_of(objective: str, count: int = 200) -> Dataset:
    """The same, a fifth of it to validate."""
    part = samples(objective, count)
    return split(part.x, part.y, validation_rate=0.2, test_rate=0, seed=1)


def opened_for(params: forests.ForestParams, **training: Any) -> Opened:
    """The record that opens a run of it."""
    made = forests.training_of(params, training, LearningRateSchedule())
    return opened_forest(params, made)


def grown(params: forests.ForestParams, data: Dataset, rounds: int, **training: Any) -> list[Tensor]:
    """One site's forest after so many rounds."""
    engine, forest = ForestEngine(opened_for(params, **training)), tables.empty(params.trees, params.depth)
    for base in range(rounds):
        engine.load(forest)
        made = engine.train(data, base, lambda share: None)
        forest = [tensor.copy() for tensor in forest]
        assert tables.grow(forest, made.tensors[1:], 1.0)
    return forest


def booster_of(params: forests.ForestParams, forest: Sequence[Tensor], path: Path) -> xgboost.Booster:
    """XGBoost with the JSON of a forest."""
    path.write_text(json.dumps(forests.xgboost_model(params, forest)))
    booster = xgboost.Booster()
    booster.load_model(path)
    return booster


def wide(found: Any) -> Any:
    """(n, width) of what XGBoost gives."""
    return found.reshape(len(found), -1)


@pytest.mark.parametrize("objective", PARAMS)
def test_one_site_alone_is_plain_xgboost(objective: str, tmp_path: Path) -> None:
    """Round by round from tables, it comes to what XGBoost makes in one go; its JSON answers the same bits."""
    params, data = params_for(objective, trees_a_round=2), data_of(objective)
    forest = grown(params, data, 4)
    x = samples(objective, 300, seed=2).x
    booster = booster_of(params, forest, tmp_path / "model.json")
    mine = forests.margins(params, forest, x)
    np.testing.assert_array_equal(wide(booster.predict(xgboost.DMatrix(x), output_margin=True)), mine)
    np.testing.assert_allclose(wide(booster.predict(xgboost.DMatrix(x))), forests.outputs(params, mine), atol=1e-6)
    asked = {"objective": objective, "max_depth": params.depth, "eta": params.rate, "tree_method": "hist", "nthread": 1}
    asked |= {"num_class": 3} if objective == forests.SEVERAL else {}
    asked |= {"base_score": 0.25 if objective == forests.NUMBER else 0.5}
    part = data.training
    plain = xgboost.train(asked, xgboost.DMatrix(part.x, part.y.reshape(-1)), num_boost_round=8)
    np.testing.assert_allclose(wide(plain.predict(xgboost.DMatrix(x))), forests.outputs(params, mine), atol=2e-6)


@pytest.mark.parametrize("objective", PARAMS)
def test_training_is_a_function_and_lowers_the_loss(objective: str) -> None:
    """The same bits again, also of an engine that has come to the version another way; less loss by each round."""
    params, data = params_for(objective), data_of(objective)
    forest, losses = tables.empty(params.trees, params.depth), []
    steady = ForestEngine(opened_for(params))
    for base in range(3):
        steady.load(forest)
        one = steady.train(data, base, lambda share: None)
        fresh = ForestEngine(opened_for(params))
        fresh.load(forest)
        again = fresh.train(data, base, lambda share: None)
        assert all(np.array_equal(a, b) for a, b in zip(one.tensors, again.tensors, strict=True))
        assert one.training == again.training and one.validation == again.validation
        losses.append(one.training.values["loss"])
        forest = [tensor.copy() for tensor in forest]
        tables.grow(forest, one.tensors[1:], 1.0)
        steady.load(forest)
        held = steady.evaluate(data.held_out)
        assert held is not None and one.validation is not None
        assert held.values["loss"] == pytest.approx(one.validation.values["loss"], rel=1e-6)
    assert losses == sorted(losses, reverse=True)


def test_a_rollback_forgets_the_sums_of_other_trees() -> None:
    """An engine that goes back to fewer trees, and then to others, measures what a new one measures."""
    params, data = params_for(forests.TWO), data_of(forests.TWO)
    engine = ForestEngine(opened_for(params))
    first, other = grown(params, data, 3), grown(params, data, 3, learning_rate=0.1)
    short = [np.array([1]), first[1].copy(), first[2].copy()]
    short[1][1:], short[2][1:] = 0, 0
    for forest in (first, short, other, first):
        fresh = ForestEngine(opened_for(params))
        for each in (engine, fresh):
            each.load(forest)
        assert engine.evaluate(data.training) == fresh.evaluate(data.training)


def test_class_weights_and_the_rate_of_the_round() -> None:
    """What weighs nothing is not learned; half the rate, half the leaf."""
    params, data = params_for(forests.TWO), data_of(forests.TWO)
    forest = grown(params, data, 8, class_weight={"0": 0})
    shares = forests.outputs(params, forests.margins(params, forest, data.training.x))
    assert shares.min() > 0.5
    engine = ForestEngine(opened_for(params))
    engine.load(tables.empty(params.trees, params.depth))
    whole, half = (engine.train(data, 0, lambda share: None, rate=rate).tensors for rate in (0.5, 0.25))
    np.testing.assert_allclose(np.where(whole[1] > 0, 1, whole[2]) / 2, np.where(half[1] > 0, 0.5, half[2]), rtol=1e-6)


def test_an_engine_refuses_what_is_not_its_forest() -> None:
    """Another architecture, another shape, tables that are not sound: XGBoost sees none of it."""
    params = params_for(forests.TWO)
    opened = opened_for(params)
    for wrong, why in (
        ({"architecture": "{}"}, "architecture is not that of a forest"),
        ({"architecture": forests.architecture_of(params_for(forests.TWO, depth=4))}, "not those of its forest"),
        ({"forest": None}, "not those of its forest"),
    ):
        with pytest.raises(TrainingError, match=why):
            ForestEngine(msgspec.structs.replace(opened, **wrong))
    engine = ForestEngine(opened)
    for place, number in ((1, 99), (0, 1000), (0, -1)):
        forest = tables.empty(params.trees, params.depth)
        forest[place].reshape(-1)[0] = number
        with pytest.raises(TrainingError, match="the version cannot be used: its trees are not sound"):
            engine.load(forest)
    assert engine.unfit(np.array([[1, 2], [np.nan, 1], [0, np.inf]])) == [
        (1, "feature 0 is NaN or infinite"),
        (2, "feature 1 is NaN or infinite"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_every_tree_is_one_table_and_back(seed: int, depth: int, rows: int, features: int) -> None:
    """A sound table is taken, goes to XGBoost's JSON and back, and answers what a walk node by node answers."""
    random = np.random.default_rng(seed)
    feature, value = drawn(random, rows, depth, features)
    tables.check_trees(feature, value, features)
    params = forests.checked_params({"features": features, "depth": depth, "trees": 10})
    forest = tables.empty(10, depth)
    assert tables.grow(forest, [feature, value], 1.0)
    tables.check_forest(forest, features)
    back = forests.rows_in(forests.xgboost_model(params, forest), depth)
    np.testing.assert_array_equal(back[0], feature)
    np.testing.assert_array_equal(back[1], value)
    x = random.normal(size=(7, features)).astype(np.float32)
    np.testing.assert_array_equal(forests.margins(params, forest, x)[:, 0], [walked(feature, value, one) for one in x])
    half = [tensor.copy() for tensor in forest]
    assert tables.grow(half, [feature, value], 0.5) is (rows <= 5)


def walked(feature: Tensor, value: Tensor, x: Tensor) -> np.float32:
    """The sum of the leaves that one sample comes to."""
    total = np.float32(0)
    for row in range(len(feature)):
        place = 0
        while feature[row, place]:
            place = 2 * place + (1 if x[feature[row, place] - 1] < value[row, place] else 2)
        total += value[row, place]
    return total


@settings(max_examples=80, deadline=None)
@given(
    arrays(np.int32, (2, 7), elements=st.integers(-2, 5) | st.integers(-(2**31), 2**31 - 1)),
    arrays(np.float32, (2, 7), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
)
def test_any_bytes_are_sound_or_refused(feature: Tensor, value: Tensor) -> None:
    """What is taken can be walked by any sample, and be made XGBoost's JSON: nothing lies outside of the tables."""
    try:
        tables.check_trees(feature, value, 3)
    except RefusedError:
        return
    params = forests.checked_params({"features": 3, "depth": 2, "trees": 2})
    forest = [np.array([2]), feature, value]
    assert np.isfinite(forests.margins(params, forest, np.zeros((3, 3), np.float32))).all()
    made = forests.xgboost_model(params, forest)["learner"]["gradient_booster"]["model"]["trees"]
    for tree in made:
        assert all(child < len(tree["parents"]) for child in (*tree["left_children"], *tree["right_children"]))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "features is missing"),
    ({"features": 0}, "features is 0; it must be a whole number from 1 to 100000"),
    ({"features": 3, "depth": 11}, "depth is 11"),
    ({"features": 3, "rate": 0}, "rate is 0"),
    ({"features": 3, "objective": "rank:pairwise"}, "objective is 'rank:pairwise'; it must be one of binary:logistic"),
    ({"features": 3, "classes": 3}, "classes must be left out with binary:logistic"),
    ({"features": 3, "start": 1.0}, "start must be left out with binary:logistic"),
    ({"features": 3, "trees": 2, "trees_a_round": 3}, "trees must be at least 3"),
    ({"features": 3, "trees": 1_000_000, "depth": 10}, "trees must be fewer, or depth smaller"),
    ({"features": 3, "leaves": 3}, "leaves is not a parameter of a forest; there are features, objective"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_parameters_that_cannot_be(number: int) -> None:
    """Each with its field in front."""
    given, why = WRONG[number]
    with pytest.raises(ConfigError, match=f"^{why}"):
        forests.checked_params(given)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"optimizer": "adam", "epochs": 3}, "epochs must be left out"),
        ({"optimizer": "sgd"}, "optimizer must be left out"),
        ({"metrics": ["mae"]}, "metrics must be left out"),
        ({"shuffle": False}, "shuffle must be left out"),
        ({"learning_rate": 2}, "learning_rate is 2"),
        ({"class_weight": {"2": 1}}, "class_weight has '2'"),
        ({"class_weight": {"1": -1}}, "class_weight of class 1"),
        ({"class_weight": {"0": 0, "1": 0}}, "class_weight must not be 0"),
    ],
)
def test_training_settings_that_mean_nothing_to_trees(asked: dict[str, Any], why: str) -> None:
    """Refused, and not left out in silence."""
    with pytest.raises(ConfigError, match=f"^{why}"):
        forests.training_of(params_for(forests.TWO), asked, LearningRateSchedule())


def test_a_forest_has_room_for_its_run() -> None:
    """Or says how many clients it has room for."""
    params = params_for(forests.SEVERAL)
    forests.check_capacity(params, Rules(rounds=10, max_clients=4))
    with pytest.raises(ConfigError, match="150 trees, and the forest has room for 120; take max_clients of up to 4"):
        forests.check_capacity(params, Rules(rounds=10, max_clients=5))
    assert forests.room_for(params, Rules(rounds=10)) == 4
