"""Every preset and any combination against the papers' formulas in float64, and the same bits however it is made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mainstem.aggregation import reduction, strategies
from mainstem.aggregation.blocks import Block, TensorSlice
from mainstem.aggregation.measures import measure
from mainstem.aggregation.strategies import CHOICES, STRATEGIES
from mainstem.errors import AggregationError, ConfigError
from mainstem.protocol.messages import Rules, StrategyChoice
from mainstem.protocol.weights import Tensor
from mainstem.rounds import policy
from tests.support.strategies import BY_HAND, CHOSEN, combined, krum_scores, naive
from tests.unit.test_strategies import batch, one_round

TRAINED = (0, 3)
"""The tensors of `batch` that gradients change, where the second is said not to be."""


def flat(tensors: list[Tensor], numbers: tuple[int, ...] = TRAINED) -> np.ndarray[Any, np.dtype[np.float64]]:
    """These tensors' numbers in one array."""
    return np.concatenate([tensors[i].reshape(-1) for i in numbers]).astype(np.float64)


@st.composite
def combinations(draw: st.DrawFn) -> StrategyChoice:
    """Any choices that go together, with parameters of their own."""
    fold = draw(st.sampled_from(sorted(n for n, kind in CHOICES["fold"].items() if not kind.grows)))  # type: ignore[attr-defined]
    alike = CHOICES["fold"][fold].alike  # type: ignore[attr-defined]
    weighs = ("equal",) if alike else ("equal", "steps", "loss") if fold == "sum" else ("equal", "examples")
    params: dict[str, Any] = {
        "weigh": draw(st.sampled_from(weighs)),
        "bound": draw(st.sampled_from(sorted(CHOICES["bound"]))),
        "fold": fold,
        "server": draw(st.sampled_from(sorted(CHOICES["server"]))),
    }
    choice = StrategyChoice(name="custom", params=params)
    offered = {
        "clip_norm": st.sampled_from((0.5, 3.0, 100.0)), "byzantine": st.integers(0, 2), "trim": st.integers(1, 3),
        "keep": st.integers(0, 3), "iterations": st.integers(1, 6), "radius": st.sampled_from((0.3, 2.0, 50.0)),
        "clippings": st.integers(1, 4), "q": st.sampled_from((0.0, 1.0, 2.5)),
        "beta_1": st.sampled_from((0.0, 0.5, 0.9)),
    }  # fmt: skip
    own = combined(choice)
    return StrategyChoice(
        name="custom", params=params | {name: draw(values) for name, values in offered.items() if name in own}
    )


def compared(choice: StrategyChoice, seed: int, more: int, threads: int) -> bool:
    """Two rounds, the second with what the first one left; False where a rounding could change whom Krum takes."""
    least = strategies.make(choice.name, choice.params).least
    model, _ = batch(seed, 0)
    kept: dict[str, list[Tensor]] = {}
    state: dict[str, Any] = {}
    for round_ in (1, 2):
        _, updates = batch(seed + round_, least + more)
        base, rows = flat(model), [flat(u) for u, _ in updates]
        examples = [n for _, n in updates]
        if combined(choice)["fold"] in ("krum", "multi_krum", "bulyan") and not apart(rows, combined(choice)):
            return False
        want, state, scores = naive(choice, base, rows, examples, state)
        made = one_round(
            choice.name, choice.params, model, updates, kept, untrained=[1], threads=threads, round_=round_
        )
        np.testing.assert_allclose(flat(made.tensors), want, rtol=2e-3, atol=2e-3)
        if len(scores):
            np.testing.assert_allclose([w.score or 0.0 for w in made.weighing], scores, rtol=1e-2, atol=1e-2)
        assert sorted(made.state) == sorted(state)
        for name, numbers in state.items():
            np.testing.assert_allclose(flat(made.state[name], (0, 1)), numbers, rtol=5e-3, atol=5e-3)
        lowest = np.minimum(model[1], np.min([u[1] for u, _ in updates], axis=0))
        assert (made.tensors[1] >= lowest * (1 - 1e-6)).all(), "a variance stays one"
        assert np.array_equal(made.tensors[2], model[2])
        model, kept, state = made.tensors, made.state, {n: flat(t, (0, 1)) for n, t in made.state.items()}
    return True


