"""Training settings -> Keras: compiles a model from data whose every name and argument `mainstem.jobs.compiling`
knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np

from federated_training.engines.keras import hooks
from federated_training.engines.keras import metrics as keras_metrics
from federated_training.problems import FieldError, cause
from mainstem.aggregation.local import Change
from mainstem.jobs import compiling
from mainstem.jobs.compiling import SettingError, Spec
from mainstem.protocol.messages import InputSpec

_FLOATS: Final = frozenset(("beta", "threshold"))
"""Arguments that some of Keras' classes take as a float only, where JSON may have 2 for 2.0."""


def optimizer(spec: Any, learning_rate: float | None = None, change: Change | None = None) -> Any:
    """A new optimizer from its name or Keras config dict, its gradients passing `change`.

    Raises FieldError("optimizer" or "learning_rate").
    """
    with field_errors():
        return make(compiling.check_optimizer(spec, learning_rate), change=change)


def loss(spec: Any) -> Any:
    """A loss from its name or Keras config dict; raises FieldError("loss")."""
    with field_errors():
        return make(compiling.check_loss(spec))


def metrics(specs: Sequence[Any]) -> list[Any]:
    """Metrics from their names or Keras config dicts, NaN where undefined; raises FieldError("metrics")."""
    with field_errors():
        return [make(spec) for spec in compiling.check_metrics(list(specs))]


@contextmanager
def field_errors() -> Iterator[None]:
    """A setting's error as the error of the request's field."""
    try:
        yield
    except SettingError as error:
        raise FieldError(error.field, error.message) from error


def make(spec: Spec, *, plain: bool = False, change: Change | None = None) -> Any:
    """The object that a checked spec names; `plain`: a metric as Keras has it; `change` an optimizer's gradients.

    Raises SettingError.
    """
    if spec.kind == compiling.METRIC and spec.name == "accuracy":
        return spec.name  # Keras chooses among its three by labels and output
    config = {
        name: float(value) if name in _FLOATS and type(value) is int else value for name, value in spec.config.items()
    }
    if spec.kind == compiling.METRIC:
        config["name"] = spec.reported  # Keras would number those of one process
        made = getattr(keras.metrics, spec.name) if plain else keras_metrics.defined(spec.name)
    else:
        made = getattr(getattr(keras, spec.kind), spec.name, None)
    if change is not None:
        made = hooks.hooked(made, change)
    try:
        return made(**config)
    except Exception as error:  # Keras raises whatever its constructors raise
        field = {compiling.LOSS: "loss", compiling.METRIC: "metrics"}.get(spec.kind, "optimizer")
        raise SettingError(field, f"{spec.name} cannot be made with these settings: {cause(error)}") from error


def compile_model(model: Any, training: Mapping[str, Any], change: Change | None = None) -> None:
    """Compile `model` afresh with `optimizer`, `loss`, `metrics` and `learning_rate` of `training`.

    Every gradient passes `change` (`keras.hooks`) where there is one. Nothing of an earlier compilation survives.
    Raises FieldError.
    """
    model.compile(
        optimizer=optimizer(training.get("optimizer", "adam"), training.get("learning_rate"), change),
        loss=loss(training.get("loss", "categorical_crossentropy")),
        metrics=metrics(training.get("metrics", ())),
        jit_compile=False,
    )


def check(model: Any, training: Mapping[str, Any], wanted: InputSpec) -> None:
    """Compile and do one step on two samples of zeros, so that a loss or metric that does not fit shows now.

    `wanted` says what the labels of the federation are to be. Raises FieldError.
    """
    compile_model(model, training)
    inputs = np.zeros((2, *model.inputs[0].shape[1:]), keras.backend.standardize_dtype(model.inputs[0].dtype))
    output = tuple(model.outputs[0].shape[1:])
    labels = np.zeros((2, *wanted.label_shape), "int32" if wanted.numbered else "float32")
    try:
        keras_metrics.values_of(model.train_on_batch(inputs, labels, return_dict=True))
    except Exception as error:  # whatever a loss or metric objects to
        raise FieldError(
            "loss",
            f"The loss and metrics do not fit the model's output {list(output)} with labels "
            f"{list(wanted.label_shape)}: {cause(error)}",
        ) from error
    with field_errors():
        compiling.check_training({**_DEFAULTS, **training}, output, min_data=1 << 53)


_DEFAULTS: Final = {
    "optimizer": "adam", "loss": "categorical_crossentropy", "metrics": (), "batch_size": 32, "epochs": 1,
}  # fmt: skip
