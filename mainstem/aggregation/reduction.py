"""From accepted updates to the next version: the one reducer, for whoever commits it and whoever proves it.

It goes block by block over readers, so that memory is a few models and a few blocks, however many updates there are,
and no sum leaves the cache. Blocks, threads and the order of reading change no bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mainstem.aggregation.blocks import BLOCK, Block, Reader, TensorSlice, blocks, reader
from mainstem.aggregation.growing import grown
from mainstem.aggregation.measures import Changes, measure
from mainstem.aggregation.slices import Placed, Present
from mainstem.aggregation.strategies import MODEL, Claim, Elements, RoundFacts, Strategy, Weighed
from mainstem.errors import AggregationError
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.messages import TensorSpec
from mainstem.protocol.weights import Tensor

GATHERED = 1 << 19
"""Elements, 4 MiB in float64, of which a thread holds a block of every update where the strategy needs them at once."""

SMALLEST = 1 << 10
"""Elements of a block at least, however many updates there are."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An update of a round: what it claims, and readers of its tensors and of those of a model it started from,
    where that is an older one than the head's. `sent` is what it carries, where that is not the whole exchange."""

    claim: Claim
    read: Reader
    origin: Reader | None = None
    sent: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Reduction:
    """A version: its tensors, the groups of its `state` by name, and what was decided about each update.

    `carried`: what its change carries (`Exchange.coded`), where it travels as one.
    """

    tensors: list[Tensor]
    state: dict[str, list[Tensor]]
    weighing: tuple[Weighed, ...]
    carried: list[Tensor] | None = None


def reduce(
    strategy: Strategy,
    specs: Exchange,
    model: Sequence[Tensor],
    updates: Sequence[Counted],
    state: Mapping[str, Sequence[Tensor]],
    round_: int,
    threads: int = 1,
    clients: int = 0,
) -> Reduction:
    """What round `round_` makes of `model`, the head's, with these updates in this order.

    A late update counts as what it changed, done to `model`: model + (update - origin), in float64. `state` has the
    published groups as the round before left them; one that is not there is zeros. The run has so many `clients`, where
    they are more than the updates. Raises what the readers raise, and AggregationError.
    """
    if specs.forest is not None:
        made, decided = grown(strategy, specs, model, [(update.claim, update.read) for update in updates])
        return Reduction(made, {}, tuple(decided))
    result = [np.empty(tensor.shape, tensor.dtype) for tensor in model]
    into = {group.name: [np.zeros(s.shape, s.dtype) for s in group.tensors] for group in specs.stepped}
    before = {name: state.get(name) or [np.zeros_like(t) for t in zeros] for name, zeros in into.items()}
    job = _Job(strategy, specs, model, updates, before)
    others = sorted(set(specs.carried).difference(job.places))
    for number in set(range(len(model))).difference(specs.carried):
        result[number][...] = model[number]
    with ThreadPoolExecutor(threads) as pool:
        weighing = job.weigh(pool)
        if not any(weighed.coefficient > 0 and not weighed.left_out for weighed in weighing):
            raise AggregationError("the accepted updates have no examples to weigh them by")
        counted = sum(not weighed.left_out for weighed in weighing)
        facts = RoundFacts(round_, counted, max(clients, len(updates)))
        for _ in pool.map(lambda block: job.step(block, weighing, facts, result, into), job.blocks(list(job.places))):
            pass
        for _ in pool.map(lambda block: job.average(block, weighing, result), job.blocks(others)):
            pass
    return Reduction(result, into, tuple(weighing))


