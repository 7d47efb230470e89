"""Training settings as data: whatever is given becomes one of Keras' classes, or a sentence that names the field."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federated_training.data.dataset import sample_weights
from mainstem.jobs.compiling import (
    LOSS,
    METRIC,
    OPTIMIZER,
    SettingError,
    check_class_weight,
    check_metrics,
    check_optimizer,
    check_training,
    input_of,
    parse,
)
from mainstem.jobs.compiling.bounds import ARGUMENTS
from mainstem.jobs.compiling.specs import names
from mainstem.protocol.messages import InputSpec

SPARSE = "sparse_categorical_crossentropy"
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
configs = st.dictionaries(
    st.sampled_from(sorted(ARGUMENTS)) | st.text(max_size=5), scalars | st.lists(scalars), max_size=3
)
kinds = st.sampled_from([LOSS, METRIC, OPTIMIZER])
specs = kinds.flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        scalars
        | st.fixed_dictionaries({"class_name": st.sampled_from(names(kind)) | st.text(max_size=5), "config": configs}),
    )
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(specs)
def test_anything_is_a_class_or_a_sentence(asked: tuple[str, Any]) -> None:
    """And what is taken is stored, and read back the same."""
    kind, spec = asked
    caught: SettingError | None = None
    try:
        found = parse(kind, spec)
    except SettingError as error:
        caught = error
    if caught is not None:
        assert caught.message.endswith(".") and caught.field
    else:
        assert parse(kind, json.loads(json.dumps(found.plain()))) == found


@pytest.mark.parametrize(
    ("kind", "names_"),
    [
        (LOSS, {"huber": "Huber", "huber_loss": "Huber", "mse": "MeanSquaredError", "kl_divergence": "KLDivergence",
                "LogCosh": "LogCosh", "log_cosh": "LogCosh", "MSE": "MeanSquaredError"}),
        (METRIC, {"logcosh": "LogCoshError", "LogCoshError": "LogCoshError", "auc": "AUC", "mae": "MeanAbsoluteError",
                  "acc": "accuracy", "Accuracy": "Accuracy", "BinaryIoU": "BinaryIoU"}),
        (OPTIMIZER, {"adam": "Adam", "RMSprop": "RMSprop", "rmsprop": "RMSprop", "adam_w": "AdamW"}),
    ],
)  # fmt: skip
def test_names_in_any_spelling(kind: str, names_: dict[str, str]) -> None:
    """Keras' class names, its snake names and its short ones."""
    assert {name: parse(kind, name).name for name in names_} == names_


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        (0, "above 0"), (-1, "above 0"), (1e6, "below 1,000,000"), (math.nan, "must be a number"), (True, "a number"),
        (1e-50, "which is 0 in float32"),
    ],
)  # fmt: skip
def test_learning_rates(rate: float, says: str) -> None:
    """Above 0, also for float32, and below a million; in its own field or in the optimizer's arguments."""
    with pytest.raises(SettingError, match=says) as caught:
        check_optimizer("sgd", rate)
    assert caught.value.field == "learning_rate"
    with pytest.raises(SettingError, match=says) as caught:
        check_optimizer({"class_name": "SGD", "config": {"learning_rate": rate}})
    assert caught.value.field == "optimizer"
    assert check_optimizer("sgd", 0.1).config == {"learning_rate": 0.1}


def test_custom_code_and_names_that_would_be_confused() -> None:
    """A class of that name from elsewhere is not Keras'; two metrics need two names, and none is the loss'."""
    for spec in (
        {"class_name": "Huber", "module": "__main__", "registered_name": "Huber", "config": {}},
        {"class_name": "function", "module": "builtins", "config": "huber", "registered_name": "function"},
        {"class_name": "Huber", "registered_name": "Mine>Huber", "config": {}},
    ):
        with pytest.raises(SettingError, match="is custom code"):
            parse(LOSS, spec)
    for metrics in (["mae", "MeanAbsoluteError"], [{"class_name": "AUC", "config": {"name": "loss"}}],
                    [{"class_name": "AUC", "config": {"name": "val_auc"}}]):  # fmt: skip
        with pytest.raises(SettingError, match="give it a name"):
            check_metrics(metrics)


def test_gradients_are_not_collected_for_longer_than_a_round() -> None:
    """Else no weight would move: the least samples of a client, its batches and epochs decide."""
    collecting = {"class_name": "Adam", "config": {"gradient_accumulation_steps": 10}}
    training = {"optimizer": collecting, "loss": "mse", "metrics": (), "batch_size": 32, "epochs": 2}
    check_training(training, [3], min_data=129)
    with pytest.raises(SettingError, match=r"is 10, but a client of 128 samples makes 8 steps a round"):
        check_training(training, [3], min_data=128)


