"""A version of a Keras model as a function from samples to outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from federated_training.engines.engine import TrainingError
from federated_training.engines.keras import models
from federated_training.engines.keras.ranges import ValueRanges
from federated_training.problems import FieldError, cause
from mainstem.errors import ConfigError
from mainstem.protocol.messages import Opened
from mainstem.protocol.weights import Tensor

MOST_SAMPLES: Final = 256
MOST_BYTES: Final = 64 << 20
"""Of samples in one call of the model."""

Array = NDArray[Any]


class Predictor:
    """Predicts with fixed weights. For one thread."""

    def __init__(self, opened: Opened, tensors: Sequence[Tensor]) -> None:
        """Build the model; raises ConfigError."""
        try:
            self._model = models.build(opened.architecture, field="architecture")
            models.set_weights(self._model, tensors)
        except FieldError as error:
            raise ConfigError(f"the federation's {error.field} cannot be used: {error.message}") from error
        sample = max(1, math.prod(opened.input.shape) * np.dtype(opened.input.dtype).itemsize)
        self._most = max(1, min(MOST_SAMPLES, MOST_BYTES // sample))
        self._ranges = ValueRanges(self._model)
        self._call = tf.function(lambda x: self._model(x, training=False), reduce_retracing=False)

    def predict(self, x: Array) -> Array:
        """Outputs (n, *output shape) of samples (n, *input shape); raises TrainingError."""
        if unfit := self._ranges.judge(x):
            raise TrainingError(f"the model does not take this sample: {unfit[0][1]}")
        parts = [self._part(x[start : start + self._most]) for start in range(0, len(x), self._most)]
        return np.concatenate(parts)

    def _part(self, x: Array) -> Array:
        # Few sizes, so that TensorFlow compiles the model a few times only.
        size = min(self._most, 1 << (len(x) - 1).bit_length())
        padded = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
        try:
            outputs = keras.ops.convert_to_numpy(self._call(tf.constant(padded)))
        except (tf.errors.OpError, ValueError, TypeError, MemoryError, ArithmeticError) as error:
            gist = cause(error, models.layer_names(self._model))
            raise TrainingError(f"the model fails on this sample: {gist}") from error
        return np.asarray(outputs)[: len(x)]
