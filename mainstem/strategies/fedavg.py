"""Federated averaging: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized
Data", AISTATS 2017 (arXiv:1602.05629), algorithm 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.blocks import BLOCK
from mainstem.errors import AggregationError, ConfigError

WEIGHTINGS = ("examples", "plain")


class FedAvg:
    """The mean of the clients' weights: by their numbers of examples, or `plain`.

    Floats accumulate in float64 in the order of `add` and are cast back once; integers and booleans keep the
    base's value. No BLAS takes part, so the same updates in the same order give the same bits on any machine.
    """

    name = "fedavg"

    def __init__(self, params: Mapping[str, Any]) -> None:
        unknown = set(params) - {"weighting"}
        if unknown:
            raise ConfigError(f"strategy.params.{sorted(unknown)[0]} is not a parameter of fedavg (only weighting is)")
        self._weighting = params.get("weighting", "examples")
        if self._weighting not in WEIGHTINGS:
            raise ConfigError(f"strategy.params.weighting must be one of {', '.join(WEIGHTINGS)}")

    def coefficient(self, examples: int) -> float:
        """An update's weight in the sum; exact for up to 2**53 examples."""
        return float(examples) if self._weighting == "examples" else 1.0

    def start(self, base: Sequence[NDArray[Any]]) -> FedAvgSum:
        """An empty sum for tensors like `base`."""
        return FedAvgSum(base)


class FedAvgSum:
    """A running weighted sum: memory is that of the tensors in float64, whatever the number of clients."""

    def __init__(self, base: Sequence[NDArray[Any]]) -> None:
        self._base = base
        self._sums = [np.zeros(t.size, np.float64) if t.dtype.kind == "f" else None for t in base]
        self._total = 0.0
        self._scratch = np.empty(min(BLOCK, max((t.size for t in base), default=0)), np.float64)

    def add(self, tensors: Sequence[NDArray[Any]], coefficient: float) -> None:
        """Add `coefficient * tensors`; the shapes are the base's."""
        for total, tensor in zip(self._sums, tensors, strict=True):
            if total is None:
                continue
            source = tensor.reshape(-1)
            for start in range(0, total.size, BLOCK):
                block = total[start : start + BLOCK]
                scratch = self._scratch[: block.size]
                scratch[...] = source[start : start + BLOCK]  # cast first: NumPy casts within a product slowly
                np.multiply(scratch, coefficient, out=scratch)
                np.add(block, scratch, out=block)
        self._total += coefficient

    def finish(self, into: Sequence[NDArray[Any]]) -> None:
        """Write the mean; raises AggregationError for an empty or overflowing sum."""
        if not self._total > 0:
            raise AggregationError("the accepted updates have no examples to weigh them by")
        for number, (base, mean) in enumerate(zip(self._base, into, strict=True)):
            total, self._sums[number] = self._sums[number], None  # freed as soon as it is cast
            if total is None:
                mean[...] = base
                continue
            np.divide(total, self._total, out=total)
            with np.errstate(over="ignore"):
                mean[...] = total.reshape(mean.shape)
            if mean.size and not np.isfinite(mean).all():
                raise AggregationError(f"the mean does not fit into {mean.dtype}")
