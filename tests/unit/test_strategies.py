"""FedAvg against NumPy in float64, and the same bits from any machine and order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mainstem import strategies
from mainstem.blocks import BLOCK
from mainstem.errors import AggregationError, ConfigError
from mainstem.weights import Tensor, digest, specs_of
from tests.support.federations import reference_mean


def reduce(base: Sequence[Tensor], updates: Sequence[tuple[Sequence[Tensor], int]], **params: Any) -> list[Tensor]:
    """One round of fedavg."""
    strategy = strategies.make("fedavg", params)
    total = strategy.start(base)
    for tensors, examples in updates:
        total.add(tensors, strategy.coefficient(examples))
    result: list[Tensor] = [np.empty(tensor.shape, tensor.dtype) for tensor in base]
    total.finish(result)
    return result


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("clients", [1, 2, 3, 50])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (BLOCK - 1,), (BLOCK + 1,), (3, 5, 4)])
def test_equals_numpy(dtype: Any, clients: int, shape: tuple[int, ...]) -> None:
    """The weighted and the plain mean are NumPy's float64 mean, cast once."""
    random = np.random.default_rng(clients)
    values: list[Tensor] = [np.asarray(random.normal(0.5, 2, shape)).astype(dtype) for _ in range(clients)]
    examples = [int(n) for n in random.integers(1, 10_000, clients)]
    base: list[Tensor] = [np.zeros(shape, dtype)]
    tolerance = {2: 1e-3, 4: 1e-6, 8: 1e-12}[np.dtype(dtype).itemsize]
    for params, weights in (({}, examples), ({"weighting": "plain"}, [1] * clients)):
        (mean,) = reduce(base, [([v], n) for v, n in zip(values, examples, strict=True)], **params)
        assert mean.dtype == dtype and mean.shape == shape
        np.testing.assert_allclose(mean, reference_mean(values, weights).astype(dtype), rtol=tolerance, atol=tolerance)


@given(
    st.lists(
        st.tuples(hnp.arrays(np.float32, 5, elements=st.floats(-1e3, 1e3, width=32)), st.integers(1, 1000)),
        min_size=2,
        max_size=4,
    )
)
def test_committed_bytes_do_not_depend_on_arrival(updates: list[tuple[Tensor, int]]) -> None:
    """Updates are folded in the order of their sha256, so every order of arrival gives the same bytes."""
    base: list[Tensor] = [np.zeros(5, np.float32)]
    specs = specs_of([("t", base[0])])
    results = set()
    for order in itertools.permutations(updates):
        chosen = sorted(order, key=lambda u: (digest(specs, [u[0]]), u[1]))
        results.add(reduce(base, [([v], n) for v, n in chosen])[0].tobytes())
    assert len(results) == 1


def test_blocks_change_nothing() -> None:
    """The sum in blocks is bit for bit the sum element by element."""
    random = np.random.default_rng(0)
    values = [random.normal(size=2 * BLOCK + 17).astype(np.float32) for _ in range(3)]
    (mean,) = reduce([np.zeros_like(values[0])], [([v], n) for v, n in zip(values, (3, 5, 11), strict=True)])
    plain = np.zeros(values[0].size)
    for value, n in zip(values, (3.0, 5.0, 11.0), strict=True):
        plain = plain + value.astype(np.float64) * n
    assert mean.tobytes() == (plain / 19.0).astype(np.float32).tobytes()


def test_layouts_change_nothing() -> None:
    """Column order, strides and views give the same bytes as contiguous memory."""
    plain = np.arange(12, dtype=np.float32).reshape(3, 4)
    odd = np.zeros((3, 8), np.float32)[:, ::2]
    odd[...] = plain
    base: list[Tensor] = [np.asfortranarray(np.zeros((3, 4), np.float32))]
    want = reduce(base, [([plain], 3), ([plain * 2], 1)])[0].tobytes()
    assert reduce(base, [([np.asfortranarray(plain)], 3), ([odd * 2], 1)])[0].tobytes() == want
    assert reduce(base, [([odd], 3), ([plain * 2], 1)])[0].tobytes() == want


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint32", "bool"])
def test_integers_and_booleans_keep_the_base(dtype: str) -> None:
    """Counters and masks are no means: the base's value stays, as a copy."""
    base: list[Tensor] = [np.ones(3, dtype), np.array(1, dtype), np.zeros(2, np.float32)]
    update: list[Tensor] = [np.zeros(3, dtype), np.array(0, dtype), np.ones(2, np.float32)]
    kept, scalar, mean = reduce(base, [(update, 5)])
    assert kept.dtype == dtype and (kept == 1).all() and scalar == 1 and (mean == 1).all()
    assert not np.shares_memory(kept, base[0])


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65504.0), ("float32", 3e38), ("float64", 1e290)])
def test_large_numbers_that_fit(dtype: str, value: float) -> None:
    """The mean of the largest accepted numbers is themselves: the sum does not overflow on the way."""
    tensors: list[Tensor] = [np.full(3, value, dtype)]
    (mean,) = reduce([np.zeros(3, dtype)], [(tensors, 10**6), (tensors, 10**6)])
    assert (mean == tensors[0]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_and_emptiness_are_errors() -> None:
    """What does not fit into the dtype, and a round without examples, raise AggregationError."""
    huge: list[Tensor] = [np.full(2, 1e308)]
    with pytest.raises(AggregationError, match="does not fit"):
        reduce([np.zeros(2)], [(huge, 1000)])
    with pytest.raises(AggregationError, match="no examples"):
        reduce([np.zeros(2)], [])
    wide: list[Tensor] = [np.full(2, 1e6)]
    with pytest.raises(AggregationError, match="does not fit into float16"):
        reduce([np.zeros(2, np.float16)], [(wide, 1)])


@pytest.mark.parametrize(
    ("name", "params", "word"),
    [
        ("fedsum", {}, "strategy.name"),
        ("fedavg", {"weight": 1}, "strategy.params.weight"),
        ("fedavg", {"weighting": "none"}, "strategy.params.weighting"),
        ("fedavg", {"weighting": ["plain"]}, "strategy.params.weighting"),
        ("fedavg", {"weighting": None}, "strategy.params.weighting"),
    ],
)
def test_wrong_names_and_parameters(name: str, params: dict[str, Any], word: str) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=word):
        strategies.make(name, params)
