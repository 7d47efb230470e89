"""What becomes of a trained model before it is published: stages, each a pure function, as `opened` asks for them.

    train -> change -> bound -> noise -> encode -> mask -> publish

A stage is `(tensors, state) -> (tensors, state)`; what it needs the next time it keeps under its own name (`keep`).
Its maker looks at the run and at where the round began, and gives None where the run does not ask for it; `STAGES` has
the makers in that order. What no maker and nothing else of this release knows is refused by `unknown`, before a client
joins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from mainstem.aggregation import strategies
from mainstem.client.encoding import encode
from mainstem.client.keep import State
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import rate_of
from mainstem.protocol import encodings
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import UP, Exchange, exchange
from mainstem.protocol.messages import Base, Group, Opened
from mainstem.protocol.weights import Tensor
from mainstem.rounds import modes

Stage = Callable[[Sequence[Tensor], State], tuple[Sequence[Tensor], State]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a client's round began: the run, what that exchanges, and the model that it trains from."""

    opened: Opened
    specs: Exchange
    client: str
    base: Base
    model: Sequence[Tensor]


Make = Callable[[Origin], Stage | None]

STAGES: Final[Sequence[Make]] = (encode,)


def compose(makes: Sequence[Make], origin: Origin) -> Stage:
    """One stage of all that the run asks for; without any it holds nothing of `origin`."""
    stages = [stage for make in makes if (stage := make(origin)) is not None]

    def run(tensors: Sequence[Tensor], state: State) -> tuple[Sequence[Tensor], State]:
        for stage in stages:
            tensors, state = stage(tensors, state)
        return tensors, state

    return run


def unknown(head: Head, frameworks: Collection[str] | None) -> list[str]:
    """What the run asks of its clients that this release does not know, a clause each.

    `frameworks` are those that the client trains; None: it does not look at the architecture.
    """
    opened = head.opened
    told = []
    if frameworks is not None and opened.framework.lower() not in frameworks:
        told.append(f"its framework is {opened.framework[:40]!r} (known: {', '.join(sorted(frameworks))})")
    made: Collection[Group] = ()
    try:
        strategy = strategies.make(opened.strategy.name, opened.strategy.params)
        made = strategy.asks.groups(exchange(opened))
        told += filter(None, [strategy.misfit(opened.training)])
    except ConfigError as error:
        told.append(str(error))
    for group in opened.groups:
        if group.direction == UP and group not in made:
            told.append(f"each update carries the group {group.name!r}, which no stage makes")
    checks: tuple[Callable[[], object], ...] = (
        lambda: encodings.make(opened.rules.encoding_up, "encoding_up"),
        lambda: encodings.make(opened.rules.encoding_down, "encoding_down"),
        lambda: modes.make(head.rules),
        lambda: rate_of(opened.training, head.round + 1, opened.rules.rounds),
    )
    for check in checks:
        try:
            check()
        except ConfigError as error:
            told.append(str(error))
    return told
