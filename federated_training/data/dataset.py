"""A client's samples, divided once and for all into training, validation and test parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError
from mainstem.protocol.messages import InputSpec

Array = NDArray[Any]

Place = tuple[str, int, int]
"""Where a record is, for good: topic, partition, offset."""

_TRAINING, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class LabelledSamples:
    """Samples `x` (n, *input shape) and labels `y` (n, *label shape)."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A client's data. `sha256` is over all decoded samples and labels in the stream's order."""

    training: LabelledSamples
    validation: LabelledSamples
    test: LabelledSamples
    sha256: str

    @property
    def held_out(self) -> LabelledSamples:
        """What no weight has learned from: validation and test samples."""
        return LabelledSamples(
            np.concatenate([self.validation.x, self.test.x]), np.concatenate([self.validation.y, self.test.y])
        )


def label_counts(labels: Array) -> dict[str, int]:
    """Samples by class, where the labels are classes (numbers, or one-hot rows); empty where they are not.

    Of more than a thousand classes only those with the most samples are counted.
    """
    binary = bool(((labels == 0) | (labels == 1)).all())
    if labels.size == len(labels) and (binary or labels.dtype.kind in "iu"):
        classes = labels.reshape(-1)
    elif binary and labels.ndim == 2 and bool((labels.sum(axis=1) == 1).all()):
        classes = labels.argmax(axis=1)
    else:
        return {}
    names, counts = np.unique(classes, return_counts=True)
    most = sorted(zip(counts.tolist(), names.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))[:1000]
    return {str(int(name)): int(count) for count, name in sorted(most, key=lambda pair: pair[1])}


def sample_weights(labels: Array, weights: Mapping[str, float], model: InputSpec) -> Array:
    """The weight of each label's class, float32, of the labels' shape without that of one-hot rows.

    `weights` is by the class' number; other classes weigh 1. `model` says what the labels are.
    """
    hot = not model.numbered and model.label_shape[-1:] == (model.classes,)
    classes = labels.argmax(axis=-1) if hot else labels
    if classes.size == len(classes):
        classes = classes.reshape(len(classes))
    found = np.ones(classes.shape, "float32")
    for name, weight in weights.items():
        found[classes == int(name)] = weight
    return found


def fingerprint(x: Array, y: Array) -> str:
    """sha256 (hex) over dtype, shape and bytes of both arrays."""
    state = hashlib.sha256()
    for array in (x, y):
        whole = np.ascontiguousarray(array)
        state.update(f"{whole.dtype.str}{whole.shape}".encode())
        state.update(whole.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def seed_of(*parts: object) -> int:
    """A seed of 32 bits from the given values, by sha256: the same everywhere."""
    return int.from_bytes(hashlib.sha256("\n".join(map(str, parts)).encode()).digest()[:4], "big")


def split(
    x: Array, y: Array, places: Sequence[Place] = (), *, validation_rate: float, test_rate: float, seed: int
) -> Dataset:
    """Divide a stream that cannot grow as Kafka-ML does: its last `test_rate` share are test samples.

    Of a stream of several partitions the last share of each, since a producer that keys records by their label puts
    each class into a partition of its own. Both rates are shares of it all. The validation samples are drawn from the
    rest, by a permutation that depends on `seed` and the data alone. Without `places` all is one partition.
    Raises ConfigError when nothing is left to train on.
    """
    total = len(x)
    tests, validations = round(total * test_rate), round(total * validation_rate)
    sha256 = fingerprint(x, y)
    parts = np.full(total, _TRAINING)
    parts[_last_of_each(places, tests) if places else range(max(0, total - tests), total)] = _TEST
    rest = np.flatnonzero(parts == _TRAINING)
    drawn = np.random.default_rng(seed_of(seed, sha256, "validation")).permutation(len(rest))[:validations]
    parts[rest[drawn]] = _VALIDATION
    return _divided(x, y, parts, sha256, validation_rate, test_rate)


def _last_of_each(places: Sequence[Place], count: int) -> list[int]:
    """The numbers of `count` samples, the last ones of each partition: as many as its share of them all, or one more.

    Who has one more is by the largest remainder, of equal ones by the stream's order.
    """
    numbers: dict[tuple[str, int], list[int]] = {}
    for number, (topic, partition, _) in enumerate(places):
        numbers.setdefault((topic, partition), []).append(number)
    shares = {place: divmod(count * len(found), len(places)) for place, found in numbers.items()}
    left = count - sum(share for share, _ in shares.values())
    more = set(sorted(shares, key=lambda place: -shares[place][1])[:left])
    return [
        number
        for place, found in numbers.items()
        for number in found[len(found) - shares[place][0] - (place in more) :]
    ]


def split_by_place(
    x: Array, y: Array, places: Sequence[Place], *, validation_rate: float, test_rate: float, seed: int
) -> Dataset:
    """Divide a stream that may grow: each sample by its own place and `seed`, so that it never changes its part.

    The rates hold on average only. Raises ConfigError when nothing is left to train on.
    """
    lots = np.fromiter((lot(seed, place) for place in places), float, len(places))
    parts = np.full(len(x), _TRAINING)
    parts[lots < test_rate + validation_rate] = _VALIDATION
    parts[lots < test_rate] = _TEST
    return _divided(x, y, parts, fingerprint(x, y), validation_rate, test_rate)


def lot(seed: int, place: Place) -> float:
    """A number in [0, 1) that a sample draws for good: by its place and the seed alone, through sha256."""
    told = "\n".join(map(str, (seed, *place, "part")))
    return float((int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 11) / (1 << 53))


def _divided(x: Array, y: Array, parts: Array, sha256: str, validation_rate: float, test_rate: float) -> Dataset:
    training, validation, test = (LabelledSamples(x[parts == part], y[parts == part]) for part in range(3))
    if not len(training):
        raise ConfigError(
            f"the stream has {len(x)} usable records; VALIDATION_RATE {validation_rate:g} and TEST_RATE {test_rate:g} "
            "leave none of them to train on"
        )
    return Dataset(training, validation, test, sha256)
