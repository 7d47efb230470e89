"""What a Keras model keeps beside its weights: values derived from them, and its random generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def assign(model: Any, arrays: Iterable[NDArray[Any]]) -> None:
    """Set the weights, in the order of `model.weights`, and whatever layers derive from them.

    `Normalization`, for one, computes with a copy of its mean that it made when it was built. Functions that Keras has
    compiled hold such copies as constants: where one has changed, they are compiled anew.
    """
    deriving = [layer for layer in model._flatten_layers() if hasattr(layer, "finalize_state")]
    sources = {id(weight) for layer in deriving for weight in layer.weights}
    changed = False
    for weight, array in zip(model.weights, arrays, strict=True):
        changed = changed or (id(weight) in sources and not np.array_equal(keras.ops.convert_to_numpy(weight), array))
        weight.assign(array)
    if changed:
        for layer in deriving:
            layer.finalize_state()
        model.train_function = model.test_function = model.predict_function = None


def generators(model: Any) -> list[Any]:
    """The random generators of dropout and the like, each once, in the order of the layers."""
    found: dict[int, Any] = {}
    for layer in model._flatten_layers():
        found |= {id(generator): generator for generator in layer._seed_generators}
    return list(found.values())


def seed(model: Any, value: int, own: Callable[[int], int]) -> None:
    """Begin every random generator anew: the model's n-th with `own(n)`, all that belong to nobody with `value`."""
    keras.utils.set_random_seed(value)
    for number, generator in enumerate(generators(model)):
        generator.state.assign(np.array([own(number), 0], generator.state.dtype))
