"""What a strategy has its clients do while they train, beside what the run's training says: data for whoever trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mainstem.protocol.weights import Tensor

Change = Callable[[Any, Any, Any, Any], Any]
"""(gradient, weight, weight at the round's start, constant of the round) -> gradient, of one trained tensor."""


@dataclass(frozen=True, slots=True)
class GradientHook:
    """What is done to every gradient of a round, whatever the model and the loss.

    `change` gets and gives the engine's own tensors, so it is made of + - * alone: mu (w - w0) more is FedProx, a
    constant c - c_i more is SCAFFOLD. `constants` are those of this round, one for each of the model's trained tensors;
    without any they are zeros. An engine compiles once for each `change`: keep the function from round to round.
    """

    change: Change
    constants: Sequence[Tensor] = ()


@dataclass(frozen=True, slots=True)
class LocalStart:
    """Where a client's round begins, as far as its strategy asks for more than the model.

    All tensors are like the model's trained ones: `model` has these themselves, `down` the groups that were published
    with the model, `own` the sums of what the client's counted updates carried up, by group. `rate` is the round's
    learning rate; None: the optimizer's own.
    """

    rate: float | None
    model: Sequence[Tensor] = ()
    down: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    own: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