class _Job:
    """One reduction, cut into blocks of the model's tensors; `places` are where a group has the trained ones."""

    def __init__(
        self,
        strategy: Strategy,
        specs: Exchange,
        model: Sequence[Tensor],
        updates: Sequence[Counted],
        state: Mapping[str, Sequence[Tensor]],
    ) -> None:
        self.strategy, self.specs, self.model, self.updates = strategy, specs, model, updates
        self.state, self.update = state, specs.decoded
        self.places = {number: place for place, number in enumerate(specs.trained)}

    def blocks(self, numbers: Sequence[int], gathers: bool = False) -> Iterator[Block]:
        elements = BLOCK
        if gathers or self.strategy.gathers:
            elements = min(BLOCK, max(SMALLEST, GATHERED // max(len(self.updates), 1)))
        return blocks(self.model, elements, numbers)

    def weigh(self, pool: ThreadPoolExecutor) -> Sequence[Weighed]:
        claims = [update.claim for update in self.updates]
        if not self.strategy.measured:
            return self.strategy.weigh(claims, None)
        pieces = list(self.blocks(list(self.places), gathers=True))
        found = measure(len(claims), pieces, self._changes, pool, self.strategy.pairs)
        return self.strategy.weigh(claims, found)

    def _changes(self, block: Block, rough: bool) -> Changes:
        model = _flat(reader(self.model)(block))
        rows = self._stack(block, model).rows(range(len(self.updates)), rough)
        with np.errstate(over="ignore"):  # in float32, which is rough
            np.subtract(rows, model.astype(rows.dtype, copy=False), out=rows)
        return rows

    def average(self, block: Block, weighing: Sequence[Weighed], result: Sequence[Tensor]) -> None:
        stack = self._stack(block, _flat(reader(self.model)(block)), weighing)
        _write(self.strategy.settle(stack, weighing), block, result, self.specs.model)

    def step(
        self,
        block: Block,
        weighing: Sequence[Weighed],
        facts: RoundFacts,
        result: Sequence[Tensor],
        into: Mapping[str, list[Tensor]],
    ) -> None:
        model = _flat(reader(self.model)(block))
        folded = {MODEL: self.strategy.fold(self._stack(block, model, weighing), weighing)}
        first = len(self.model)
        for group in self.specs.up:
            folded[group.name] = self.strategy.fold(self._stack(self._among(block, first)), weighing)
            first += len(group.tensors)
        mine = self._among(block)
        state = {name: _flat(reader(tensors)(mine)) for name, tensors in self.state.items()}
        stepped, after = self.strategy.step(model, folded, state, facts)
        _write(stepped, block, result, self.specs.model)
        for group in self.specs.stepped:
            _write(after[group.name], mine, into[group.name], group.tensors, saturate=True)

    def _stack(self, block: Block, base: Elements | None = None, weighing: Sequence[Weighed] = ()) -> _Stack:
        scales = [weighed.scale for weighed in weighing]
        return _Stack(block, self.updates, self.update, base, scales, self._placed(block, base))

    def _placed(self, block: Block, base: Elements | None) -> list[Placed | None]:
        """What each update has of a block; None: all of it, as of every group."""
        if base is None or not self.specs.loose:
            return [None] * len(self.updates)
        whole = [spec.shape for spec in self.specs.model]
        return [
            None if sent is None else Placed(block, whole, {n: sent.model[n].shape for n in sent.carried})
            for sent in (update.sent for update in self.updates)
        ]

    def _among(self, block: Block, first: int = 0) -> Block:
        """The same elements in a group whose tensors are like the trained ones and numbered from `first` on."""
        return [TensorSlice(first + self.places[part.tensor], part.start, part.stop) for part in block]


class _Stack:
    """See `choice.Stack`. `base` has the head's elements, by which late updates are moved; None for a group.

    `specs` are an update's, by number; `scales` say by what changes are multiplied, by nothing where there are none.
    """

    def __init__(
        self,
        block: Block,
        updates: Sequence[Counted],
        specs: Mapping[int, TensorSpec],
        base: Elements | None,
        scales: Sequence[float],
        placed: Sequence[Placed | None],
    ) -> None:
        self.size, self.base = sum(part.stop - part.start for part in block), base
        self._block, self._updates, self._scales = block, updates, scales or [1.0] * len(updates)
        self._placed = placed
        moved = base is not None and any(
            update.origin is not None or scale != 1.0 for update, scale in zip(updates, self._scales, strict=True)
        )
        self._single = not moved and all(specs[part.tensor].dtype != "float64" for part in block)

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def sparse(self) -> bool:
        return any(placed is not None for placed in self._placed)

    def present(self, number: int) -> Present | None:
        placed = self._placed[number]
        return None if placed is None else placed.mask

    def rows(self, numbers: Sequence[int], single: bool) -> Tensor:
        rows = np.empty((len(numbers), self.size), np.float32 if single and self._single else np.float64)
        parts = [part for number in numbers for part in self._updates[number].read(self._block)]
        np.concatenate(parts, out=rows.reshape(-1))
        for row, number in zip(rows, numbers, strict=True):
            self._move(number, row)
        return rows

    def read(self, number: int, into: Tensor) -> None:
        update, placed = self._updates[number], self._placed[number]
        if placed is None:
            _fill(update.read(self._block), into)
        else:
            into[...] = 0.0
            placed.read(update.read, into)
        self._move(number, into)

    def _move(self, number: int, into: Tensor) -> None:
        """Where the update is late or bounded."""
        update = self._updates[number]
        if self.base is None:
            return
        if update.origin is not None:
            np.subtract(into, _flat(update.origin(self._block)), out=into)
            np.add(into, self.base, out=into)
        if self._scales[number] != 1.0:
            np.subtract(into, self.base, out=into)
            np.multiply(into, self._scales[number], out=into)
            np.add(into, self.base, out=into)


def _flat(parts: Sequence[Tensor]) -> Elements:
    flat = np.empty(sum(part.size for part in parts))
    _fill(parts, flat)
    return flat


def _fill(parts: Sequence[Tensor], into: Tensor) -> None:
    at = 0
    for part in parts:
        into[at : at + part.size] = part
        at += part.size


def _write(
    elements: Elements, block: Block, into: Sequence[Tensor], specs: Sequence[TensorSpec], saturate: bool = False
) -> None:
    """Cast once, each part to its tensor's dtype; raises AggregationError where that has no such number.

    What the server remembers has the largest number instead (`saturate`): one client's huge change ends no run.
    """
    at = 0
    for part, target in zip(block, reader(into)(block), strict=True):
        numbers = elements[at : at + target.size]
        if saturate:
            most = float(np.finfo(target.dtype).max)
            numbers = np.clip(numbers, -most, most)
        with np.errstate(over="ignore"):
            target[...] = numbers
        if not np.isfinite(target).all():
            spec = specs[part.tensor]
            raise AggregationError(f"tensor {spec.name!r} of the aggregate does not fit into {spec.dtype}")
        at += target.size


def moved(model: Tensor, update: Tensor, origin: Tensor) -> Tensor:
    """`update - origin`, done to `model`, in float64."""
    result: Tensor = np.add(model, np.subtract(update, origin, dtype=np.float64), dtype=np.float64)
    return result
