"""Which values a model's layers take: what is outside drops out of the sum, is truncated, or ends training.

Keras checks none of this: `CategoryEncoding` and `one_hot` make a row of zeros of an unknown class, `Embedding` takes
-1 as its last row and 2.7 as 2 and fails on what is too large, `RandomBrightness` cuts off above its `value_range`,
and a whole number above 2**24 is rounded by the first layer that computes in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Reach = Callable[[Array], Any]
"""From samples to the values that reach a layer."""

_EXACT: Final = {"float16": 1 << 11, "bfloat16": 1 << 8, "float32": 1 << 24, "float64": 1 << 53}
_WRAPPERS: Final = ("TimeDistributed", "SpectralNormalization")


@dataclass(frozen=True, slots=True)
class _Bound:
    """`low` to `high`, whole numbers where `whole`, is what `layer` takes; `advice` says how to mend it."""

    layer: str
    low: float
    high: float
    whole: bool
    advice: str

    def outside(self, values: Array) -> Array:
        """Which of them the layer does not take."""
        bad = (values < self.low) | (values > self.high)
        return bad | (values != np.trunc(values)) if self.whole and values.dtype.kind == "f" else bad

    def told(self, value: Any, at: int) -> str:
        """What is wrong with `value`, the `at`-th of those that reach the layer."""
        kind, got = "whole numbers " if self.whole else "", f"{value:.15g} at position {at}"
        span = "alone" if math.isinf(self.high) else f"{self.low:.15g} to {self.high:.15g}"
        return f"{self.layer} takes {kind}{span}, but gets {got}{self.advice}"


class ValueRanges:
    """Judges samples by what reaches the layers of one model."""

    def __init__(self, model: Any) -> None:
        self._watched = list(_watched(model))

    def judge(self, x: Array) -> list[tuple[int, str]]:
        """(number, reason) of the samples (n, *input shape) with a value that a layer does not take, in order."""
        reasons: dict[int, str] = {}
        for bound, reach in self._watched if len(x) else ():
            values = np.asarray(reach(x))
            values = values.reshape(len(values), -1)
            bad = bound.outside(values)
            for number in np.flatnonzero(bad.any(axis=1)).tolist():
                at = int(bad[number].argmax())
                reasons.setdefault(number, bound.told(values[number, at].item(), at))
        return sorted(reasons.items())


def sample_dtype(model: Any) -> str:
    """The type that the model's first layers compute with, where its input is a wider floating one."""
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if dtype != "float64":
        return str(dtype)
    first = [node.operation for node in _nodes(model) if any(t is model.inputs[0] for t in _tensors(node))]
    wide = all(getattr(operation, "compute_dtype", dtype) == dtype for operation in first)
    return "float64" if wide else "float32"


def _watched(model: Any, outer: str = "") -> Iterator[tuple[_Bound, Reach]]:
    """Every bound of the model, with the function from samples to the values that reach it."""
    for node in _nodes(model):
        tensors = _tensors(node)
        if not tensors:
            continue
        inside = hasattr(node.operation, "_nodes_by_depth") or getattr(node.operation, "_functional", None) is not None
        bound = None if inside else _bound(node, tensors[0], outer)
        if bound is None and not inside:
            continue
        reach = _reach(model, tensors[0])
        if reach is None:
            continue
        if bound is not None:
            yield bound, reach
        else:
            for inner, further in _watched(node.operation, f"{outer}{node.operation.name}/"):
                yield inner, _after(reach, further)


def _after(first: Reach, then: Reach) -> Reach:
    return lambda x: then(first(x))


def _nodes(model: Any) -> list[Any]:
    functional = getattr(model, "_functional", None) or model
    depths = sorted(functional._nodes_by_depth.items(), reverse=True)
    return [node for _, nodes in depths for node in nodes]


def _tensors(node: Any) -> list[Any]:
    return list(node.arguments.keras_tensors) if node.arguments is not None else []


def _reach(model: Any, tensor: Any) -> Reach | None:
    """From samples to `tensor`; None where weights have a say in it, so that the values are not the data's."""
    functional = getattr(model, "_functional", None) or model
    if tensor is functional.inputs[0]:
        return lambda x: x
    part = keras.Model(functional.inputs, tensor)
    return None if part.weights else lambda x: part.predict_on_batch(np.asarray(x))


def _bound(node: Any, tensor: Any, outer: str) -> _Bound | None:
    operation = node.operation
    kind, inner = type(operation).__name__, operation
    while kind in _WRAPPERS:
        inner = inner.layer
        kind = type(inner).__name__
    name = f"layer {outer + operation.name!r} ({kind})"
    if kind in ("Embedding", "ReversibleEmbedding") and not node.arguments.kwargs.get("reverse"):
        return _Bound(name, 0, inner.input_dim - 1, True, f"; its input_dim is {inner.input_dim}")
    if kind == "CategoryEncoding":
        return _Bound(name, 0, inner.num_tokens - 1, True, f"; its num_tokens is {inner.num_tokens}")
    if kind in ("OneHot", "MultiHot"):
        return _Bound(name, 0, inner.num_classes - 1, True, f"; its num_classes is {inner.num_classes}")
    if kind == "Hashing":
        return _Bound(name, -math.inf, math.inf, True, "; it cuts off fractions")
    if kind in ("Discretization", "HashedCrossing"):
        return None
    if kind == "Pipeline":
        inner = next((part for part in inner.layers if hasattr(part, "value_range")), inner)
    if (limits := getattr(inner, "value_range", None)) is not None:
        return _Bound(name, float(limits[0]), float(limits[1]), False, "; it cuts off what is outside its value_range")
    given, made = (keras.backend.standardize_dtype(t.dtype) for t in (tensor, node.outputs[0]))
    if "int" in given and made in _EXACT:
        limit = _EXACT[getattr(inner, "compute_dtype", made)]
        return _Bound(name, -limit, limit, True, f"; beyond that {made} rounds whole numbers")
    return None
