"""From a stream's records to a model's samples: does the one fit the other, and if so, the arrays.

RAW, AVRO and JSON themselves are `mainstem.codecs`; this module fits them to a federation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem import compiling
from mainstem.codecs import Codec, codec_for
from mainstem.errors import ConfigError, DecodeError
from mainstem.jobs import JobSpec
from mainstem.messages import InputSpec, Json
from mainstem.streams import check_samples

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a loss compares the model's output with: `shape` of one label, and the classes if it is about classes.

    `sparse` losses take a class index where the others take one value a class.
    """

    shape: tuple[int, ...]
    classes: int | None = None
    sparse: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """Where classes are told apart: () for one output, (5,) for each of five steps."""
        return self.shape if self.sparse or self.classes is None else self.shape[:-1]

    @staticmethod
    def of(loss: Json, output: tuple[int, ...]) -> Target:
        """The target of `loss` (a name or a Keras config) for a model whose output has this shape."""
        classes = compiling.classes_of(loss, output)
        if compiling.takes_indices(loss):
            return Target(output[:-1], classes, sparse=True)
        return Target(output, None if classes == 1 else classes)


class Decoder:
    """Decodes the records of one stream into samples of one model."""

    def __init__(self, spec: JobSpec, model: InputSpec, target: Target) -> None:
        """Match INPUT_CONFIG with the model's input and its loss; raises ConfigError in a sentence on any misfit."""
        codec = codec_for(spec.input_format, spec.input_config)
        check_data(codec, model)
        self._dtype = np.dtype(model.dtype)
        self._target = target
        classes = _check_labels(codec, target)
        self._codec = codec_for(spec.input_format, spec.input_config, classes=classes)

    def decode(
        self, records: Sequence[tuple[bytes | None, bytes | None]]
    ) -> tuple[Array, Array, list[tuple[int, str]]]:
        """(x, y, refused): samples (n, *input shape) and labels (n, *label shape), and the positions left out.

        Samples have the model's dtype; labels are float32, or int32 class indices for sparse losses.
        """
        batch = self._codec.decode_many([(key, value) for key, value in records])  # type: ignore[misc]
        refused = [(entry.position, entry.reason) for entry in batch.refused]
        if batch.y is None:
            refused = [(position, "the record has no key; its label belongs there") for position in range(len(records))]
            empty = np.empty((0, *self._codec.x_shape), self._dtype)
            return empty, np.empty((0, *self._target.shape), "float32"), refused
        bad = self._no_classes(batch.y)
        if not bad.any():
            return self._samples(batch.x), self._labels(batch.y), refused
        left = sorted(set(range(len(records))) - {position for position, _ in refused})
        refused += [(left[row], self._reason(batch.y[row])) for row in np.flatnonzero(bad)]
        return self._samples(batch.x[~bad]), self._labels(batch.y[~bad]), sorted(refused)

    def _samples(self, x: Array) -> Array:
        return x if x.dtype == self._dtype else x.astype(self._dtype)

    def _no_classes(self, y: Array) -> Array:
        """Which labels hold a number that is no class, where there are several: a codec checks single ones."""
        flat, classes = y.reshape(len(y), -1), self._target.classes
        if classes is None or flat.shape[1] < 2 or not self._has_numbers(y):
            return np.zeros(len(y), bool)
        return np.asarray(((flat < 0) | (flat >= classes) | (flat % 1 != 0)).any(axis=1))

    def _reason(self, label: Array) -> str:
        classes = self._target.classes or 0
        worst = next(value for value in label.reshape(-1).tolist() if not (0 <= value < classes and value % 1 == 0))
        return f"its label holds {worst:g}, which is no class; the model's are 0 to {classes - 1}"

    def _has_numbers(self, y: Array) -> bool:
        """Whether the labels are class numbers, and not one-hot rows."""
        target = self._target
        return target.classes is not None and math.prod(y.shape[1:]) == math.prod(target.places)

    def _labels(self, y: Array) -> Array:
        """As the loss takes them, from a class' number or one-hot rows of each output that it compares."""
        target, places = self._target, self._target.places
        numbers = self._has_numbers(y)
        if target.sparse:
            indices = y if numbers or target.classes is None else y.reshape((len(y), *places, -1)).argmax(axis=-1)
            return indices.reshape((len(y), *places)).astype("int32")
        if target.classes is not None and numbers and math.prod(target.shape) > math.prod(places):
            one_hot: Array = np.eye(target.classes, dtype="float32").take(y.reshape(-1).astype("int64"), axis=0)
            return one_hot.reshape((len(y), *target.shape))
        if target.classes is not None and y.size > math.prod((len(y), *target.shape)):  # one-hot, for one output
            y = y.reshape((len(y), *places, -1)).argmax(axis=-1)
        return y.reshape((len(y), *target.shape)).astype("float32")


def check_data(codec: Codec, model: InputSpec) -> None:
    """Refuse a stream that cannot train the model: samples that it cannot take, or none with a label.

    Raises ConfigError.
    """
    check_samples(codec, model)
    if codec.y_shape is None:
        raise ConfigError(
            "INPUT_CONFIG has no label_type: a stream without labels cannot train this model; "
            "add label_type and label_reshape, and send each label as its record's key"
        )


def _check_labels(codec: Codec, target: Target) -> int | None:
    """The number of classes that labels are checked against, None for no check; raises ConfigError."""
    size, wanted, places = math.prod(codec.y_shape or ()), math.prod(target.shape), math.prod(target.places)
    if target.classes is not None:
        if size in (places, places * target.classes):
            # a codec checks one class number a record; those of several steps are the loss' to judge
            return target.classes if places == 1 else None
        each = "" if places == 1 else f" for each of {list(target.places)}"
        raise ConfigError(
            f"INPUT_CONFIG: label_reshape holds {size} values, but the model has {target.classes} classes; "
            f"labels must be 1 value (the class index) or {target.classes} (one-hot){each}"
        )
    if size != wanted:
        raise ConfigError(
            f"INPUT_CONFIG: label_reshape holds {size} values, but the model's output and loss take {wanted} "
            f"(shape {list(target.shape)})"
        )
    return None


def must_have_samples(count: int, refused: int, first_reason: str | None) -> None:
    """Refuse a stream of which nothing is left; raises DecodeError."""
    if count == 0:
        why = f": of {refused} records none could be read, the first because {first_reason}" if refused else ""
        raise DecodeError(f"DATA_TOPIC has no sample to train on{why}")
