"""Small finished runs over a log in memory: a real aggregator and real clients, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backend.aggregator.federation import Federation
from mainstem.memory_log import MemoryLog
from mainstem.messages import Command, Rules, Strategy, encode
from mainstem.ports import MessageLog, Outgoing
from mainstem.topics import control_topic
from mainstem.weights import Tensor
from tests.support.federations import LightClient, open_federation

START: list[Tensor] = [np.linspace(-1, 1, 12).reshape(3, 4), np.array([1.0, -2.0], np.float32), np.array(3, np.int64)]


class Ticking:
    """A clock that goes on by a millisecond whenever it is asked."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        """See `ports.Clock`."""
        self.ms += 1
        return self.ms

    def elapsed_ms(self) -> int:
        """See `ports.Clock`."""
        return self.now_ms()


def train(number: int) -> Callable[[Sequence[Tensor], int], list[Tensor]]:
    """Client `number`'s training: moves floats towards a place of its own, by the base sequence."""
    return lambda tensors, seq: [
        (t * 0.5 + number + 0.01 * seq).astype(t.dtype) if t.dtype.kind == "f" else t for t in tensors
    ]


def clients_of(log: MessageLog, federation: str, count: int, incarnation: str = "1") -> list[LightClient]:
    """Clients `c0`, `c1`, ... with 10, 11, ... examples."""
    return [
        LightClient(log, federation, f"c{n}", train(n), examples=10 + n, incarnation=incarnation) for n in range(count)
    ]


def drive(aggregator: Federation, clients: Sequence[LightClient], turns: int = 2000) -> None:
    """Turn by turn until the run has ended and every client has left."""
    for _ in range(turns):
        alive = aggregator.step(0.0)
        left = [client for client in clients if not client.gone and client.step(0.0)]
        if not alive and not left:
            return
    raise AssertionError("the run did not end")


def finished_run(
    rounds: int = 3, count: int = 2, strategy: Strategy | None = None, **rules: object
) -> tuple[MemoryLog, str]:
    """A log that holds a finished run of `count` clients, and the federation's id."""
    clock = Ticking()
    log = MemoryLog(clock)
    chosen = Rules(rounds=rounds, min_clients=count, max_clients=count, **rules)  # type: ignore[arg-type]
    federation = open_federation(log, START, chosen, strategy, federation="lineage1")
    aggregate(log, federation, clients_of(log, federation, count), clock)
    return log, federation


def aggregate(log: MessageLog, federation: str, clients: Sequence[LightClient], clock: Ticking | None = None) -> None:
    """A new aggregator that runs the federation with these clients to its end."""
    aggregator = Federation(log, federation, clock=clock or Ticking(), writer="w")
    try:
        drive(aggregator, clients)
    finally:
        aggregator.close()


def command(log: MessageLog, federation: str, action: str, **fields: object) -> int:
    """A person's command; its offset."""
    order = Command(federation=federation, action=action, id=f"{action}-{fields}", **fields)  # type: ignore[arg-type]
    return log.append(control_topic(federation), [Outgoing(encode(order))])[0]
