"""Keras' metrics, with one rule more: where a metric has no value, it is NaN and not 0.

Keras divides "without NaN": the AUC of samples of one class, the precision of a model that found nothing, the R2 of
equal labels are all 0 to it, and 0 is a value that a federation's mean would count. What came out is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import keras
import numpy as np
from keras import ops

Rule = Callable[[Any], Any]
"""For a metric with its state: where its result has no value, as a boolean of the result's shape (or all of it)."""


def values_of(logs: Mapping[str, Any]) -> tuple[dict[str, float], tuple[str, ...]]:
    """What Keras measured as numbers by name, and the names of what has no value.

    A metric of several values (one a class, or a threshold) becomes `name[0]`, `name[1]`, ...
    """
    found: dict[str, float] = {}
    for name, value in logs.items():
        array = np.asarray(value, "float64")
        if array.ndim == 0:
            found[name] = float(array)
        else:
            found |= {f"{name}[{index}]": float(one) for index, one in enumerate(array.reshape(-1))}
    return (
        {name: value for name, value in found.items() if math.isfinite(value)},
        tuple(name for name, value in found.items() if not math.isfinite(value)),
    )


@cache
def defined(name: str) -> Any:
    """The metric's class, whose results are NaN where it has no value."""
    base = getattr(keras.metrics, name)
    if name == "R2Score":
        return type(name, (_Varying, base), {})
    if name in _RULES:
        return type(name, (_Judging, base), {"rule": staticmethod(_RULES[name])})
    if name in _COUNTS:
        return type(name, (_Counting, base), {"lacks": staticmethod(_COUNTS[name])})
    return base


class _Judging:
    """Asks `rule` about the metric's own state."""

    rule: Rule

    def result(self) -> Any:
        """The metric's result, NaN where it has none."""
        value = super().result()  # type: ignore[misc]
        return ops.where(self.rule(self), ops.cast(np.nan, value.dtype), value)


class _Counting:
    """Counts the samples for which the metric has no value; with any, it has none itself."""

    lacks: Callable[[Any, Any, Any], Any]

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.without = self.add_variable(shape=(), initializer="zeros", name="without")  # type: ignore[attr-defined]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count, then measure."""
        truth, given = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        found = ops.sum(ops.cast(self.lacks(self, truth, given), self.without.dtype))
        self.without.assign(self.without + found)
        return super().update_state(y_true, y_pred, sample_weight)  # type: ignore[misc]

    def result(self) -> Any:
        """The metric's result, NaN where it has none."""
        value = super().result()  # type: ignore[misc]
        return ops.where(self.without > 0, ops.cast(np.nan, value.dtype), value)

    def reset_state(self) -> None:
        """As before the first sample."""
        super().reset_state()  # type: ignore[misc]
        self.without.assign(0.0)


class _Varying:
    """R2 compares with the labels' own variance: of equal labels it has none."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.least: Any = None
        self.most: Any = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Keep each output's least and most, then measure."""
        truth = ops.reshape(ops.cast(y_true, "float32"), (-1, y_pred.shape[-1]))
        if self.least is None:
            options = {"shape": (y_pred.shape[-1],), "dtype": "float32"}
            self.least = self.add_variable(initializer=_constant_of(np.inf), name="least", **options)  # type: ignore[attr-defined]
            self.most = self.add_variable(initializer=_constant_of(-np.inf), name="most", **options)  # type: ignore[attr-defined]
        self.least.assign(ops.minimum(self.least, ops.min(truth, axis=0)))
        self.most.assign(ops.maximum(self.most, ops.max(truth, axis=0)))
        return super().update_state(y_true, y_pred, sample_weight)  # type: ignore[misc]

    def result(self) -> Any:
        """The metric's result, NaN where it has none."""
        value = super().result()  # type: ignore[misc]
        equal = self.most <= self.least
        aggregation = self.class_aggregation  # type: ignore[attr-defined]
        if aggregation is not None:
            equal = ops.any(equal) if aggregation == "uniform_average" else ops.all(equal)
        return ops.where(equal, ops.cast(np.nan, value.dtype), value)

    def reset_state(self) -> None:
        """As before the first sample."""
        super().reset_state()  # type: ignore[misc]
        if self.least is not None:
            self.least.assign(ops.full_like(self.least, np.inf))
            self.most.assign(ops.full_like(self.most, -np.inf))


def _constant_of(value: float) -> Any:
    return keras.initializers.Constant(value)


def _positives(metric: Any) -> Any:
    return metric.true_positives[0] + metric.false_negatives[0]


def _negatives(metric: Any) -> Any:
    return metric.true_negatives[0] + metric.false_positives[0]


def _auc(metric: Any) -> Any:
    # for several labels it is the mean over them, so that each needs both classes
    lacking = _positives(metric) == 0
    if str(metric.curve.value) != "PR":
        lacking = ops.logical_or(lacking, _negatives(metric) == 0)
    return ops.any(lacking)


def _one_class(metric: Any) -> Any:
    return ops.logical_or(_positives(metric) == 0, _negatives(metric) == 0)


def _by_threshold(metric: Any, other: Any) -> Any:
    lacking = metric.true_positives + other == 0
    return lacking[0] if len(metric.thresholds) == 1 else lacking


def _f_score(metric: Any) -> Any:
    if metric.average == "weighted":
        return ops.sum(metric.intermediate_weights) == 0
    lacking = metric.true_positives + metric.false_positives + metric.false_negatives == 0
    return ops.any(lacking) if metric.average == "macro" else lacking


def _overlap(metric: Any) -> Any:
    matrix = metric.total_cm
    union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - ops.diag(matrix)
    return ops.all(ops.take(union, ops.convert_to_tensor(metric.target_class_ids, "int32")) == 0)


def _constant(metric: Any, truth: Any, given: Any) -> Any:
    """Along the axis, of each sample: the correlation with a constant is 0 / 0."""
    return ops.logical_or(_spread(truth, metric.axis) == 0, _spread(given, metric.axis) == 0)


def _spread(values: Any, axis: int) -> Any:
    return ops.max(values, axis=axis) - ops.min(values, axis=axis)


def _without_direction(metric: Any, truth: Any, given: Any) -> Any:
    axis = metric._fn_kwargs["axis"]
    return ops.logical_or(ops.all(truth == 0, axis=axis), ops.all(given == 0, axis=axis))


_RULES: Final[dict[str, Rule]] = {
    "AUC": _auc,
    "SensitivityAtSpecificity": _one_class,
    "SpecificityAtSensitivity": _one_class,
    "PrecisionAtRecall": lambda metric: _positives(metric) == 0,
    "RecallAtPrecision": lambda metric: _positives(metric) == 0,
    "Precision": lambda metric: _by_threshold(metric, metric.false_positives),
    "Recall": lambda metric: _by_threshold(metric, metric.false_negatives),
    "F1Score": _f_score,
    "FBetaScore": _f_score,
    **dict.fromkeys(("BinaryIoU", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"), _overlap),
}
_COUNTS: Final[dict[str, Callable[[Any, Any, Any], Any]]] = {
    "PearsonCorrelation": _constant,
    "ConcordanceCorrelation": _constant,
    "CosineSimilarity": _without_direction,
    "MeanAbsolutePercentageError": lambda metric, truth, given: truth == 0,
}
