"""A site's own model with Keras: drawn to the federation's as NumPy says, and a pure function of what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from federated_training.job.ditto import DITTO, Ditto
from mainstem.protocol.weights import Tensor, digest
from tests.training.bench import Bench, samples

pytestmark = pytest.mark.training


def shifted(tensors: Sequence[Tensor], by: float) -> list[Tensor]:
    """Floats moved by so much."""
    return [tensor + np.array(by, tensor.dtype) if tensor.dtype.kind == "f" else tensor for tensor in tensors]


def test_the_own_model_is_drawn_to_the_version() -> None:
    """Plain SGD on softmax by the gradient plus lambda (v - w), step by step in float64: first from the version, then
    from what was kept, drawn to the next version."""
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "metrics": (), "shuffle": False}
    bench, data, strength = Bench(stateful=False, **settings), samples(), 0.7
    engine = bench.engine()
    first = bench.tensors
    second = shifted(first, 0.05)

    def by_numpy(own: Sequence[Tensor], version: Sequence[Tensor]) -> list[Any]:
        toward = [tensor.astype("float64") for tensor in version]
        kernel, bias = (tensor.astype("float64") for tensor in own)
        for _ in range(2):
            for at in range(0, len(data.training), 16):
                x, y = data.training.x[at : at + 16].astype("float64"), data.training.y[at : at + 16]
                scores = np.exp(x @ kernel + bias)
                error = (scores / scores.sum(axis=1, keepdims=True) - y) / len(x)
                kernel = kernel - 0.1 * (x.T @ error + strength * (kernel - toward[0]))
                bias = bias - 0.1 * (error.sum(axis=0) + strength * (bias - toward[1]))
        return [kernel, bias]

    ditto = Ditto(engine, strength)
    ditto.begin(first, {})
    own = ditto.train(data, 0, lambda share: None).tensors
    assert all(np.allclose(a, b, rtol=0, atol=2e-6) for a, b in zip(own, by_numpy(first, first), strict=True))
    ditto.begin(second, {DITTO: own})
    assert ditto.evaluate(data.held_out) == ditto.evaluate(data.held_out)
    after = ditto.train(data, 1, lambda share: None).tensors
    assert all(np.allclose(a, b, rtol=0, atol=2e-6) for a, b in zip(after, by_numpy(own, second), strict=True))


def test_the_own_model_depends_on_nothing_but_what_was_kept() -> None:
    """With dropout, batch normalization and Adam: another process that was given the same comes to the same bytes."""
    bench, data = Bench(), samples()
    one, other = Ditto(bench.engine(), 0.3), Ditto(bench.engine(), 0.3)
    first = bench.tensors
    second = shifted(first, 0.01)
    one.begin(first, {})
    kept = one.train(data, 0, lambda share: None).tensors
    found = []
    for ditto in (one, other):
        ditto.begin(second, {DITTO: kept})
        found.append(digest(bench.specs, ditto.train(data, 3, lambda share: None).tensors))
    assert len(set(found)) == 1 and found[0] != digest(bench.specs, kept)
