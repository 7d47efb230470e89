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

    @staticmethod
    def of(loss: Json, output: tuple[int, ...]) -> Target:
        """The target of `loss` (a name or a Keras config) for a model whose output has this shape."""
        spec = loss.get("class_name", "") if isinstance(loss, dict) else loss
        if spec == "function":
            spec = loss.get("config", "")
        name = str(spec).replace("_", "").lower()
        if name.startswith("sparsecategorical"):
            return Target(output[:-1], output[-1] if output else None, sparse=True)
        if name.startswith("categorical") and output and output[-1] > 1:
            return Target(output, output[-1])
        if name in ("bce", "binarycrossentropy", "binaryfocalcrossentropy"):
            return Target(output, 2 if math.prod(output) == 1 else None)
        return Target(output)


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
        return self._samples(batch.x), self._labels(batch.y), refused

    def _samples(self, x: Array) -> Array:
        return x if x.dtype == self._dtype else x.astype(self._dtype)

    def _labels(self, y: Array) -> Array:
        target = self._target
        index = math.prod(y.shape[1:]) == 1
        if target.sparse:
            indices = y.reshape(len(y)) if index else y.reshape(len(y), -1).argmax(axis=1)
            return indices.reshape((len(y), *target.shape)).astype("int32")
        if target.classes is not None and index and math.prod(target.shape) > 1:
            one_hot: Array = np.eye(target.classes, dtype="float32").take(y.reshape(len(y)).astype("int64"), axis=0)
            return one_hot
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
    size, wanted = math.prod(codec.y_shape or ()), math.prod(target.shape)
    if target.classes is not None:
        plain = len(target.shape) == (0 if target.sparse else 1)
        if plain and size in (1, target.classes):
            return target.classes
        if plain:
            raise ConfigError(
                f"INPUT_CONFIG: label_reshape holds {size} values, but the model has {target.classes} classes; "
                f"labels must be 1 value (the class index) or {target.classes} (one-hot)"
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
