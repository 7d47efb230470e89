"""Which faults a federation meets, from the seed alone. `tests.chaos.faults` carries out what is chosen here."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CLIENTS, AGGREGATORS = 3, 2

KINDS: dict[str, int] = {"kill": 10, "freeze": 8, "network": 10, "step": 6, "disk": 2, "database": 1}
"""Every kind of fault, and how many of each are among as many faults as this sums up to."""

FEDERATED = (*(f"aggregator-{n}" for n in range(AGGREGATORS)), *(f"client-{n}" for n in range(CLIENTS)))
LOGGERS = ("control_logger", "data_control_logger")
PLATFORM = ("web", *LOGGERS, "launchers")
ALL = (*FEDERATED, *FEDERATED, *PLATFORM, "kafka")  # the federation's own parts are hit more often
DOORS = (*FEDERATED, *LOGGERS, "launchers")
"""The parts that reach Kafka through a door of their own; the loggers reach the backend through another, `web`."""

CALLS = {"aggregator": 40, "client": 20}
"""About as many calls of its log as a part makes in the rest of a short run."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `wait` is seconds before it, `seconds` how long it lasts where it lasts.

    `number` is the call of the log (step) or how many bytes of the next record still fit (disk).
    """

    kind: str
    target: str
    how: str = ""
    wait: float = 0.0
    seconds: float = 0.0
    number: int = 0


def faults(seed: int, federation: int, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Fault]:
    """The faults of federation number `federation` of the campaign `seed`, without end."""
    chance = random.Random(f"{seed}/{federation}/{','.join(sorted(kinds))}")
    deck = [kind for kind in sorted(kinds) for _ in range(KINDS[kind])]
    while True:
        chance.shuffle(deck)
        for kind in deck:
            yield _fault(kind, chance)


def _fault(kind: str, chance: random.Random) -> Fault:
    wait = chance.uniform(0.0, 1.0)
    match kind:
        case "kill":
            target = chance.choice(ALL)
            how = chance.choice(("first", "worker")) if target == "web" else "first"
            return Fault(kind, target, how, wait)
        case "freeze":
            return Fault(kind, chance.choice(ALL), "", wait, chance.uniform(0.1, 2.5))
        case "network":
            how = chance.choice(("cut", "hold", "lose answers", "slow"))
            return Fault(kind, chance.choice((*FEDERATED, *DOORS, "web")), how, wait, chance.uniform(0.1, 3.0))
        case "step":
            target, how = chance.choice(FEDERATED), chance.choice(("before", "within", "after"))
            return Fault(kind, target, how, wait, 8.0, chance.randint(1, CALLS[target.partition("-")[0]]))
        case "disk":
            how = chance.choice(("full", "limit", "read-only"))
            return Fault(kind, "kafka", how, 2 * wait, chance.uniform(1.0, 3.0), chance.randint(0, 200))
        case "database":
            return Fault(kind, "database", "lost", wait, chance.uniform(0.0, 1.5))
    raise ValueError(f"{kind} is no kind of fault: {', '.join(KINDS)}")
