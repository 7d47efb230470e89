"""From a stream's records to a model's samples: does the one fit the other, and if so, the arrays.

RAW, AVRO and JSON themselves are `mainstem.streams.codecs`; this module fits them to a federation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federated_training.data.dataset import label_counts
from federated_training.data.omissions import LeftOut, OmittedRecord
from mainstem.errors import ConfigError, DecodeError
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.messages import InputSpec
from mainstem.streams.announcement import check_samples
from mainstem.streams.codecs import Codec, codec_for

Array = NDArray[Any]


class Decoder:
    """Decodes the records of one stream into samples of one model."""

    def __init__(
        self,
        spec: JobSpec,
        model: InputSpec,
        *,
        sample_dtype: str | None = None,
        unfit: Callable[[Array], list[tuple[int, str]]] = lambda _: [],
    ) -> None:
        """Match INPUT_CONFIG with the model's input and labels; raises ConfigError in a sentence on any misfit.

        `sample_dtype` and `unfit` are the engine's: the type that its first layers compute with, and which samples
        its layers do not take.
        """
        codec = codec_for(spec.input_format, spec.input_config)
        check_data(codec, model)
        _check_labels(codec, model)
        self._dtype = np.dtype(sample_dtype or model.dtype)
        self._model, self._unfit = model, unfit
        size, self._places = math.prod(codec.y_shape or ()), math.prod(model.places)
        classified = model.classes is not None
        self._hot = classified and size > self._places
        """One value a class, for each place."""
        self._number = classified and size == self._places
        """The number of a class, for each place."""
        self._whole = self._number and (model.numbered or math.prod(model.label_shape) > self._places)
        """Only whole numbers name a class; a single output takes a share of the second one as well."""
        self._low, self._high = (0.0, 1.0) if self._hot else model.bounds
        if self._whole and model.classes is not None:
            self._low, self._high = 0, model.classes - 1
        if self._hot and codec.subtract:
            raise ConfigError("label_subtract is for class numbers; the labels of this stream are one-hot")
        numbers = None if classified else np.dtype("f4")
        self._codec = codec_for(spec.input_format, spec.input_config, wanted=(self._dtype, numbers))

    def decode(self, records: Sequence[tuple[bytes | None, bytes | None]]) -> tuple[Array, Array, list[OmittedRecord]]:
        """(x, y, refused): samples (n, *input shape) and labels (n, *label shape), and the records left out.

        Samples have the model's dtype; labels are float32, or int32 class indices for sparse losses.
        """
        batch = self._codec.decode_many([(key, value) for key, value in records], labelled=True)  # type: ignore[misc]
        refused = [OmittedRecord(entry.position, entry.reason) for entry in batch.refused]
        out = {refusal.position for refusal in refused}
        places = [position for position in range(len(records)) if position not in out]
        x, y = batch.x, batch.y
        assert y is not None  # every record has its label, or is refused
        good = np.ones(len(x), bool)
        for number, reason, label in self._misfits(x, y):
            good[number] = False
            refused.append(OmittedRecord(places[number], reason, label))
        if not good.all():
            x, y = x[good], y[good]
        return x, self._labels(y), sorted(refused)

    def check_classes(self, left_out: LeftOut, labels: Sequence[Array], records: int) -> None:
        """Refuse a stream of which a whole class is left out; `labels` are its labels as they were decoded, in pieces.

        Raises ConfigError.
        """
        if not left_out.count:
            return
        y = np.concatenate(labels) if labels else np.empty(0)
        kept = {float(name) + self._codec.subtract: count for name, count in label_counts(y).items()}
        left_out.check(kept, self._model.classes, records, self._codec.subtract)

    def _misfits(self, x: Array, y: Array) -> Iterator[tuple[int, str, float | None]]:
        """(number, reason, label) of the samples that the loss or a layer does not take."""
        flat = y.reshape(len(y), math.prod(y.shape[1:]))
        bad = (flat < self._low) | (flat > self._high)
        if self._whole and flat.dtype.kind == "f":
            bad |= flat != np.trunc(flat)
        if self._model.label_ignore is not None:
            bad &= flat != self._model.label_ignore
        if self._hot:
            nowhere = ~flat.reshape(len(y), self._places, flat.shape[1] // self._places).any(axis=2)
            bad |= np.repeat(nowhere, flat.shape[1] // self._places, axis=1)
        single = flat.shape[1] == 1
        seen = set()
        for number in np.flatnonzero(bad.any(axis=1)).tolist():
            seen.add(number)
            value = flat[number, int(bad[number].argmax())].item()
            label = float(value + self._codec.subtract)
            yield number, self._told(value, int(bad[number].argmax())), label if single and label.is_integer() else None
        for number, reason in self._unfit(x):
            if number not in seen:
                yield number, reason, self._class_of(flat[number])

    def _told(self, value: float, at: int) -> str:
        """What is wrong with the value of a label."""
        if self._hot and value == 0:
            return f"the label is 0 for each of the {self._model.classes} classes, so it names none"
        less = f" less label_subtract {self._codec.subtract}" if self._codec.subtract else ""
        where = "" if math.prod(self._codec.y_shape or ()) == 1 else f" at position {at}"
        takes = "the model's classes are" if self._whole else "the loss takes"
        high = "up" if math.isinf(self._high) else f"to {self._high:g}"
        return f"the label is {value + self._codec.subtract:g}{less}{where}; {takes} {self._low:g} {high}"

    def _class_of(self, label: Array) -> float | None:
        if self._places != 1 or self._model.classes is None:
            return None
        return float(label.argmax()) if self._hot else float(label[0]) + self._codec.subtract

    def _labels(self, y: Array) -> Array:
        """As the loss takes them, from a class' number or one-hot rows of each place."""
        model, shape = self._model, (len(y), *self._model.label_shape)
        narrow = math.prod(model.label_shape) == self._places
        if self._hot and narrow:
            y = y.reshape((len(y), *model.places, -1)).argmax(axis=-1) if len(y) else y.reshape((0, *model.places))
        if model.numbered:
            return y.reshape(shape).astype("int32")
        if self._number and not narrow and model.classes is not None:
            one_hot: Array = np.eye(model.classes, dtype="float32").take(y.reshape(-1).astype("int64"), axis=0)
            return one_hot.reshape(shape)
        return y.reshape(shape).astype("float32")


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


def _check_labels(codec: Codec, model: InputSpec) -> None:
    """Refuse labels of a size that the loss does not take; raises ConfigError."""
    size, wanted, places = (math.prod(shape) for shape in (codec.y_shape or (), model.label_shape, model.places))
    if model.classes is not None:
        if size in (places, places * model.classes):
            return
        each = "" if places == 1 else f" for each of {list(model.places)}"
        raise ConfigError(
            f"INPUT_CONFIG: label_reshape holds {size} values, but the model has {model.classes} classes; "
            f"labels must be 1 value (the class index) or {model.classes} (one-hot){each}"
        )
    if size != wanted:
        raise ConfigError(
            f"INPUT_CONFIG: label_reshape holds {size} values, but the model's output and loss take {wanted} "
            f"(shape {list(model.label_shape)})"
        )


def must_have_samples(count: int, left_out: LeftOut) -> None:
    """Refuse a stream of which nothing is left; raises DecodeError."""
    if count == 0:
        first = left_out.first()
        why = f": of {left_out.count} records none could be used, the first because {first}" if first else ""
        raise DecodeError(f"DATA_TOPIC has no sample to train on{why}")
