"""What a choice is: one of the five things that together say what a round makes of its updates.

`weigh`, `bound` and a fold's `choose` see the round and no tensors, `fold` and `step` see a block and nothing else: so
no block can choose other clients than its neighbour, everything streams, and whoever reads the log makes the same
bits. Only + - * / and square roots may decide about a bit: IEEE 754 rounds them the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.local import GradientHook, LocalStart
from mainstem.aggregation.measures import Measures
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.messages import Group, Rules, Training
from mainstem.protocol.weights import Tensor
from mainstem.runtime.fields import Params

Elements = NDArray[np.float64]
"""The elements of a block, one after the other, in float64."""

MODEL = ""
"""The model's name among folded groups."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an update says for itself. `discount` is what its mode multiplies its weight by, 1 where it is fresh.

    Where a strategy asks for them: `way` is how long the way of its local steps is (`compiling.way_of`), `loss` what
    the model that it began with lost on the client's data, `rate` the round's learning rate.
    """

    client: str
    examples: int
    discount: float = 1.0
    way: float = 0.0
    loss: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a round decides about an update: its weight, what it went by, why it is left out (empty where it is not),
    and what its change was multiplied by."""

    coefficient: float
    score: float | None = None
    left_out: str = ""
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """A round: its number (the first is 1), of how many updates its version is made, and how many clients the run had
    at its close."""

    number: int
    updates: int
    clients: int


class Stack(Protocol):
    """One block of every update, in the round's order."""

    size: int
    """Elements of the block."""
    base: Elements | None
    """What updates change: the head's model; None where they send a group, whose numbers are what they are."""

    @property
    def sparse(self) -> bool:
        """Whether some updates may lack some of the elements."""
        ...

    def __len__(self) -> int:
        """How many updates there are."""
        ...

    def present(self, number: int) -> NDArray[np.bool_] | None:
        """Which elements that update has; None: all. What it lacks is read as anything."""
        ...

    def read(self, number: int, into: NDArray[Any]) -> None:
        """Write that update's elements; its change done to the head's model, where it is late or bounded."""
        ...

    def rows(self, numbers: Sequence[int], single: bool) -> NDArray[Any]:
        """The same of these updates, which have all elements, a row each: float64, or, if `single`, float32 where it
        holds all that is read."""
        ...


class Choice:
    """Base of every choice."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for whoever chooses."""
    Params: ClassVar[type[Params]] = Params
    """Its parameters, whose names are unlike those of all that it is combined with."""
    measured: ClassVar[bool] = False
    """Whether it needs measures: two more passes over the updates."""
    pairs: ClassVar[bool] = True
    """Whether these are products of updates with each other too, and not norms alone."""
    goes_with: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By kind the other choices with which alone it means something."""
    because: ClassVar[str] = ""
    """Why that is so: a clause."""

    def __init__(self, params: Any = None) -> None:
        self.params = self.Params() if params is None else params

    @property
    def least(self) -> int:
        """The fewest updates that a round can be made of."""
        return 1

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """What is exchanged, or kept, beside a model of these specs."""
        return ()

    def refusal(self, rules: Rules) -> str:
        """Why it does not go together with these rules, beginning with the field that is wrong; empty where it does."""
        return ""

    def misfit(self, training: Training) -> str:
        """Why it does not go together with how clients train, likewise."""
        return ""

    def clash(self, others: Mapping[str, Choice]) -> str:
        """Why it does not go together with the other choices, by their kinds: the parameter that is wrong and how it
        must be; empty where it does."""
        for kind, fitting in self.goes_with.items():
            if others[kind].name not in fitting:
                return f"{kind} must be {' or '.join(fitting)} with {self.name}: {self.because}"
        return ""


class Weigh(Choice):
    """How much each update counts."""

    by_steps: ClassVar[bool] = False
    """Whether it goes by the local steps that clients say they made."""
    by_loss: ClassVar[bool] = False
    """Whether it goes by the loss that clients say the last version has."""

    def coefficients(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[float]:
        """A number for each, as if it were fresh; `measures` are of the bounded changes, if the choice is measured."""
        raise NotImplementedError


class Bound(Choice):
    """How large a change may be."""

    def scales(self, measures: Measures) -> Sequence[float]:
        """What each change is multiplied by, from 0 to 1. Asked for only if the choice is measured."""
        raise NotImplementedError


class Fold(Choice):
    """How many become one."""

    sparse: ClassVar[bool] = False
    """Whether `fold` takes updates that lack some of the elements."""
    gathers: ClassVar[bool] = False
    """Whether `fold` holds a block of every update at a time, and not of one."""
    grows: ClassVar[bool] = False
    """Whether it makes forests of trees, by `aggregation.growing`, and not numbers of numbers."""
    alike: ClassVar[str] = ""
    """Why every update must count alike, a clause; empty where coefficients mean something."""
    scored: ClassVar[str] = ""
    """What an update's score is and which scores are taken, a clause; empty where `choose` gives none."""

    def refusal(self, rules: Rules) -> str:
        """Modes but sync weigh late updates less."""
        if self.alike and rules.mode != "sync":
            return f"mode must be sync: {self.alike}, mode {rules.mode} weighs late ones less"
        return ""

    def clash(self, others: Mapping[str, Choice]) -> str:
        """See `Choice`."""
        if self.alike and others["weigh"].name != "equal":
            return f"weigh must be equal: {self.alike}"
        return super().clash(others)

    def choose(self, coefficients: Sequence[float], measures: Measures | None) -> Sequence[Weighed]:
        """What becomes of each update of a round that has at least `least`; `measures` are of the bounded changes."""
        return [Weighed(coefficient) for coefficient in coefficients]

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """One block of every update, made one."""
        raise NotImplementedError

    def settle(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """The same of tensors that no gradient changes: never outside of what the base and the updates have."""
        return self.fold(stack, weighing)


class Server(Choice):
    """What the server does with what was folded."""

    def step(
        self, model: Elements, folded: Elements, state: Mapping[str, Elements], round_: int
    ) -> tuple[Elements, dict[str, Elements]]:
        """The block of the new model, and of its groups, after that round (the first is 1). No untrained tensor."""
        raise NotImplementedError


class Client(Choice):
    """What clients do beside plain training: a client's half of it, and the server's."""

    remembers: ClassVar[bool] = False
    """Whether the client's half needs more of where its round begins than the rate."""

    def hook(self, start: LocalStart) -> GradientHook | None:
        """What is done to every gradient of a round; the same function each time, with other constants."""
        return None

    def carried(self, start: LocalStart, trained: Sequence[Tensor], steps: int) -> dict[str, list[Tensor]]:
        """The groups that an update has beside the model, after so many steps to these `trained` tensors."""
        return {}

    def step(
        self, folded: Mapping[str, Elements], state: Mapping[str, Elements], facts: RoundFacts
    ) -> dict[str, Elements]:
        """The block of its groups after that round; `folded` has those that updates carry."""
        return {}
