"""The workshop's templates for people to choose from: what each is, and its parameters with their defaults."""

from __future__ import annotations

from typing import Any, Final

_ACTIVATION: Final = {"name": "activation", "default": "relu", "help": "Of the hidden layers."}
_CLASSES: Final = {"name": "classes", "default": 10, "help": "Width of the softmax output."}
_DROPOUT: Final = {"name": "dropout", "default": 0.0, "help": "Share of units that are dropped, from 0 up to 1."}

TEMPLATES: Final[list[dict[str, Any]]] = [
    {
        "name": "mlp",
        "title": "Multilayer perceptron",
        "params": [
            {"name": "input_shape", "default": [784], "help": "Shape of one sample."},
            {"name": "units", "default": [128], "help": "Width of each hidden layer."},
            _CLASSES,
            _ACTIVATION,
            _DROPOUT,
        ],
    },
    {
        "name": "cnn",
        "title": "Light convolutional network for digits",
        "params": [
            {"name": "input_shape", "default": [784], "help": "[784], [28, 28] or [28, 28, 1]."},
            {"name": "filters", "default": [8, 16], "help": "Maps of each convolution; at most 3."},
            {"name": "units", "default": 64, "help": "Width of the hidden layer."},
            _CLASSES,
            _ACTIVATION,
            _DROPOUT,
        ],
    },
    {
        "name": "cifar10_cnn",
        "title": "Convolutional network for CIFAR-10",
        "params": [
            {"name": "input_shape", "default": [32, 32, 3], "help": "[32, 32, 3] or [3072]."},
            {"name": "filters", "default": [32, 64, 64], "help": "Maps of each convolution; at most 3."},
            {"name": "units", "default": 64, "help": "Width of the hidden layer."},
            _CLASSES,
            _ACTIVATION,
            _DROPOUT,
        ],
    },
    {
        "name": "lenet",
        "title": "LeNet-5",
        "params": [
            {"name": "input_shape", "default": [28, 28, 1], "help": "[784], [28, 28] or [28, 28, 1]."},
            _CLASSES,
            {"name": "activation", "default": "tanh", "help": "Of the hidden layers."},
        ],
    },
]
