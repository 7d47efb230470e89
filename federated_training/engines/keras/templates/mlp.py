"""A multilayer perceptron."""

from __future__ import annotations

import math
from typing import Any

import keras

from federated_training.engines.keras.templates.params import TemplateParams


def mlp(params: TemplateParams) -> Any:
    """Dense layers of `units`, each with `activation` and then `dropout`; a softmax over `classes`.

    Input `input_shape` (default [784]) float32, output (classes,) float32.
    """
    shape = params.shape("input_shape", [784])
    units = params.sizes("units", [128])
    classes = params.size("classes", 10, low=2)
    activation = params.activation("activation", "relu")
    dropout = params.rate("dropout", 0.0)
    layers: list[Any] = [keras.Input(tuple(shape), name="samples")]
    if len(shape) > 1:
        layers.append(keras.layers.Reshape((math.prod(shape),), name="flat"))
    for number, size in enumerate(units, 1):
        layers.append(keras.layers.Dense(size, activation=activation, name=f"hidden_{number}"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout, name=f"dropout_{number}"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="classes"))
    return keras.Sequential(layers, name="mlp")
