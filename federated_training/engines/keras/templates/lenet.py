"""LeNet-5 (LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998)."""

from __future__ import annotations

from typing import Any

import keras

from federated_training.engines.keras.templates.images import image_input
from federated_training.engines.keras.templates.params import TemplateParams


def lenet(params: TemplateParams) -> Any:
    """Two 5x5 convolutions (6 and 16 maps) with average pooling, dense layers of 120 and 84, a softmax.

    Input 28x28x1 float32 in 0..1 (`input_shape` [784], [28, 28] or [28, 28, 1]; padded to the paper's 32x32),
    output (classes,) float32. The paper's radial basis output is a softmax here.
    """
    layers = image_input(params, (28, 28, 1), [28, 28, 1])
    classes = params.size("classes", 10, low=2)
    activation = params.activation("activation", "tanh")
    layers += [
        keras.layers.Conv2D(6, 5, padding="same", activation=activation, name="c1"),
        keras.layers.AveragePooling2D(2, name="s2"),
        keras.layers.Conv2D(16, 5, activation=activation, name="c3"),
        keras.layers.AveragePooling2D(2, name="s4"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(120, activation=activation, name="c5"),
        keras.layers.Dense(84, activation=activation, name="f6"),
        keras.layers.Dense(classes, activation="softmax", name="classes"),
    ]
    return keras.Sequential(layers, name="lenet")
