"""The reduction of fresh and late updates against NumPy: the mean of what they changed, done to the head's model."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.messages import Accepted, Base
from mainstem.modes import polynomial
from mainstem.reduction import reduce
from mainstem.strategies import make
from mainstem.weights import Tensor

BASES = [Base(seq=n, version=n) for n in range(5)]


def accepted(base: Base, examples: int, staleness: int) -> Accepted:
    """What a round would say of such an update."""
    return Accepted(
        client="c", offset=0, sha256="", record="", nbytes=0, base=base, number=0, examples=examples,
        coefficient=float(examples) * polynomial(staleness, 0.5), received_ms=0,
    )  # fmt: skip


def model(random: np.random.Generator, dtype: str) -> list[Tensor]:
    """A small model with an integer tensor."""
    return [
        (random.normal(size=(3, 2)) * 10).astype(dtype),
        random.normal(size=()).astype(dtype),
        random.integers(0, 9, 2),
    ]


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    updates=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10**6)), min_size=1, max_size=8),
)
def test_buffered_against_numpy(seed: int, dtype: str, updates: list[tuple[int, int]]) -> None:
    """new = head + sum c (update - base) / sum c, with c = examples / sqrt(1 + staleness), integers as the head's."""
    random = np.random.default_rng(seed)
    models = [model(random, dtype) for _ in BASES]
    head = models[-1]
    given_: list[tuple[Accepted, list[Tensor]]] = [
        (accepted(BASES[at], examples, 4 - at), model(random, dtype)) for at, examples in updates
    ]
    got = reduce(make("fedavg", {}), BASES[-1], head, given_, lambda base: models[base.seq])
    weights = np.array([examples / np.sqrt(5 - at) for at, examples in updates])
    for i in (0, 1):
        deltas = np.stack([u[i].astype(np.float64) - models[a.base.seq][i] for a, u in given_])
        expected = head[i] + np.tensordot(weights, deltas, 1) / weights.sum()
        assert got[i].dtype == head[i].dtype
        scale = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(got[i], expected, atol=scale * 4, rtol=scale)
    assert np.array_equal(got[2], head[2])


def test_fresh_updates_alone_are_the_plain_mean() -> None:
    """Where every update starts from the head, buffered gives the bits of sync."""
    random = np.random.default_rng(1)
    head = model(random, "float32")
    given_: list[tuple[Accepted, list[Tensor]]] = [(accepted(BASES[4], n, 0), model(random, "float32")) for n in (1, 3)]

    def nothing_else(base: Base) -> Any:
        raise AssertionError(base)

    total = make("fedavg", {}).start(head)
    for item, tensors in given_:
        total.add(tensors, item.coefficient)
    got = reduce(make("fedavg", {}), BASES[4], head, given_, nothing_else)
    assert [t.tobytes() for t in got] == [t.tobytes() for t in total.finish()]


def test_a_client_that_changed_nothing_changes_nothing() -> None:
    """An update equal to its old base leaves the head where it is, to the bit."""
    random = np.random.default_rng(2)
    head, old = model(random, "float32"), model(random, "float32")
    got = reduce(make("fedavg", {}), BASES[4], head, [(accepted(BASES[2], 7, 2), old)], lambda base: old)
    assert [t.tobytes() for t in got] == [t.tobytes() for t in head]
