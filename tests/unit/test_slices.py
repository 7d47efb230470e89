"""Means over updates that carry some tensors, or leading parts of them: element by element, as NumPy has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.aggregation import reduction, strategies
from mainstem.aggregation.blocks import BLOCK, TensorSlice, reader
from mainstem.aggregation.reduction import Counted, reduce
from mainstem.aggregation.slices import Placed, before, leading, padded, present
from mainstem.aggregation.strategies import Claim
from mainstem.errors import ConfigError
from mainstem.protocol.exchange import exchange_of, narrow
from mainstem.protocol.messages import Rules, StrategyChoice, Training
from mainstem.protocol.weights import Tensor, specs_of
from mainstem.rounds import policy

SGD = Training(optimizer="sgd", learning_rate=0.1)
shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(st.data())
def test_where_a_leading_part_stands(data: st.DataObject) -> None:
    """Of any run of a tensor's elements: which are of the part, and which run of the part's they are."""
    whole = data.draw(shapes)
    part = tuple(data.draw(st.integers(1, size)) for size in whole)
    tensor = np.arange(math.prod(whole), dtype="float64").reshape(whole)
    mask = np.zeros(whole, bool)
    mask[leading(part)] = True
    start = data.draw(st.integers(0, tensor.size))
    stop = data.draw(st.integers(start, tensor.size))
    assert present(whole, part, start, stop).tolist() == mask.reshape(-1)[start:stop].tolist()
    assert [before(whole, part, at) for at in range(tensor.size + 1)] == [
        int(mask.reshape(-1)[:at].sum()) for at in range(tensor.size + 1)
    ]
    placed, into = Placed([TensorSlice(0, start, stop)], [whole], {0: part}), np.full(stop - start, -1.0)
    placed.read(reader([np.ascontiguousarray(tensor[leading(part)])]), into)
    assert into.tolist() == np.where(mask, tensor, -1.0).reshape(-1)[start:stop].tolist()
    assert np.array_equal(padded(tensor[leading(part)] * 2, tensor), np.where(mask, tensor * 2, tensor))


@given(st.data())
def test_each_element_is_the_mean_of_those_who_sent_it(data: st.DataObject) -> None:
    """What nobody sent is the base's, also of tensors that no gradient changes; late updates are moved first."""
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    whole = data.draw(st.lists(shapes, min_size=1, max_size=4))
    dtypes = [data.draw(st.sampled_from(["float32", "float64"])) for _ in whole]

    def drawn() -> list[Tensor]:
        return [np.asarray(random.normal(size=s)).astype(t) for s, t in zip(whole, dtypes, strict=True)]

    model, origin = drawn(), drawn()
    untrained = [number for number in range(len(whole)) if data.draw(st.booleans())]
    specs = exchange_of(specs_of((f"t{n}", t) for n, t in enumerate(model)), untrained=untrained, adapt="slice")
    totals, weights = [np.zeros(s) for s in whole], [np.zeros(s) for s in whole]
    counted = []
    for client in range(data.draw(st.integers(1, 4))):
        has = [number for number in range(len(whole)) if data.draw(st.booleans())] or [0]
        parts = {n: tuple(data.draw(st.integers(1, size)) for size in whole[n]) for n in has}
        full, late, examples = drawn(), data.draw(st.booleans()), data.draw(st.integers(1, 9))
        own = {n: np.array(full[n][leading(parts[n])]) for n in has}
        for n, tensor in own.items():
            at = leading(parts[n])
            value = tensor.astype("float64")
            if late:
                value = value - origin[n][at] + model[n][at]
            totals[n][at] += examples * value
            weights[n][at] += examples
        read = reading(own)
        sent = narrow(specs, parts)
        counted.append(Counted(Claim(f"c{client}", examples), read, reader(origin) if late else None, sent))
    made = reduce(strategies.make("fedavg", {}), specs, model, counted, {}, 1, threads=2).tensors
    for found, total, weight, base in zip(made, totals, weights, model, strict=True):
        expected = np.where(weight > 0, total / np.where(weight > 0, weight, 1), base)
        assert found.dtype == base.dtype
        np.testing.assert_allclose(found, expected.astype(base.dtype), rtol=1e-6, atol=1e-12)
        assert np.array_equal(found[weight == 0], base[weight == 0])


def reading(own: dict[int, Tensor]) -> Any:
    """A reader by numbers that are not all there."""
    return lambda block: [own[part.tensor].reshape(-1)[part.start : part.stop] for part in block]


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "fedavgm", "fedyogi"])
def test_whole_updates_make_the_bytes_that_they_always_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all send all, nothing tells that they need not have; blocks and threads change no bit."""
    random = np.random.default_rng(3)
    model: list[Tensor] = [random.normal(size=(40, 30)).astype("float32"), random.normal(size=7)]
    sent = [[t + random.normal(size=t.shape).astype(t.dtype) for t in model] for _ in range(3)]
    strategy, made = strategies.make(name, {}), []
    for adapt in ("strict", "slice"):
        for block in (BLOCK, 100):
            monkeypatch.setattr(reduction, "BLOCK", block)
            plain = exchange_of(specs_of((f"t{n}", t) for n, t in enumerate(model)), adapt=adapt)
            specs = exchange_of(plain.model, strategy.groups(plain), adapt=adapt)
            counted = [Counted(Claim(f"c{n}", n + 1), reader(tensors)) for n, tensors in enumerate(sent)]
            if adapt == "slice":
                whole = narrow(specs, {0: (40, 30), 1: (7,)})
                counted = [Counted(each.claim, each.read, None, whole) for each in counted]
            found = reduce(strategy, specs, model, counted, {}, 1, threads=2)
            made.append([t.tobytes() for t in found.tensors] + [t.tobytes() for g in found.state.values() for t in g])
    assert made[0] == made[1] == made[2] == made[3]


@pytest.mark.parametrize("adapt", ["partial", "slice"])
@pytest.mark.parametrize("name", sorted(strategies.OF_NUMBERS))
def test_who_needs_whole_updates_is_refused_at_creation(name: str, adapt: str) -> None:
    """With the field that is wrong; a mean goes with it, whatever the server makes of it."""
    chosen = strategies.make(name, {})
    rules, fine = Rules(min_clients=9), chosen.folds.sparse and not chosen.measured
    policy.check(StrategyChoice(name=name), rules, SGD)
    if fine and not sends_groups(chosen):
        policy.check(StrategyChoice(name=name), rules, SGD, adapt)
        return
    with pytest.raises(ConfigError, match=rf"^adapt must not be {adapt}: "):
        policy.check(StrategyChoice(name=name), rules, SGD, adapt)


def sends_groups(strategy: strategies.Strategy) -> bool:
    """Whether updates carry more than the model."""
    groups: Sequence[Any] = strategy.groups(exchange_of(()))
    return any(group.direction == "up" for group in groups)
