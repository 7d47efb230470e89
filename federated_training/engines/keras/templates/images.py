"""What the image templates share: an input that may be flat."""

from __future__ import annotations

import math
from typing import Any

import keras

from federated_training.engines.keras.templates.params import TemplateParams
from federated_training.problems import FieldError


def image_input(params: TemplateParams, image: tuple[int, int, int], default: list[int]) -> list[Any]:
    """The first layers: `input_shape` is `image` itself, the image without its single channel, or flat.

    A Reshape layer turns the latter two into (height, width, channels).
    """
    flat = [math.prod(image)]
    allowed = [flat, list(image), *([list(image[:2])] if image[2] == 1 else [])]
    shape = params.shape("input_shape", default)
    if shape not in allowed:
        text = " or ".join(map(str, allowed))
        raise FieldError("template.params.input_shape", f"input_shape must be {text}.")
    layers: list[Any] = [keras.Input(tuple(shape), name="samples")]
    if shape != list(image):
        layers.append(keras.layers.Reshape(image, name="image"))
    return layers
