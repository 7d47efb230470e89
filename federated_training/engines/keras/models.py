"""Keras models from checked configs, their weights as arrays, and what can be said about them as data.

A model's weights are always the list `model.weights` (trainable and not) in its order; that is the order of
the tensors everywhere in Mainstem.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from federated_training.engines.keras import architecture, state
from federated_training.problems import FieldError, cause

MAX_PARAMS = 500_000_000
"""Most parameters of a model, unless the caller sets another limit."""

Array = NDArray[Any]

_LAYER = re.compile(r"<class 'keras\.src\.layers\.[\w.]*?(\w+)'>")


def build(text: str, *, max_params: int = MAX_PARAMS, seed: int = 0, field: str = "config") -> Any:
    """The model of a Keras JSON config, uncompiled, with the initial weights that `seed` gives.

    The config is checked as data first, then sized without allocating anything. Raises FieldError.
    """
    config = json.dumps(architecture.parse(text, field))
    _check_size(config, max_params, field)
    keras.utils.set_random_seed(seed)
    model = _deserialize(config, field)
    check_interface(model, field)
    return model


def _deserialize(config: str, field: str) -> Any:
    try:
        return keras.models.model_from_json(config)
    except Exception as error:  # Keras raises whatever its layers raise
        found = _LAYER.findall(str(error))
        layer = f" (in a layer {found[-1]})" if found else ""
        raise FieldError(field, f"Keras cannot build this model: {cause(error)}{layer}") from error


def _check_size(config: str, max_params: int, field: str) -> None:
    # In this scope variables have shapes but no values.
    with keras.StatelessScope(initialize_variables=False):
        model = _deserialize(config, field)
        params = sum(math.prod(weight.shape) for weight in model.weights)
    del model
    keras.backend.clear_session()
    if params > max_params:
        raise FieldError(field, f"The model has {params:,} parameters; at most {max_params:,} are allowed.")


def check_interface(model: Any, field: str) -> None:
    """Refuse models that cannot be trained on (x, y) samples of fixed shapes; raises FieldError."""
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise FieldError(field, "The model has no input shape; add keras.Input(shape=...) as its first layer.")
    for role, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise FieldError(field, f"The model has {len(tensors)} {role}s; exactly one is supported.")
        if None in tensors[0].shape[1:]:
            shape = list(tensors[0].shape[1:])
            raise FieldError(field, f"The model's {role} shape {shape} is open; every dimension must be fixed.")
        if keras.backend.standardize_dtype(tensors[0].dtype) in ("string", "bool"):
            raise FieldError(field, f"The model's {role} is of type {tensors[0].dtype}; numbers are needed.")
    if not model.weights:
        raise FieldError(field, "The model has no weights to train.")


def try_out(model: Any, field: str = "model") -> None:
    """Let the model answer two samples of zeros, so that a layer that cannot shows now; raises FieldError."""
    inputs = np.zeros((2, *model.inputs[0].shape[1:]), keras.backend.standardize_dtype(model.inputs[0].dtype))
    try:
        model(keras.ops.convert_to_tensor(inputs), training=False)
    except Exception as error:  # whatever a layer objects to
        gist = cause(error, layer_names(model))
        raise FieldError(field, f"The model fails on samples of zeros: {gist}") from error


def weights_of(model: Any) -> list[Array]:
    """Copies of the model's weights as arrays, in order."""
    return [copied(weight) for weight in model.weights]


def copied(variable: Any) -> Array:
    """A variable's value as an array of its own."""
    return np.array(keras.ops.convert_to_numpy(variable))


def set_weights(model: Any, arrays: Sequence[Array], field: str = "weights") -> None:
    """Load `arrays`, whose shapes and dtypes must be the model's, as `keras.state.assign` does; raises FieldError."""
    if len(arrays) != len(model.weights):
        raise FieldError(field, f"{len(arrays)} tensors were given; the model has {len(model.weights)}.")
    for tensor, array in zip(tensors_of(model), arrays, strict=True):
        if array.shape != tuple(tensor["shape"]) or array.dtype.name != tensor["dtype"]:
            raise FieldError(
                field,
                f"The tensor {tensor['name']} is {array.dtype.name}{list(array.shape)}; "
                f"the model's is {tensor['dtype']}{tensor['shape']}.",
            )
    state.assign(model, arrays)


def tensors_of(model: Any) -> list[dict[str, Any]]:
    """Name, dtype and shape of every weight, in order; names are paths such as `dense/kernel`, made unique.

    `untrained` marks what no gradient changes, such as BatchNorm's statistics; `frozen` what does not change at all:
    the weights of a layer whose `trainable` is False (Keras then also leaves BatchNorm's statistics as they are).
    """
    frozen = {id(weight) for layer in _layers(model) if not layer.trainable for weight in layer.weights}
    seen: dict[str, int] = {}
    tensors = []
    for weight in model.weights:
        count = seen[weight.path] = seen.get(weight.path, 0) + 1
        name = weight.path if count == 1 else f"{weight.path}#{count}"
        dtype = keras.backend.standardize_dtype(weight.dtype)
        tensor = {"name": name, "dtype": dtype, "shape": list(weight.shape)}
        kind = "frozen" if id(weight) in frozen else "" if weight.trainable else "untrained"
        tensors.append({**tensor, kind: True} if kind else tensor)
    return tensors


def layer_names(model: Any) -> frozenset[str]:
    """The names of all layers, those of models and wrappers inside too."""
    return frozenset(layer.name for layer in _layers(model))


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


def describe(model: Any) -> dict[str, Any]:
    """Architecture, tensors, input, output and layers of a built model, as JSON-able data."""
    layers = [
        {
            "name": layer.name,
            "class": type(layer).__name__,
            "output_shape": _output_shape(layer),
            "params": int(sum(math.prod(weight.shape) for weight in layer.weights)),
        }
        for layer in model.layers
    ]
    text = json.dumps(architecture.parse(model.to_json()), separators=(",", ":"))
    return {
        "architecture": text,
        "tensors": tensors_of(model),
        "input": _interface(model.inputs[0]),
        "output": _interface(model.outputs[0]),
        "layers": layers,
        "params": int(sum(math.prod(weight.shape) for weight in model.weights)),
    }


def _interface(tensor: Any) -> dict[str, Any]:
    return {"shape": list(tensor.shape[1:]), "dtype": keras.backend.standardize_dtype(tensor.dtype)}


def _output_shape(layer: Any) -> list[int | None] | None:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return None
    return list(shape)