@pytest.mark.parametrize(
    ("metric", "output", "says"),
    [
        ("f1_score", [300], "report 300 values, most of them F1Score"),
        ("pearson_correlation", [1], "use R2Score"),
        ({"class_name": "IoU", "config": {}}, [3], "IoU needs num_classes and target_class_ids"),
    ],
)
def test_metrics_that_no_run_could_report(metric: Any, output: list[int], says: str) -> None:
    """They are refused with the way out."""
    training = {"optimizer": "sgd", "loss": "mse", "metrics": (metric,), "batch_size": 32, "epochs": 1}
    with pytest.raises(SettingError, match=says):
        check_training(training, output)


def test_class_weights_name_the_model_s_classes() -> None:
    """By loss and output; the sentences say which classes there are."""
    assert check_class_weight({"0": 1, "9": 2.5}, "sparse_categorical_crossentropy", [10]) == {"0": 1.0, "9": 2.5}
    assert check_class_weight({"1": 3}, "bce", [1]) == {"1": 3.0}
    assert check_class_weight({}, "mse", [1]) == {}
    for weights, loss, says in (
        ({"10": 1}, "categorical_crossentropy", "'10' is no class of the model: its classes are 0 to 9"),
        ({"cat": 1}, "categorical_crossentropy", "'cat' is no class"),
        ({"01": 1}, "categorical_crossentropy", "'01' is no class"),
        ({"0": math.inf}, "categorical_crossentropy", "The weight of class 0 is inf"),
        ({"0": 1}, "mse", "has no classes to weigh"),
        ({str(n): 0 for n in range(10)}, "categorical_crossentropy", "Every class weighs 0"),
        ([1, 2], "categorical_crossentropy", "must be an object"),
    ):
        with pytest.raises(SettingError, match=says) as caught:
            check_class_weight(weights, loss, [10])
        assert caught.value.field == "class_weight"


def test_sample_weights_follow_the_labels() -> None:
    """One-hot rows, class numbers, a binary output, and steps."""
    hot, numbers = (input_of((1,), "float32", (3,), loss) for loss in ("categorical_crossentropy", SPARSE))
    one, steps, hot_steps = (
        input_of((1,), "float32", output, loss)
        for output, loss in (((1,), "bce"), ((2, 3), SPARSE), ((2, 3), "categorical_crossentropy"))
    )
    weights = {"0": 5.0, "2": 0.5}
    assert sample_weights(np.eye(3)[[0, 1, 2]], weights, hot).tolist() == [5.0, 1.0, 0.5]
    assert sample_weights(np.array([0, 1, 2]), weights, numbers).tolist() == [5.0, 1.0, 0.5]
    assert sample_weights(np.array([[0.0], [1.0]]), {"1": 4.0}, one).tolist() == [1.0, 4.0]
    assert sample_weights(np.array([[0, 1], [2, 2]]), weights, steps).tolist() == [[5.0, 1.0], [0.5, 0.5]]
    assert sample_weights(np.eye(3)[[[0, 1], [2, 2]]], weights, hot_steps).tolist() == [[5.0, 1.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("loss", "output", "wanted"),
    [
        ("categorical_crossentropy", (3,), {"label_shape": (3,), "classes": 3}),
        (SPARSE, (5, 3), {"label_shape": (5,), "label_dtype": "int64", "classes": 3}),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"ignore_class": 255}},
            (3,),
            {"label_dtype": "int64", "classes": 3, "label_ignore": 255},
        ),
        ("circle", (3,), {"label_dtype": "int64", "label_low": 0}),
        ("categorical_hinge", (3,), {"label_shape": (3,), "classes": 3}),
        ("bce", (1,), {"label_shape": (1,), "classes": 2}),
        ("bce", (4,), {"label_shape": (4,), "label_low": 0, "label_high": 1}),
        ("kl_divergence", (3,), {"label_shape": (3,), "label_low": 0, "label_high": 1}),
        ("poisson", (2,), {"label_shape": (2,), "label_low": 0}),
        ("mse", (2,), {"label_shape": (2,)}),
        ("hinge", (1,), {"label_shape": (1,)}),
    ],
)
def test_the_labels_of_a_loss(loss: Any, output: tuple[int, ...], wanted: dict[str, Any]) -> None:
    """Their shape, kind, classes and bounds, as the opening record has them; what is left out is the default."""
    said = input_of((7,), "float64", output, loss)
    assert said == InputSpec(shape=(7,), dtype="float64", **wanted)
    assert msgspec.json.decode(msgspec.json.encode(said), type=InputSpec) == said
