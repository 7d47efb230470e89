"""A light convolutional network for digits."""

from __future__ import annotations

from typing import Any

import keras

from federated_training.engines.keras.templates.images import image_input
from federated_training.engines.keras.templates.params import TemplateParams


def cnn(params: TemplateParams) -> Any:
    """A 3x3 convolution and 2x2 pooling for each of `filters`, `dropout`, a dense layer of `units`, a softmax.

    Input 28x28x1 float32 in 0..1 (`input_shape` [784], [28, 28] or [28, 28, 1]), output (classes,) float32.
    """
    layers = image_input(params, (28, 28, 1), [784])
    filters = params.sizes("filters", [8, 16], high=1024, most=3)
    units = params.size("units", 64, high=65_536)
    classes = params.size("classes", 10, low=2)
    activation = params.activation("activation", "relu")
    dropout = params.rate("dropout", 0.0)
    for number, size in enumerate(filters, 1):
        layers.append(keras.layers.Conv2D(size, 3, padding="same", activation=activation, name=f"convolution_{number}"))
        layers.append(keras.layers.MaxPooling2D(2, name=f"pooling_{number}"))
    layers.append(keras.layers.Flatten(name="flat"))
    if dropout:
        layers.append(keras.layers.Dropout(dropout, name="dropout"))
    layers.append(keras.layers.Dense(units, activation=activation, name="hidden"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="classes"))
    return keras.Sequential(layers, name="cnn")
