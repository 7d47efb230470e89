"""A version as a function from samples to outputs: its manifest from the chain, its weights from Kafka, Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from federated_training import keras_models
from federated_training.engine import TrainingError
from federated_training.keras_ranges import Ranges
from federated_training.problems import FieldError, cause
from mainstem import updates
from mainstem.errors import ConfigError, RefusedError, UnreadableError
from mainstem.lineage.history import History, read_history
from mainstem.messages import Opened, Round, Weights
from mainstem.ports import MessageLog
from mainstem.serving import ServingSpec
from mainstem.weights import Limits

MOST_SAMPLES: Final = 256
MOST_BYTES: Final = 64 << 20
"""Of samples in one call of the model."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What defines a version: the run's opening record, and the manifest of its weights."""

    opened: Opened
    weights: Weights


def find(log: MessageLog, spec: ServingSpec) -> Manifest:
    """The version's manifest; raises ConfigError where the run has no such version, LogError."""
    history = read_history(log, spec.federation)
    weights = _weights(history, spec.version)
    if weights is None:
        raise ConfigError(f"MODEL_VERSION is {spec.version}; federation {spec.federation} has no such version")
    if spec.sha256 is not None and weights.sha256 != spec.sha256:
        raise ConfigError(f"MODEL_SHA256 is not that of version {spec.version} of federation {spec.federation}")
    return Manifest(history.opened, weights)


def _weights(history: History, version: int) -> Weights | None:
    if version == 0:
        return history.opened.weights
    rounds = (link.record for link in history.links if isinstance(link.record, Round))
    return next((record.weights for record in rounds if record.version == version), None)


class Model:
    """Predicts with fixed weights. For one thread."""

    def __init__(self, log: MessageLog, manifest: Manifest) -> None:
        """Read and check the weights, build the model; raises ConfigError, UnreadableError, LogError."""
        opened, weights = manifest.opened, manifest.weights
        limits = Limits(nbytes=opened.weights.nbytes, tensors=len(opened.weights.tensors))
        try:
            tensors = updates.read(
                log, opened.topics.data, weights, limits=limits, expected=opened.weights.tensors, written=True
            )
        except RefusedError as error:
            raise UnreadableError(f"the version's weights can no longer be read from Kafka: {error.detail}") from error
        try:
            self._model = keras_models.build(opened.architecture, field="architecture")
            keras_models.set_weights(self._model, tensors)
        except FieldError as error:
            raise ConfigError(f"the federation's {error.field} cannot be used: {error.message}") from error
        sample = max(1, math.prod(opened.input.shape) * np.dtype(opened.input.dtype).itemsize)
        self._most = max(1, min(MOST_SAMPLES, MOST_BYTES // sample))
        self._ranges = Ranges(self._model)
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
            gist = cause(error, keras_models.layer_names(self._model))
            raise TrainingError(f"the model fails on this sample: {gist}") from error
        return np.asarray(outputs)[: len(x)]
