"""The reduction of fresh and late updates against NumPy: the mean of what they changed, done to the head's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.aggregation import reduction
from mainstem.aggregation.blocks import blocks, reader
from mainstem.aggregation.reduction import Counted, reduce
from mainstem.aggregation.strategies import Claim, Elements, make
from mainstem.aggregation.strategies.choice import Client, RoundFacts, Server
from mainstem.errors import AggregationError
from mainstem.protocol.exchange import Exchange, exchange_of, like_trained
from mainstem.protocol.messages import Group
from mainstem.protocol.weights import Tensor, specs_of
from mainstem.rounds.modes import polynomial


def counted(model: list[Tensor], examples: int, staleness: int = 0, origin: list[Tensor] | None = None) -> Counted:
    """An update; a late one started from `origin`."""
    claim = Claim("c", examples, polynomial(staleness, 0.5))
    return Counted(claim, reader(model), None if origin is None else reader(origin))


def mean(head: list[Tensor], updates: list[Counted], threads: int = 1) -> list[Tensor]:
    """One round of fedavg."""
    specs = exchange_of(specs_of((f"t{i}", t) for i, t in enumerate(head)))
    return reduce(make("fedavg", {}), specs, head, updates, {}, 1, threads).tensors


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
    models = [model(random, dtype) for _ in range(5)]
    head = models[-1]
    given_ = [(at, model(random, dtype)) for at, _ in updates]
    counted_ = [
        counted(update, examples, 4 - at, None if at == 4 else models[at])
        for (at, examples), (_, update) in zip(updates, given_, strict=True)
    ]
    got = mean(head, counted_)
    weights = np.array([examples / np.sqrt(5 - at) for at, examples in updates])
    for i in (0, 1):
        deltas = np.stack([u[i].astype(np.float64) - models[at][i] for at, u in given_])
        expected = head[i] + np.tensordot(weights, deltas, 1) / weights.sum()
        assert got[i].dtype == head[i].dtype
        scale = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(got[i], expected, atol=scale * 4, rtol=scale)
    assert np.array_equal(got[2], head[2])


def test_a_client_that_changed_nothing_changes_nothing() -> None:
    """An update equal to its old base leaves the head where it is, to the bit."""
    random = np.random.default_rng(2)
    head, old = model(random, "float32"), model(random, "float32")
    assert [t.tobytes() for t in mean(head, [counted(old, 7, 2, old)])] == [t.tobytes() for t in head]


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
    """Block by block over any number of threads the mean has the bytes that one sum over all of it has."""
    random = np.random.default_rng(seed)
    versions: list[list[Tensor]] = [
        [np.asarray(random.normal(size=s) * 10).astype(d) for s, d in zip(shapes, dtypes, strict=False)]
        for _ in range(clients + 1)
    ]
    head, *updates = versions
    updates_ = [counted(update, 1 + number) for number, update in enumerate(updates)]
    want = mean(head, updates_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "BLOCK", elements)
        got = mean(head, updates_, threads)
    assert [(t.dtype, t.shape, t.tobytes()) for t in got] == [(t.dtype, t.shape, t.tobytes()) for t in want]


def test_a_block_that_overflows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One element out of range in one thread's block makes the whole reduction fail."""
    monkeypatch.setattr(reduction, "BLOCK", 4)
    head: list[Tensor] = [np.zeros(17, np.float16)]
    large: list[Tensor] = [np.zeros(17, np.float64)]
    large[0][13] = 1e6
    with pytest.raises(AggregationError, match="does not fit into float16"):
        mean(head, [counted(large, 1)], 2)


class Drift(Client):
    """A choice with a group in each direction: clients send what they have drifted, the server keeps the sum."""

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """What SCAFFOLD would exchange."""
        return like_trained(model, "drift", "up"), like_trained(model, "variate", "down")

    def step(
        self, folded: Mapping[str, Elements], state: Mapping[str, Elements], facts: RoundFacts
    ) -> dict[str, Elements]:
        """The variate with this round's mean drift."""
        return {"variate": state["variate"] + facts.number * folded["drift"]}


class Less(Server):
    """The mean model less the variate of the rounds before."""

    def step(
        self, model: Elements, folded: Elements, state: Mapping[str, Elements], round_: int
    ) -> tuple[Elements, dict[str, Elements]]:
        """See `Server`."""
        return folded - state["variate"], {}


@given(seed=st.integers(0, 2**32), elements=st.integers(1, 9), clients=st.integers(1, 4))
def test_groups_that_go_up_and_down(seed: int, elements: int, clients: int) -> None:
    """An update's further tensors are folded as the model's are, and what is published comes back next round."""
    random = np.random.default_rng(seed)
    head: list[Tensor] = [random.normal(size=(3, 2)), np.arange(3), random.normal(size=4), random.normal(size=5)]
    model_ = exchange_of(specs_of((f"t{i}", t) for i, t in enumerate(head)), untrained=[2])
    strategy = dataclasses.replace(make("fedavg", {}), serves=Less(), asks=Drift())
    specs = exchange_of(model_.model, strategy.groups(model_), [2])
    assert {number: spec.name for number, spec in specs.update.items()} == {
        0: "t0", 2: "t2", 3: "t3", 4: "drift/t0", 5: "drift/t3",
    }  # fmt: skip
    updates = [[t + random.normal() for t in head] + [random.normal(size=(3, 2)), random.normal(size=5)]
               for _ in range(clients)]  # fmt: skip
    variate = [random.normal(size=(3, 2)), random.normal(size=5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "BLOCK", elements)
        made = reduce(strategy, specs, head, [counted(u, 1) for u in updates], {"variate": variate}, 3, 2)
    for place, number in enumerate((0, 3)):
        mean_ = np.mean([u[number] for u in updates], axis=0)
        np.testing.assert_allclose(made.tensors[number], mean_ - variate[place])
        drift = np.mean([u[4 + place] for u in updates], axis=0)
        np.testing.assert_allclose(made.state["variate"][place], variate[place] + 3 * drift)
    assert np.array_equal(made.tensors[1], head[1])
    np.testing.assert_allclose(made.tensors[2], np.mean([u[2] for u in updates], axis=0))
