"""Training settings <-> Keras: compiles a model from data, in safe mode, and reads compile settings as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np

from federated_training.problems import FieldError, cause

_OPTIMIZERS: Final = {
    name.lower(): name
    for name in ("Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Nadam RMSprop SGD").split()
}
_SCHEDULES: Final = frozenset(
    "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay".split()
)
_LOSSES: Final = frozenset(
    """
    BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalHinge CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError
    MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
    SparseCategoricalCrossentropy SquaredHinge Tversky
    """.split()
)
_METRICS: Final = frozenset(
    """
    AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy CategoricalCrossentropy
    CategoricalHinge CosineSimilarity F1Score FBetaScore FalseNegatives FalsePositives Hinge KLDivergence
    LogCoshError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError
    Poisson Precision R2Score Recall RootMeanSquaredError SparseCategoricalAccuracy
    SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SquaredHinge TopKCategoricalAccuracy
    TrueNegatives TruePositives
    """.split()
)


def optimizer(spec: Any, learning_rate: float | None = None) -> Any:
    """A new optimizer from its name or Keras config dict; raises FieldError("optimizer" or "learning_rate")."""
    name, config = _split(spec, "optimizer")
    known = _OPTIMIZERS.get(name.lower())
    if known is None:
        raise FieldError(
            "optimizer", f"{name[:60]!r} is no optimizer here; there are {', '.join(_OPTIMIZERS.values())}."
        )
    _check_schedule(config.get("learning_rate"))
    if learning_rate is not None:
        if not 0 < learning_rate < 1e6:
            raise FieldError(
                "learning_rate", f"The learning rate is {learning_rate}; it must be above 0 and below 1,000,000."
            )
        config = {**config, "learning_rate": learning_rate}
    return _made("keras.optimizers", known, config, "optimizer")


def loss(spec: Any) -> Any:
    """A loss from its name or Keras config dict; raises FieldError("loss")."""
    return _named(spec, _LOSSES, "losses", "loss")


def metrics(specs: Sequence[Any]) -> list[Any]:
    """Metrics from their names or Keras config dicts; raises FieldError("metrics")."""
    return [_named(spec, _METRICS, "metrics", "metrics") for spec in specs]


def compile_model(model: Any, training: Mapping[str, Any]) -> None:
    """Compile `model` afresh with `optimizer`, `loss`, `metrics` and `learning_rate` of `training`.

    Nothing of an earlier compilation survives. Raises FieldError.
    """
    model.compile(
        optimizer=optimizer(training.get("optimizer", "adam"), training.get("learning_rate")),
        loss=loss(training.get("loss", "categorical_crossentropy")),
        metrics=metrics(training.get("metrics", ())),
        jit_compile=False,
    )


def check(model: Any, training: Mapping[str, Any], label_shape: Sequence[int] | None = None) -> None:
    """Compile and do one step on two samples of zeros, so that a loss that does not fit shows now.

    `label_shape` without the batch dimension; None tries what the loss usually takes. Raises FieldError.
    """
    compile_model(model, training)
    inputs = np.zeros((2, *model.inputs[0].shape[1:]), keras.backend.standardize_dtype(model.inputs[0].dtype))
    output = tuple(model.outputs[0].shape[1:])
    name = str(_split(training.get("loss", ""), "loss")[0]).lower().replace("_", "")
    if label_shape is None:
        label_shape = output[:-1] if name.startswith("sparse") else output
    labels = np.zeros((2, *label_shape), "float32")
    try:
        model.train_on_batch(inputs, labels)
    except Exception as error:  # whatever a loss or metric objects to
        raise FieldError(
            "loss",
            f"The loss and metrics do not fit the model's output {list(output)} with labels {list(label_shape)}: "
            f"{cause(error)}",
        ) from error


def settings(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Optimizer, loss, metrics and learning rate out of a Keras compile config, as plain data.

    Each is a name where Keras' defaults say the rest, else a config dict. None when there is none, or when
    it holds something that Mainstem does not know (the person then chooses anew).
    """
    if not config:
        return None
    try:
        made = optimizer(config.get("optimizer"))
        rate = made.get_config()["learning_rate"]
        found = {
            "optimizer": _plain_optimizer(made, rate),
            "loss": _plain(loss(config.get("loss"))),
            "metrics": [_plain(metric) for metric in metrics(config.get("metrics") or ())],
            "learning_rate": float(np.float32(rate)) if isinstance(rate, float) else None,
        }
    except FieldError:
        return None
    rate = found["learning_rate"]
    if isinstance(rate, float):
        found["learning_rate"] = float(f"{rate:.7g}")  # Keras keeps it as float32
    return found


def _split(spec: Any, field: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping):
        name, config = spec.get("class_name"), spec.get("config", {})
        if name == "function" and isinstance(config, str):
            return config, {}
        registered = spec.get("registered_name")
        if isinstance(name, str) and isinstance(config, Mapping) and registered in (None, name):
            return name, dict(config)
    raise FieldError(field, f"{field} must be a name or a Keras config with class_name and config.")


def _check_schedule(rate: Any) -> None:
    if isinstance(rate, Mapping) and rate.get("class_name") not in _SCHEDULES:
        raise FieldError("optimizer", f"The learning rate must be a number or one of {', '.join(sorted(_SCHEDULES))}.")


def _made(module: str, name: str, config: Mapping[str, Any], field: str) -> Any:
    whole = {"module": module, "class_name": name, "config": dict(config), "registered_name": None}
    try:
        return keras.saving.deserialize_keras_object(whole, safe_mode=True)
    except Exception as error:  # Keras raises whatever its constructors raise
        raise FieldError(field, f"{name} cannot be made with these settings: {cause(error)}") from error


def _named(spec: Any, classes: frozenset[str], module: str, field: str) -> Any:
    name, config = _split(spec, field)
    if name in classes:
        return _made(f"keras.{module}", name, config, field)
    if name in ("accuracy", "acc") and field == "metrics":
        return "accuracy"
    snake = {item.lower(): item for item in classes}
    plain = _SHORT.get(name.lower(), name).replace("_", "").lower()
    if plain not in snake or config:
        known = ", ".join([*(["accuracy"] if field == "metrics" else []), *sorted(classes)])
        raise FieldError(field, f"{name[:60]!r} is not among the {module} here; there are {known}.")
    return _made(f"keras.{module}", snake[plain], {}, field)


_SHORT: Final = {
    "mse": "mean_squared_error", "mae": "mean_absolute_error", "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error", "kld": "kl_divergence", "kullback_leibler_divergence": "kl_divergence",
    "bce": "binary_crossentropy",
}  # fmt: skip


def _plain(made: Any) -> Any:
    if isinstance(made, str):
        return made
    fresh = type(made)()
    if made.get_config() == fresh.get_config():
        return made.get_config()["name"]
    return {"class_name": type(made).__name__, "config": made.get_config()}


def _plain_optimizer(made: Any, rate: Any) -> Any:
    config, default = made.get_config(), type(made)().get_config()
    if isinstance(rate, float) and config | {"learning_rate": 0} == default | {"learning_rate": 0}:
        return type(made).__name__.lower()
    return {"class_name": type(made).__name__, "config": config}
