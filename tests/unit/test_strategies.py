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

from mainstem.aggregation import reduction, strategies
from mainstem.aggregation.blocks import BLOCK, reader
from mainstem.aggregation.reduction import Counted, Reduction
from mainstem.aggregation.strategies import Claim
from mainstem.errors import AggregationError, ConfigError
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.messages import Rules, StrategyChoice
from mainstem.protocol.weights import Tensor, digest, specs_of
from mainstem.rounds import policy
from tests.support.federations import reference_mean
from tests.support.strategies import carried, said


def reduce(base: Sequence[Tensor], updates: Sequence[tuple[Sequence[Tensor], int]], **params: Any) -> list[Tensor]:
    """One round of fedavg."""
    return one_round("fedavg", params, base, updates).tensors


def one_round(
    name: str, params: dict[str, Any], base: Sequence[Tensor], updates: Sequence[tuple[Sequence[Tensor], int]],
    state: dict[str, list[Tensor]] | None = None, untrained: Sequence[int] = (), threads: int = 1, round_: int = 1,
) -> Reduction:  # fmt: skip
    """One round of any strategy; see `said` for what updates claim, and carry beside the model."""
    strategy = strategies.make(name, params)
    model = exchange_of(specs_of((f"t{i}", t) for i, t in enumerate(base)), untrained=untrained)
    specs = exchange_of(model.model, strategy.groups(model), untrained)
    counted = []
    for n, (tensors, examples) in enumerate(updates):
        extra = [carried(tensors[number]).astype(s.dtype) for g in specs.up
                 for number, s in zip(specs.trained, g.tensors, strict=True)]  # fmt: skip
        counted.append(Counted(Claim(f"c{n}", examples, **said(examples)), reader([*tensors, *extra])))
    return reduction.reduce(strategy, specs, base, counted, state or {}, round_, threads)


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
    for params, weights in (({}, examples), ({"weigh": "equal"}, [1] * clients)):
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
    with pytest.raises(AggregationError, match="no examples"):
        one_round("median", {}, [np.zeros(2)], [])
    wide: list[Tensor] = [np.full(2, 1e6)]
    with pytest.raises(AggregationError, match="does not fit into float16"):
        reduce([np.zeros(2, np.float16)], [(wide, 1)])


@pytest.mark.parametrize(
    ("name", "params", "word"),
    [
        ("fedsum", {}, "strategy.name"),
        ("fedavg", {"weight": 1}, "strategy.params.weight"),
        ("fedavg", {"weigh": "none"}, "strategy.params.weigh"),
        ("fedavg", {"weigh": ["equal"]}, "strategy.params.weigh"),
        ("fedavg", {"weigh": None}, "strategy.params.weigh"),
    ],
)
def test_wrong_names_and_parameters(name: str, params: dict[str, Any], word: str) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=word):
        strategies.make(name, params)


