"""Versions made: updates checked and kept until their round closes, reduced, and published with their groups."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from mainstem.aggregation.aside import Passing, gather_update
from mainstem.aggregation.blocks import Reader, TensorSlice, reader, tensors
from mainstem.aggregation.cache import UpdateCache
from mainstem.aggregation.decoding import coded, decoding
from mainstem.aggregation.encoding import encoded
from mainstem.aggregation.reduction import Counted, Reduction, moved, reduce
from mainstem.aggregation.slices import leading
from mainstem.aggregation.spill import Piece, Spill, reader_of
from mainstem.aggregator.models import Models
from mainstem.errors import AggregationError, RefusedError, SpillError, UnknownTopicError, UnreadableError
from mainstem.protocol import forests, updates
from mainstem.protocol.chain import Head
from mainstem.protocol.changes import read_version
from mainstem.protocol.exchange import SERVER, Exchange, exchange, nbytes_of, published, sent
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Base, Payload, Reason, TensorSpec, Update, Weights
from mainstem.protocol.weights import Tensor, check_finite, fits, payload_of
from mainstem.rounds import Plan, Reduced, Unreducible
from mainstem.rounds.policy import Policy, keyframe_due

JUDGED = 1 << 18
"""Elements that are judged at a time."""


class VersionMaker:
    """One federation's tensors. `memory` is how many bytes of checked updates it holds, and as much of models.

    `spill` bytes of checked updates go to a temporary file before their round closes; what does not fit is read again
    from the log. `threads` fold at a time. Every method raises LogError.
    """

    def __init__(self, log: MessageLog, writer: str, *, memory: int, spill: int, threads: int) -> None:
        self._log, self._writer, self._memory, self._threads = log, writer, memory, threads
        self._checked = UpdateCache(memory, spill)
        self._specs = Exchange(())
        self._models, self._groups = Models(), dict[str, Models]()
        self._rooms: dict[Base, float] = {}

    def begin(self, head: Head) -> None:
        """There is a new head: what was kept of the old one's round is void."""
        if not self._specs.model:
            self._specs = exchange(head.opened)
        self._checked.clear()
        self._rooms.clear()

    def close(self) -> None:
        """Remove the file."""
        self._checked.close()

    @property
    def spill(self) -> Spill:
        """Where payloads are set aside, those too that wait to be judged."""
        return self._checked.spill

    # ------------------------------------------------------------ what is in the log
    def model(self, head: Head, base: Base) -> list[Tensor]:
        """The tensors of the head's model, or of an ancestor's."""
        way, topic, models = head.way(base.version), head.opened.topics.data, self._models
        assert way is not None, "only updates of the head's ancestors are accepted"
        models.budget = 0 if head.rules.mode == "sync" else self._memory
        read = partial(read_version, self._log, topic, way, self._specs, models.held)
        return models.get(topic, way.end, base.version, read)

    def _state(self, head: Head) -> dict[str, list[Tensor]]:
        """The groups that stand beside the head's model: those that a round has published."""
        topic, version, specs = head.opened.topics.data, head.base.version, published(head.opened)
        return {
            name: self._group(name).get(
                topic, weights, version, partial(updates.read, self._log, topic, weights, specs[name])
            )
            for name, weights in head.groups.items()
        }

    def _group(self, name: str) -> Models:
        return self._groups.setdefault(name, Models())

    def _payload(self, head: Head, offset: int, update: Update, seen: Passing, spill: Spill) -> list[Piece]:
        """All that an update carries, which has been judged by its manifest."""
        return gather_update(self._log, head.opened.topics.aggregator, offset, update, self._specs, spill, aside=seen)

    # ------------------------------------------------------------ an update
    def check(self, head: Head, offset: int, update: Update, seen: Passing) -> RefusedError | None:
        """Why the update whose manifest stands at `offset` does not count; None where it does, then it is kept."""
        nbytes = nbytes_of(update)
        kept = self._checked.room(nbytes)
        try:
            specs = (carried := sent(update, self._specs)).update
            try:
                pieces = self._payload(head, offset, update, seen, self.spill if kept else Spill(nbytes))
            except SpillError:  # a full disk: the log has it
                kept, pieces = False, self._payload(head, offset, update, {}, Spill(nbytes))
            read = reader_of(specs, pieces)
            _check_finite(specs, read)
            if self._specs.forest is not None:
                feature, value = tensors(read, {n: specs[n] for n in (forests.FEATURE, forests.VALUE)})
                forests.check_trees(feature, value, self._specs.forest.features)
            elif self._specs.encoding is not None:
                self._check_code(head, update, self._specs.encoding.check(coded(read), self._specs.elements))
            elif update.base != head.base:
                due = {number: specs[number] for number in carried.carried}
                self._check_moved(head, update, dict(zip(due, tensors(read, due), strict=True)))
        except RefusedError as refusal:
            return refusal
        except UnknownTopicError:
            raise  # nothing is known of this update: the topic went, or the cluster just starts
        except UnreadableError as error:
            return RefusedError(Reason.MISSING_CHUNKS, f"its chunks cannot be read: {error}")
        if kept:
            self._checked.put(offset, specs, pieces)
        return None

    def _check_moved(self, head: Head, update: Update, carried: Mapping[int, Tensor]) -> None:
        """A late update counts as what it changed, done to the head's model: that must be numbers too."""
        model, origin = self.model(head, head.base), self.model(head, update.base)
        for number, tensor in carried.items():
            spec, part = self._specs.model[number], leading(tensor.shape)
            if not fits(spec.dtype, moved(model[number][part], tensor, origin[number][part])):
                raise RefusedError(
                    Reason.NOT_FINITE,
                    f"tensor {spec.name!r}, moved from version {update.base.version} to version {head.base.version}, "
                    f"leaves the numbers of {spec.dtype}",
                )

    def _check_code(self, head: Head, update: Update, change: float) -> None:
        """An encoded change of up to so much counts as what it makes of the model: that must be numbers too, whatever
        it is added to."""
        room = min(self._room(head, base) for base in {head.base, update.base})
        if change > room:
            said = f"its change of up to {change:g} leaves the numbers that the model's tensors may hold"
            raise RefusedError(Reason.NOT_FINITE, f"{said}: up to {room:g} fits")

    def _room(self, head: Head, base: Base) -> float:
        """How far each trained element of that model may change and still be a number."""
        if base not in self._rooms:
            tensors = [self.model(head, base)[number] for number in self._specs.trained]
            rooms = (float(np.finfo(t.dtype).max) - float(np.abs(t).max(initial=0.0)) for t in tensors)
            self._rooms[base] = min(rooms, default=0.0)
        return self._rooms[base]

    # ------------------------------------------------------------ a version
    def make(self, head: Head, plan: Plan, seen: Passing) -> Reduced | Unreducible:
        """The plan's updates, reduced in the plan's order and published as the next version."""
        try:
            made = self._fold(head, plan, seen)
        except (AggregationError, RefusedError) as error:
            return Unreducible(f"round {head.round + 1} cannot be reduced: {error}")
        name = f"version-{head.version + 1}-{secrets.token_hex(4)}"
        weights = self._publish_model(head, name, made)
        self._models.keep(weights, made.tensors)
        state: dict[str, Weights] = {}
        for group in self._specs.state:
            tensors = made.state[group.name]
            state[group.name] = self._publish(
                head, f"{name}-{group.name}", group.tensors, tensors, beside=group.direction == SERVER
            )
            self._group(group.name).keep(state[group.name], tensors)
        return Reduced(weights, made.weighing, state)

    def _publish_model(self, head: Head, name: str, made: Reduction) -> Weights:
        """Where versions travel as changes: the change, and the whole model beside it where its turn has come."""
        specs = self._specs
        if specs.down is None or made.carried is None:
            return self._publish(head, name, specs.model, made.tensors)
        sent = self._publish(head, f"{name}-change", tuple(specs.coded(specs.down).values()), made.carried)
        change = Payload(
            writer=sent.writer, update=sent.update, chunks=sent.chunks, nbytes=sent.nbytes, sha256=sent.sha256,
            encoding=specs.down.name,
        )  # fmt: skip
        if keyframe_due(head):
            whole = self._publish(head, name, specs.model, made.tensors, beside=True)
            return msgspec.structs.replace(whole, change=change)
        whole = updates.unsent(writer=self._writer, update=name, specs=specs.model, tensors=made.tensors)
        return msgspec.structs.replace(whole, change=change)

    def _publish(
        self, head: Head, name: str, specs: Sequence[TensorSpec], tensors: Sequence[Tensor], beside: bool = False
    ) -> Weights:
        """`beside` what every client fetches: their readers run on, and would take it along."""
        topic = head.opened.topics.data
        partition = int(beside and self._log.partitions(topic) > 1)
        return updates.publish(
            self._log, topic, writer=self._writer, update=name, specs=specs, tensors=tensors, partition=partition
        )

    def _fold(self, head: Head, plan: Plan, seen: Passing) -> Reduction:
        policy, model = Policy.of(head), self.model(head, head.base)
        counted = []
        claims = policy.claims(head, plan.accepted)
        for claim, item, update in zip(claims, plan.accepted, plan.updates, strict=True):
            origin = None if item.base == head.base else self._origin(head, item.base)
            read = self._update(head, item.offset, update, seen, origin or reader(model))
            counted.append(Counted(claim, read, origin, sent(update, self._specs) if update.tensors else None))
        state, round_ = self._state(head), head.round + 1
        specs, threads = policy.exchange, self._threads
        made = reduce(policy.strategy, specs, model, counted, state, round_, threads, plan.clients)
        return encoded(made, specs, model, state, head)

    # What is kept until the round is committed, perhaps only from here on.
    def _update(self, head: Head, offset: int, update: Update, seen: Passing, origin: Reader) -> Reader:
        carried = self._checked.get(offset) or self._checked.put(
            offset, sent(update, self._specs).update, self._payload(head, offset, update, seen, self.spill)
        )
        return decoding(carried, self._specs, origin)

    def _origin(self, head: Head, base: Base) -> Reader:
        return self._checked.get(base) or self._checked.keep(
            base, dict(enumerate(self._specs.model)), list(payload_of(self.model(head, base)))
        )


def _check_finite(specs: Mapping[int, TensorSpec], read: Reader) -> None:
    for number, spec in specs.items():
        size = math.prod(spec.shape)
        for start in range(0, size, JUDGED):
            check_finite([spec], read([TensorSlice(number, start, min(size, start + JUDGED))]))