def apart(rows: list[Any], params: dict[str, Any]) -> bool:
    """Whether scores are equal or differ by more than a rounding, among all, and for Bulyan among those left."""
    left = list(range(len(rows)))
    while len(left) > 2 * params["byzantine"]:
        scores = np.sort(krum_scores(np.stack([rows[i] for i in left]), params["byzantine"]))
        if any(0 < gap < 1e-3 * scores[-1] for gap in np.diff(scores)):
            return False
        if params["fold"] != "bulyan":
            break
        left.pop(int(np.argmin(krum_scores(np.stack([rows[i] for i in left]), params["byzantine"]))))
    return True


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_strategy_is_its_paper_s_formula(name: str, seed: int) -> None:
    """With its defaults, over two rounds, with and without spare updates."""
    assert any(compared(CHOSEN[name], 1000 * seed + n, more=seed - 1, threads=seed) for n in range(50))


@given(choice=combinations(), seed=st.integers(0, 2**32), more=st.integers(0, 3), threads=st.integers(1, 3))
def test_any_combination_is_its_choices_formulas(choice: StrategyChoice, seed: int, more: int, threads: int) -> None:
    """Whatever goes together, with any parameters."""
    assume(compared(choice, seed, more, threads))


@given(choice=combinations(), seed=st.integers(0, 2**32), elements=st.integers(1, 40), threads=st.integers(1, 3))
def test_blocks_and_threads_change_no_bit(choice: StrategyChoice, seed: int, elements: int, threads: int) -> None:
    """Nor does the order in which updates came: a round sorts them by what they are."""
    least = strategies.make(choice.name, choice.params).least
    model, updates = batch(seed, least + 1)
    came = np.random.default_rng(seed).permutation(len(updates))
    again = sorted((updates[n] for n in came), key=lambda update: update[0][0].tobytes())
    want = one_round(choice.name, choice.params, model, sorted(updates, key=lambda u: u[0][0].tobytes()), untrained=[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "BLOCK", elements)
        patch.setattr(reduction, "SMALLEST", 1)
        patch.setattr(reduction, "GATHERED", elements * len(updates))
        got = one_round(choice.name, choice.params, model, again, untrained=[1], threads=threads)
    assert [t.tobytes() for t in got.tensors] == [t.tobytes() for t in want.tensors]
    assert got.weighing == want.weighing
    for name, tensors in want.state.items():
        assert [t.tobytes() for t in got.state[name]] == [t.tobytes() for t in tensors]


@pytest.mark.parametrize("fold", ["median", "trimmed_mean", "krum", "multi_krum"])
def test_rules_that_rank_do_not_know_an_order(fold: str) -> None:
    """Not even the round's order changes a bit of what ranks its updates."""
    model, updates = batch(9, 11)
    made = [
        one_round(fold, {}, model, sorted(updates, key=lambda u: u[0][0].tobytes(), reverse=turned))
        for turned in (False, True)
    ]
    if fold == "multi_krum":  # a mean is a sum in that order
        np.testing.assert_allclose(made[0].tensors[0], made[1].tensors[0], rtol=1e-6)
    else:
        assert made[0].tensors[0].tobytes() == made[1].tensors[0].tobytes()


@given(seed=st.integers(0, 2**32), clients=st.integers(0, 6), size=st.sampled_from((1e-270, 1.0, 1e250)))
def test_norms_are_the_same_with_and_without_products(seed: int, clients: int, size: float) -> None:
    """To the bit, and those of NumPy, also of numbers whose squares float64 has not, and when they are scaled."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(clients, 50)) * size * random.choice((1e-9, 1, 1e9), (clients, 1))
    scales = random.uniform(0, 1, clients).tolist()
    pieces = [[TensorSlice(0, at, at + 10)] for at in range(0, 50, 10)]

    def changes(block: Block, rough: bool) -> Any:
        return rows[:, block[0].start : block[0].stop].copy()

    with ThreadPoolExecutor(2) as pool:
        both, norms = (measure(clients, pieces, changes, pool, pairs=pairs) for pairs in (True, False))
    assert both.norms() == norms.norms() and both.scaled(scales).norms() == norms.scaled(scales).norms()
    unit = 2.0 ** -np.frexp(size)[1]
    want = np.linalg.norm(rows * unit, axis=1)
    close = 1e-4 * want.max(initial=0)
    np.testing.assert_allclose(np.array(norms.norms()) * unit, want, rtol=1e-4, atol=close)
    np.testing.assert_allclose(np.array(norms.scaled(scales).norms()) * unit, want * scales, rtol=1e-4, atol=close)


# ---------------------------------------------------------------- hostile clients
ROBUST = ("median", "trimmed_mean", "krum", "multi_krum", "bulyan", "geometric_median", "centred_clipping",
          "norm_bounding")  # fmt: skip


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("size", [50.0, 1e6, 1e30])
def test_a_hostile_client_does_no_harm(name: str, size: float) -> None:
    """One of eight that sends anything moves the model no further than the honest ones are apart, or than its bound."""
    random = np.random.default_rng(4)
    base: list[Tensor] = [np.zeros(40, np.float32)]
    honest = [[(1 + 0.1 * random.normal(size=40)).astype(np.float32)] for _ in range(7)]
    updates = [(tensors, 10) for tensors in honest] + [([np.full(40, -size, np.float32)], 10**9)]
    made = one_round(name, {}, base, updates)
    assert np.abs(made.tensors[0] - 1).max() < (0.75 if name in ("norm_bounding", "centred_clipping") else 0.5)
    if name in ("krum", "multi_krum", "bulyan"):
        assert made.weighing[-1].left_out == "not chosen"
        scores = [w.score or 0.0 for w in made.weighing]
        assert scores.index(max(scores)) == 7
    if name == "norm_bounding":
        assert made.weighing[-1].scale == pytest.approx(10 / (size * np.sqrt(40)), rel=1e-5)
        assert made.weighing[0].scale == 1.0


def test_one_huge_update_hides_no_other() -> None:
    """Two hostile clients together: beside changes of 1e30 those of 100 are still told from those of 1."""
    random = np.random.default_rng(5)
    base: list[Tensor] = [np.zeros(30, np.float32)]
    updates = [([random.normal(size=30).astype(np.float32)], 1) for _ in range(7)]
    updates.insert(0, ([np.full(30, 100, np.float32)], 1))
    updates.append(([np.full(30, 1e30, np.float32)], 1))
    made = one_round("krum", {"byzantine": 2}, base, updates)
    assert [n for n, w in enumerate(made.weighing) if not w.left_out] not in ([0], [8])
    bounded = one_round("norm_bounding", {"clip_norm": 10.0}, base, updates)
    assert bounded.weighing[0].scale == pytest.approx(10 / (100 * np.sqrt(30)), rel=1e-4)


@pytest.mark.parametrize("name", ["fedavgm", "fedadagrad", "fedadam", "fedyogi"])
def test_what_a_server_remembers_overflows_for_nobody(name: str) -> None:
    """A finite update of huge numbers makes no round that cannot be published, now or later."""
    base: list[Tensor] = [np.zeros(4, np.float32)]
    huge: list[Tensor] = [np.full(4, 1e30, np.float32)]
    made = one_round(name, {}, base, [(huge, 1), (base, 1)])
    for tensors in made.state.values():
        assert all(np.isfinite(t).all() for t in tensors)
    again = one_round(name, {}, made.tensors, [(made.tensors, 1)], made.state, round_=2)
    assert np.isfinite(again.tensors[0]).all()


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 3e38])
@pytest.mark.parametrize("name", CHOSEN)
def test_updates_of_any_size(name: str, size: float) -> None:
    """Equal updates, the smallest and the largest numbers: a version of finite numbers, and scores for a record."""
    choice = CHOSEN[name]
    strategy = strategies.make(choice.name, choice.params)
    base: list[Tensor] = [np.zeros(5, np.float32)]
    updates: list[tuple[list[Tensor], int]] = [([np.full(5, size, np.float32)], 1)] * (strategy.least + 1)
    if size == 3e38 and strategy.serves.name == "momentum":
        updates = [([np.full(5, size / 100, np.float32)], 1)] * (strategy.least + 1)
    made = one_round(choice.name, choice.params, base, updates)
    assert np.isfinite(made.tensors[0]).all()
    assert all(w.score is None or 0 <= w.score <= 1e200 for w in made.weighing)


# ---------------------------------------------------------------- what goes together
@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"fold": "mode"}, "strategy.params.fold is 'mode'; it must be one of mean, sum, median"),
        ({"fold": ["mean"]}, "strategy.params.fold is"),
        ({"client": "quick"}, "strategy.params.client"),
        ({"byzantine": 1}, "strategy.params.byzantine is not a parameter of this combination"),
        ({"fold": "krum", "weigh": "equal", "byzantine": "one"}, "strategy.params.byzantine is 'one'"),
        ({"fold": "median"}, "strategy.params.weigh must be equal: a median counts all alike"),
        ({"fold": "bulyan", "weigh": "examples"}, "strategy.params.weigh must be equal"),
        ({"fold": "sum"}, "strategy.params.weigh must not be examples with fold sum"),
        ({"bound": "clip", "clip_norm": 0}, "strategy.params.clip_norm is 0; it must be a number above 0"),
        ({"server": "adam", "server_momentum": 0.5}, "strategy.params.server_momentum is not a parameter"),
    ],
)
def test_what_does_not_go_together_in_a_combination(params: dict[str, Any], word: str) -> None:
    """Refused before any run, with the parameter first."""
    with pytest.raises(ConfigError) as caught:
        strategies.make("custom", params)
    assert str(caught.value).startswith(word)


@pytest.mark.parametrize(
    ("choice", "rules", "word"),
    [
        (StrategyChoice(name="bulyan"), Rules(min_clients=6), "min_clients must be at least 7"),
        (StrategyChoice(name="bulyan", params={"byzantine": 3}), Rules(min_clients=14),
         "min_clients must be at least 15:"),
        (StrategyChoice(name="multi_krum", params={"keep": 4}), Rules(min_clients=6), "min_clients must be at least 7"),
        (StrategyChoice(name="multi_krum"), Rules(min_clients=9, quorum=4), "quorum must be at least 5"),
        (StrategyChoice(name="trimmed_mean", params={"trim": 2}), Rules(quorum=4), "quorum must be at least 5"),
        (BY_HAND["krum before adam"], Rules(min_clients=4), "min_clients must be at least 5"),
        *((StrategyChoice(name=name), Rules(mode="buffered", min_clients=9, buffer=9), "mode must be sync: ")
          for name in ("median", "trimmed_mean", "krum", "multi_krum", "bulyan")),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_rules(choice: StrategyChoice, rules: Rules, word: str) -> None:
    """At creation, with the field that is wrong first."""
    with pytest.raises(ConfigError) as caught:
        policy.check(choice, rules)
    assert str(caught.value).startswith(word)


@pytest.mark.parametrize("mode", ["sync", "buffered", "async"])
@pytest.mark.parametrize(
    "name", ["fedavg", "fedavgm", "fedadagrad", "fedyogi", "geometric_median", "centred_clipping", "norm_bounding"]
)
def test_what_goes_with_every_mode(name: str, mode: str) -> None:
    """Coefficients mean something to them, so late updates may weigh less."""
    policy.check(StrategyChoice(name=name, params={"weigh": "examples"}), Rules(mode=mode))


@pytest.mark.parametrize("name", ["trimmed_mean", "krum", "multi_krum", "bulyan"])
def test_too_few_updates_make_no_round(name: str) -> None:
    """At each close as at creation, whoever reduces it."""
    least = strategies.make(name, {}).least
    model, updates = batch(1, least - 1)
    with pytest.raises(AggregationError, match=f"{name} needs {least} updates; the round has {least - 1}"):
        one_round(name, {}, model, updates)


def test_names_are_unlike() -> None:
    """A choice's name says which kind it is; parameters of one combination never share a name."""
    names = [name for choices in CHOICES.values() for name in choices]
    assert len(set(names)) == len(names)
    for preset in STRATEGIES.values():
        for own in preset.parameters():
            assert own.field.title and own.field.sentence, own
    for choice in CHOSEN.values():
        parts = STRATEGIES[choice.name].chosen(choice.params).values()
        fields = [name for part in parts for name in part.Params.__struct_fields__]
        assert len(set(fields)) == len(fields) and not set(fields) & set(CHOICES)