# ---------------------------------------------------------------- fedadam
def batch(seed: int, clients: int, dtype: str = "float32") -> tuple[list[Tensor], list[tuple[list[Tensor], int]]]:
    """A model with an integer tensor and an untrained one, and updates of it."""
    random = np.random.default_rng(seed)

    def model(scale: float) -> list[Tensor]:
        return [
            np.asarray(random.normal(size=(4, 3)) * scale).astype(dtype),
            np.abs(np.asarray(random.normal(size=3) * scale)).astype(dtype),
            random.integers(0, 9, 2),
            np.asarray(random.normal(size=()) * scale).astype(dtype),
        ]

    return model(1.0), [(model(2.0), int(random.integers(1, 100))) for _ in range(clients)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fedadam_equals_numpy_over_rounds(dtype: str) -> None:
    """The paper's lines in NumPy, three rounds on; what no gradient trains is the plain mean, a variance stays one."""
    params = {"server_learning_rate": 0.5, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}
    model, _ = batch(0, 0, dtype)
    kept: dict[str, list[Tensor]] = {}
    m = [np.zeros((4, 3)), np.zeros(())]
    v = [np.zeros((4, 3)), np.zeros(())]
    precise = dtype if dtype == "float64" else "float32"
    for round_ in range(1, 4):
        _, updates = batch(round_, 4, dtype)
        made = one_round("fedadam", params, model, updates, kept, untrained=[1], round_=round_)
        means = [np.average([u[i].astype(float) for u, _ in updates], 0, [n for _, n in updates]) for i in (0, 1, 3)]
        for place, (i, mean) in enumerate(((0, means[0]), (3, means[2]))):
            change = mean - model[i]
            m[place] = 0.8 * m[place] + 0.2 * change
            v[place] = 0.95 * v[place] + 0.05 * change**2
            expected = model[i] + 0.5 * m[place] / (np.sqrt(v[place]) + 0.01)
            tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
            np.testing.assert_allclose(made.tensors[i], expected, rtol=tolerance, atol=tolerance)
            m[place], v[place] = m[place].astype(precise).astype(float), v[place].astype(precise).astype(float)
            for name, moment in (("adam_m", m), ("adam_v", v)):
                assert made.state[name][place].dtype == precise
                np.testing.assert_allclose(made.state[name][place], moment[place], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(made.tensors[1], means[1].astype(dtype), rtol=1e-3)
        assert (made.tensors[1] >= 0).all() and np.array_equal(made.tensors[2], model[2])
        model, kept = made.tensors, made.state


# ---------------------------------------------------------------- median
@given(seed=st.integers(0, 2**32), clients=st.integers(1, 9), threads=st.integers(1, 3))
def test_median_equals_numpy(seed: int, clients: int, threads: int) -> None:
    """Element by element, in any order of arrival and by any number of threads, to the bit."""
    model, updates = batch(seed, clients)
    made = one_round("median", {}, model, updates, threads=threads)
    for i in (0, 1, 3):
        expected = np.median(np.stack([u[i].astype(np.float64) for u, _ in updates]), axis=0).astype(np.float32)
        np.testing.assert_array_equal(made.tensors[i], expected)
    turned = one_round("median", {}, model, updates[::-1])
    assert [t.tobytes() for t in turned.tensors] == [t.tobytes() for t in made.tensors]


def test_a_median_of_zeros_has_one_sign() -> None:
    """+0 and -0 are equal to a sort, so they may not differ in the result."""
    base: list[Tensor] = [np.zeros(3, np.float32)]
    signs: list[list[Tensor]] = [[np.full(3, value, np.float32)] for value in (-0.0, 0.0, -0.0)]
    results = {
        one_round("median", {}, base, [(update, 1) for update in order]).tensors[0].tobytes()
        for order in itertools.permutations(signs)
    }
    assert results == {np.zeros(3, np.float32).tobytes()}


# ---------------------------------------------------------------- krum
@given(seed=st.integers(0, 2**32), f=st.integers(0, 2), more=st.integers(0, 3), threads=st.integers(1, 3))
def test_krum_equals_numpy(seed: int, f: int, more: int, threads: int) -> None:
    """The version is the update whose nearest others are nearest, as float64 has it; hostile ones are not chosen."""
    model, updates = batch(seed, 2 * f + 3 + more)
    for update, _ in updates[:f]:
        update[0] += 50
    made = one_round("krum", {"byzantine": f}, model, updates, threads=threads)
    flat = np.stack([np.concatenate([u[i].reshape(-1) for i in (0, 1, 3)]).astype(np.float64) for u, _ in updates])
    distances = ((flat[:, None] - flat[None]) ** 2).sum(-1)
    scores = np.sort(distances, axis=1)[:, 1 : len(updates) - f - 1].sum(1)
    np.testing.assert_allclose([w.score or 0.0 for w in made.weighing], scores, rtol=1e-3, atol=1e-3)
    (chosen,) = [n for n, w in enumerate(made.weighing) if not w.left_out]
    assert made.weighing[chosen].coefficient == 1.0 and chosen >= f
    assert scores[chosen] <= scores.min() * (1 + 1e-3) + 1e-3
    for i in (0, 1, 3):
        np.testing.assert_array_equal(made.tensors[i], updates[chosen][0][i])
    assert np.array_equal(made.tensors[2], model[2])


@given(seed=st.integers(0, 2**32), elements=st.integers(1, 50))
def test_krum_chooses_one_client_whatever_the_blocks(seed: int, elements: int) -> None:
    """Scores are exact integers: blocks, order and threads change neither a score nor the choice."""
    model, updates = batch(seed, 7)
    want = one_round("krum", {"byzantine": 2}, model, updates)
    scores = {u[0][0].tobytes(): w.score for u, w in zip(updates, want.weighing, strict=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "SMALLEST", 1)
        patch.setattr(reduction, "GATHERED", 7 * elements)
        turned = updates[::-1]
        got = one_round("krum", {"byzantine": 2}, model, turned, threads=2)
    assert {u[0][0].tobytes(): w.score for u, w in zip(turned, got.weighing, strict=True)} == scores
    assert [t.tobytes() for t in got.tensors] == [t.tobytes() for t in want.tensors]


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 1.0, 3e38])
def test_krum_of_any_size(size: float) -> None:
    """Changes of zero, of the smallest and of the largest numbers have scores that a record can hold."""
    base: list[Tensor] = [np.zeros(5, np.float32)]
    updates: list[tuple[list[Tensor], int]] = [([np.full(5, size * part, np.float32)], 1) for part in (0.2, 0.3, 1.0)]
    made = one_round("krum", {"byzantine": 0}, base, updates)
    assert all(w.score is not None and 0 <= w.score <= 1e200 for w in made.weighing)
    assert [bool(w.left_out) for w in made.weighing] == [False, True, True]


def test_too_few_for_krum() -> None:
    """A round below 2 f + 3 updates is refused, whoever reduces it."""
    model, updates = batch(1, 4)
    with pytest.raises(AggregationError, match="needs 5 updates; the round has 4"):
        one_round("krum", {"byzantine": 1}, model, updates)


# ---------------------------------------------------------------- what goes together
@pytest.mark.parametrize(
    ("name", "params", "rules", "word"),
    [
        ("krum", {}, Rules(min_clients=4), "min_clients must be at least 5"),
        ("krum", {"byzantine": 3}, Rules(min_clients=20, quorum=8), "quorum must be at least 9"),
        ("krum", {}, Rules(min_clients=9, target=3), "target must be at least 5"),
        ("krum", {"byzantine": 0}, Rules(mode="buffered", min_clients=5), "mode must be sync"),
        ("median", {}, Rules(mode="async"), "mode must be sync"),
        ("krum", {"byzantine": -1}, Rules(min_clients=9), "strategy.params.byzantine"),
        ("fedadam", {"beta_1": 1.0}, Rules(), "strategy.params.beta_1"),
        ("median", {"weigh": "equal"}, Rules(), "strategy.params.weigh is not a parameter of median"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, params: dict[str, Any], rules: Rules, word: str) -> None:
    """At creation, with the field that is wrong first."""
    with pytest.raises(ConfigError, match=f"^{word}"):
        policy.check(StrategyChoice(name=name, params=params), rules)


def test_what_goes_together() -> None:
    """Each strategy with rules that it takes."""
    policy.check(StrategyChoice(name="krum"), Rules(min_clients=5))
    policy.check(StrategyChoice(name="krum", params={"byzantine": 2}), Rules(min_clients=3, quorum=7))
    policy.check(StrategyChoice(name="median"), Rules(target=3))
    for mode in ("sync", "buffered", "async"):
        policy.check(StrategyChoice(name="fedadam", params={"weigh": "equal"}), Rules(mode=mode))
