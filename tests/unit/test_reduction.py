"""The reduction of fresh and late updates against NumPy: the mean of what they changed, done to the head's model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem import reduction
from mainstem.blocks import blocks, reader
from mainstem.errors import AggregationError
from mainstem.messages import Accepted, Base
from mainstem.modes import polynomial
from mainstem.reduction import reduce, reduce_in_blocks
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
    plain: list[Tensor] = [np.empty(t.shape, t.dtype) for t in head]
    total.finish(plain)
    got = reduce(make("fedavg", {}), BASES[4], head, given_, nothing_else)
    assert [t.tobytes() for t in got] == [t.tobytes() for t in plain]


def test_a_client_that_changed_nothing_changes_nothing() -> None:
    """An update equal to its old base leaves the head where it is, to the bit."""
    random = np.random.default_rng(2)
    head, old = model(random, "float32"), model(random, "float32")
    got = reduce(make("fedavg", {}), BASES[4], head, [(accepted(BASES[2], 7, 2), old)], lambda base: old)
    assert [t.tobytes() for t in got] == [t.tobytes() for t in head]


SHAPES = st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=6)


@given(shapes=SHAPES, elements=st.integers(1, 40))
def test_blocks_hold_each_element_once(shapes: list[tuple[int, ...]], elements: int) -> None:
    """In order, none too long, all but the last one full: large tensors are cut, small ones go together."""
    tensors: list[Tensor] = [np.zeros(shape, np.float32) for shape in shapes]
    made = list(blocks(tensors, elements))
    places = [(p.tensor, at) for block in made for p in block for at in range(p.start, p.stop)]
    assert places == [(number, at) for number, tensor in enumerate(tensors) for at in range(tensor.size)]
    sizes = [sum(p.stop - p.start for p in block) for block in made]
    assert all(size == elements for size in sizes[:-1]) and all(0 < size <= elements for size in sizes[-1:])


@settings(max_examples=60)
@given(
    shapes=SHAPES,
    dtypes=st.lists(st.sampled_from(["float16", "float32", "float64", "int32", "bool"]), min_size=6, max_size=6),
    clients=st.integers(1, 7),
    elements=st.integers(1, 40),
    threads=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_blocks_and_threads_change_no_bit(
    shapes: list[tuple[int, ...]], dtypes: list[str], clients: int, elements: int, threads: int, seed: int
) -> None:
    """Block by block over any number of threads the mean has the bytes that the whole fold gives."""
    random = np.random.default_rng(seed)
    versions: list[list[Tensor]] = [
        [np.asarray(random.normal(size=s) * 10).astype(d) for s, d in zip(shapes, dtypes, strict=False)]
        for _ in range(clients + 1)
    ]
    head, *updates = versions
    told = [accepted(BASES[0], 1 + number, 0) for number in range(clients)]
    want = reduce(make("fedavg", {}), BASES[0], head, zip(told, updates, strict=True), lambda base: head)
    readers = [(item, reader(update)) for item, update in zip(told, updates, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "BLOCK", elements)
        got = reduce_in_blocks(make("fedavg", {}), head, readers, threads)
    assert [(t.dtype, t.shape, t.tobytes()) for t in got] == [(t.dtype, t.shape, t.tobytes()) for t in want]


def test_a_block_that_overflows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One element out of range in one thread's block makes the whole reduction fail."""
    monkeypatch.setattr(reduction, "BLOCK", 4)
    head: list[Tensor] = [np.zeros(17, np.float16)]
    large: list[Tensor] = [np.zeros(17, np.float64)]
    large[0][13] = 1e6
    with pytest.raises(AggregationError, match="does not fit into float16"):
        reduce_in_blocks(make("fedavg", {}), head, [(accepted(BASES[0], 1, 0), reader(large))], 2)
