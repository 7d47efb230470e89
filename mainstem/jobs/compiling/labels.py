"""The one place where a loss says what labels are: `input_of` writes it into the `opened` record, whence everybody
else has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from mainstem.jobs.compiling.specs import LOSS, parse
from mainstem.protocol.messages.parts import InputSpec

_SHARES: Final = ("BinaryCrossentropy", "BinaryFocalCrossentropy", "KLDivergence")
"""Losses whose labels are probabilities: Keras cuts off what is outside 0..1, or makes a loss below zero of it."""

_COUNTS: Final = ("Poisson", "MeanSquaredLogarithmicError")
"""Losses whose labels are at least 0: Keras cuts off what is below, or makes no sense of it."""

_NUMBERS: Final = ("CategoricalGeneralizedCrossEntropy", "Circle")
"""Losses that compare an output with a class' number, as those do whose names begin with Sparse."""


def input_of(shape: Sequence[int], dtype: str, output: Sequence[int], loss: Any) -> InputSpec:
    """What a model takes, and the labels that `loss` (a name or a Keras config) compares its output with.

    `shape` and `output` are those of one sample. Raises SettingError("loss").
    """
    spec, output = parse(LOSS, loss), tuple(output)
    classes = classes_of(loss, output)
    if spec.name == "CategoricalHinge" and output and output[-1] > 1:
        classes = output[-1]
    numbered = spec.name.startswith("Sparse") or spec.name in _NUMBERS
    bounded = classes is None and (numbered or spec.name in (*_SHARES, *_COUNTS))
    return InputSpec(
        shape=tuple(shape),
        dtype=dtype,
        label_shape=output[:-1] if numbered else output,
        label_dtype="int64" if numbered else "float32",
        classes=classes,
        label_low=0.0 if bounded else None,
        label_high=1.0 if bounded and spec.name in _SHARES else None,
        label_ignore=spec.config.get("ignore_class") if numbered else None,
    )


def classes_of(loss: Any, output: Sequence[int]) -> int | None:
    """How many classes the loss tells apart in one output of this shape; None where class weights mean nothing to it.

    Raises SettingError("loss").
    """
    name = parse(LOSS, loss).name.removeprefix("Sparse")
    if name.startswith("Categorical") and name != "CategoricalHinge" and output:
        return output[-1]
    if name in ("BinaryCrossentropy", "BinaryFocalCrossentropy") and math.prod(output) == 1:
        return 2
    return None
