"""What a run exchanges: the model's tensors, and the groups beside them. The one place that says which specs to expect.

An update carries those of the model's tensors that it can change, and after them each group that goes up, in the order
of `opened.groups`. Its tensors are numbered through: the model's as in the model, the groups' from there on. Where an
encoding takes the trained ones, one tensor of bytes stands for all of them, under the number CODE.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec

from mainstem.errors import RefusedError
from mainstem.protocol import encodings, forests
from mainstem.protocol.chunks import Limits, check_manifest
from mainstem.protocol.encodings import RAW, Encoding
from mainstem.protocol.messages import Forest, Group, Opened, Reason, TensorSpec, Update, Weights

DOWN, SERVER, UP = "down", "server", "up"
LOOSE = ("partial", "slice")
"""By these ways to adapt an update may carry less than another."""

CODE = -1
"""The number of an encoded change."""

RESIDUAL = "residual"
"""The group of what encoded versions leave over."""


@dataclass(frozen=True)
class Exchange:
    """The specs of a run. `carried` are the numbers of the model's tensors that updates carry and rounds aggregate, the
    others keep the base's values; `trained` those of them that gradients change. `encoding` is what updates carry the
    trained ones' change in, None where they carry the tensors themselves; `down` likewise of versions. `adapt` is the
    run's: by it an update may carry less (`sent`): then this one is `narrowed` to what it carries. Of a `forest` an
    update carries the rows that it adds."""

    model: tuple[TensorSpec, ...]
    groups: tuple[Group, ...] = ()
    carried: tuple[int, ...] = ()
    trained: tuple[int, ...] = ()
    encoding: Encoding | None = None
    down: Encoding | None = None
    adapt: str = "strict"
    narrowed: bool = False
    forest: Forest | None = None

    @property
    def loose(self) -> bool:
        """Whether an update may carry some of the model's tensors only, or leading parts of them."""
        return self.adapt in LOOSE

    @cached_property
    def up(self) -> tuple[Group, ...]:
        """The groups that an update carries."""
        return tuple(group for group in self.groups if group.direction == UP)

    @cached_property
    def state(self) -> tuple[Group, ...]:
        """The groups that a round publishes: what its server keeps, and what clients fetch with its version."""
        return tuple(group for group in self.groups if group.direction != UP)

    @cached_property
    def stepped(self) -> tuple[Group, ...]:
        """Those of them that the strategy steps."""
        return tuple(group for group in self.state if group.name != RESIDUAL)

    @cached_property
    def elements(self) -> int:
        """Of the trained tensors, one after the other: of what an encoding takes."""
        return sum(math.prod(self.model[number].shape) for number in self.trained)

    @cached_property
    def change(self) -> dict[int, TensorSpec]:
        """The specs of what an update carries of the model, in their order, by number."""
        return self.coded(self.encoding)

    def coded(self, encoding: Encoding | None) -> dict[int, TensorSpec]:
        """The specs of the carried tensors, by number, where that encoding takes the trained ones."""
        if self.forest is not None:
            return {number: forests.rows_of(self.model[number], self.forest.trees) for number in self.carried}
        if encoding is None:
            return {number: self.model[number] for number in self.carried}
        code = TensorSpec(name=encoding.name, dtype="uint8", shape=(encoding.nbytes(self.elements),))
        return {CODE: code} | {
            number: self.model[number] for number in sorted({*self.carried}.difference(self.trained))
        }

    @cached_property
    def payloads(self) -> tuple[tuple[TensorSpec, ...], ...]:
        """The specs of each of an update's payloads: of the model, then of the groups."""
        return (tuple(self.change.values()), *(group.tensors for group in self.up))

    @cached_property
    def update(self) -> dict[int, TensorSpec]:
        """The specs of all of an update's tensors, in their order, by number, as it carries them."""
        return self.change | self._others

    @cached_property
    def decoded(self) -> dict[int, TensorSpec]:
        """Likewise, as strategies see them."""
        return self.coded(None) | self._others

    @cached_property
    def _others(self) -> dict[int, TensorSpec]:
        return dict(enumerate(itertools.chain.from_iterable(group.tensors for group in self.up), len(self.model)))


def exchange(opened: Opened) -> Exchange:
    """What the run that `opened` begins exchanges; raises ConfigError for an encoding that is not known here, and for a
    forest that is none."""
    kept = (*opened.frozen, *opened.personal)
    return replace(
        exchange_of(opened.tensors, opened.groups, opened.untrained, kept, opened.adaptation.adapt, opened.forest),
        encoding=encodings.make(opened.rules.encoding_up, "encoding_up"),
        down=encodings.make(opened.rules.encoding_down, "encoding_down"),
    )


def exchange_of(
    model: Sequence[TensorSpec],
    groups: Sequence[Group] = (),
    untrained: Sequence[int] = (),
    frozen: Sequence[int] = (),
    adapt: str = "strict",
    forest: Forest | None = None,
) -> Exchange:
    """The exchange of a model of these specs; see `Opened` for the others. Integers and booleans are never carried, nor
    is what is frozen or stays at the sites; of a forest rows are. Raises ConfigError for a forest that is none."""
    if forest is not None:
        forests.check_specs(model)
        return Exchange(tuple(model), tuple(groups), forests.CARRIED, forest=forest)
    carried = {number for number, spec in enumerate(model) if spec.dtype in _BITS}.difference(frozen)
    trained = carried.difference(untrained)
    return Exchange(tuple(model), tuple(groups), tuple(sorted(carried)), tuple(sorted(trained)), adapt=adapt)


