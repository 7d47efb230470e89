"""The convolutional network of the CIFAR-10 tutorials: three convolutions, one hidden layer."""

from __future__ import annotations

from typing import Any

import keras

from federated_training.engines.keras.templates.images import image_input
from federated_training.engines.keras.templates.params import TemplateParams


def cifar10_cnn(params: TemplateParams) -> Any:
    """3x3 convolutions of `filters` with 2x2 pooling between them, a dense layer of `units`, a softmax.

    Input 32x32x3 float32 in 0..1 (`input_shape` [32, 32, 3] or [3072]), output (classes,) float32.
    """
    layers = image_input(params, (32, 32, 3), [32, 32, 3])
    filters = params.sizes("filters", [32, 64, 64], high=1024, most=3)
    units = params.size("units", 64, high=65_536)
    classes = params.size("classes", 10, low=2)
    activation = params.activation("activation", "relu")
    dropout = params.rate("dropout", 0.0)
    for number, size in enumerate(filters, 1):
        if number > 1:
            layers.append(keras.layers.MaxPooling2D(2, name=f"pooling_{number - 1}"))
        layers.append(keras.layers.Conv2D(size, 3, activation=activation, name=f"convolution_{number}"))
    layers.append(keras.layers.Flatten(name="flat"))
    if dropout:
        layers.append(keras.layers.Dropout(dropout, name="dropout"))
    layers.append(keras.layers.Dense(units, activation=activation, name="hidden"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="classes"))
    return keras.Sequential(layers, name="cifar10_cnn")