def narrow(exchange: Exchange, shapes: Mapping[int, tuple[int, ...]]) -> Exchange:
    """What an update carries that has these tensors only, in these shapes: leading parts where they are smaller."""
    model = [msgspec.structs.replace(s, shape=shapes.get(number, s.shape)) for number, s in enumerate(exchange.model)]
    carried = tuple(number for number in exchange.carried if number in shapes)
    trained = tuple(number for number in exchange.trained if number in shapes)
    return replace(exchange, model=tuple(model), carried=carried, trained=trained, narrowed=True)


def sent(update: Update, exchange: Exchange) -> Exchange:
    """What this update carries, by its own word where the run lets sites differ; raises RefusedError."""
    if not update.tensors:
        return exchange
    if not exchange.loose:
        detail = f"it names tensors of its own; this run's adapt is {exchange.adapt}, so that all carry the same"
        raise RefusedError(Reason.SHAPE, detail)
    if len(update.tensors) > len(exchange.carried):
        many, most = len(update.tensors), len(exchange.carried)
        raise RefusedError(Reason.SHAPE, f"it names {many} tensors; this run's updates carry {most} at most")
    numbers = {exchange.model[number].name: number for number in exchange.carried}
    shapes: dict[int, tuple[int, ...]] = {}
    for spec in update.tensors:
        name = f"tensor {spec.name[:80]!r}"
        number = numbers.get(spec.name)
        if number is None:
            raise RefusedError(Reason.SHAPE, f"it carries {name}, which is none that this run's updates carry")
        if shapes and number <= max(shapes):
            raise RefusedError(Reason.SHAPE, f"it carries {name} twice, or not in the model's order")
        whole = exchange.model[number]
        if spec.dtype != whole.dtype:
            raise RefusedError(Reason.SHAPE, f"{name} is {spec.dtype[:40]}, the model has it as {whole.dtype}")
        if spec.shape != whole.shape and (exchange.adapt != "slice" or no_slice(whole.shape, spec.shape)):
            why = no_slice(whole.shape, spec.shape) or "updates carry a tensor whole or not at all"
            raise RefusedError(Reason.SHAPE, f"{name} does not fit: {why}")
        shapes[number] = spec.shape
    return narrow(exchange, shapes)


def no_slice(whole: Sequence[int], part: Sequence[int]) -> str:
    """Why a tensor of shape `part` is no leading part of one of shape `whole`; empty where it is."""
    if len(whole) != len(part):
        return f"it has {len(part)} dimensions, the federation's {len(whole)}"
    for axis, (size, most) in enumerate(zip(part, whole, strict=True)):
        if not min(1, most) <= size <= most:
            return f"its dimension {axis} is {size}, the federation's {most}"
    return ""


def published(opened: Opened) -> dict[str, tuple[TensorSpec, ...]]:
    """The specs of the groups that each round of the run publishes, by name."""
    return {group.name: group.tensors for group in opened.groups if group.direction != UP}


def like_trained(model: Exchange, name: str, direction: str) -> Group:
    """A group with a tensor for each one that gradients change, in its precision, at least single."""
    specs = [model.model[number] for number in model.trained]
    return Group(
        name=name,
        direction=direction,
        tensors=tuple(
            TensorSpec(name=f"{name}/{s.name}", dtype=max(s.dtype, "float32", key=_BITS.index), shape=s.shape)
            for s in specs
        ),
    )


_BITS = ["float16", "float32", "float64"]


def parts_of(update: Update, exchange: Exchange) -> list[tuple[Weights, tuple[TensorSpec, ...]]]:
    """The manifest of each of an update's payloads, with the specs of its tensors; raises RefusedError."""
    exchange = sent(update, exchange)
    weights = [update.weights, *(update.extra[group.name] for group in exchange.up)]
    return list(zip(weights, exchange.payloads, strict=True))


def manifests(update: Update) -> tuple[Weights, ...]:
    """All manifests of an update, whether they are those that its run exchanges or not."""
    return (update.weights, *update.extra.values())


def nbytes_of(update: Update) -> int:
    """Bytes of all that an update carries."""
    return sum(weights.nbytes for weights in manifests(update))


def is_packed(update: Update) -> bool:
    """Whether it stands in one record with its payload: then it names no chunks."""
    return not any(weights.chunks for weights in manifests(update))


def check_update(update: Update, exchange: Exchange, limit: int, before: int | None = None) -> None:
    """Judge an update's manifests by themselves, of at most `limit` bytes together; raises RefusedError.

    `before` is the offset of its record, which its chunks in partition 0 precede.
    """
    due = [group.name for group in exchange.up]
    if sorted(update.extra) != sorted(due):
        raise RefusedError(Reason.SHAPE, f"it carries {_names(update.extra)}; this run exchanges {_names(due)}")
    if update.weights.change is not None:
        raise RefusedError(Reason.MALFORMED, "its weights name a change as a version's do")
    packed, encoding = is_packed(update), RAW if exchange.encoding is None else exchange.encoding.name
    if update.weights.encoding != encoding:
        said = f"it is encoded as {update.weights.encoding[:40]!r}, which this run does not offer"
        raise RefusedError(Reason.ENCODING, f"{said}: updates travel as {encoding}")
    for weights, specs in parts_of(update, exchange):
        check_writer(update, weights)
        check_manifest(weights, specs, Limits(nbytes=limit), before, packed)
        limit -= weights.nbytes


def check_writer(update: Update, weights: Weights) -> None:
    """An update's tensors are its client's own: a copy of another's manifest does not count; raises RefusedError."""
    if weights.writer != update.client:
        raise RefusedError(
            Reason.MALFORMED, f"its weights were written by {weights.writer[:64]!r}, not by {update.client}"
        )


def _names(groups: Sequence[str] | Mapping[str, object]) -> str:
    names = ", ".join(sorted(name[:32] for name in groups)[:8])
    return f"the groups {names}" if names else "no groups beside the model"
