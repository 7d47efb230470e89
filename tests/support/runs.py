"""Small finished runs over a log in memory: a real aggregator and real clients, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import MessageLog, Outgoing
from mainstem.protocol.messages import Command, Rules, StrategyChoice, encode
from mainstem.protocol.packing import PACKED_BYTES
from mainstem.protocol.topics import control_topic
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation

START: list[Tensor] = [np.linspace(-1, 1, 12).reshape(3, 4), np.array([1.0, -2.0], np.float32), np.array(3, np.int64)]


class Ticking:
    """A clock that goes on by a millisecond whenever it is asked."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        """See `Clock`."""
        self.ms += 1
        return self.ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.now_ms()


def train(number: int) -> Callable[[Sequence[Tensor], int], list[Tensor]]:
    """Client `number`'s training: moves floats towards a place of its own, by the base sequence."""
    return lambda tensors, seq: [
        (t * 0.5 + number + 0.01 * seq).astype(t.dtype) if t.dtype.kind == "f" else t for t in tensors
    ]


def clients_of(
    log: MessageLog, federation: str, count: int, incarnation: str = "1", packed: int = PACKED_BYTES
) -> list[LightClient]:
    """Clients `c0`, `c1`, ... with 10, 11, ... examples; their updates up to `packed` bytes are one record each."""
    return [
        LightClient(log, federation, f"c{n}", train(n), examples=10 + n, incarnation=incarnation, packed=packed)
        for n in range(count)
    ]


def aggregate_by_many(log: MessageLog, federation: str, clients: Sequence[LightClient], turns: int = 3) -> None:
    """To the run's end by aggregators that are killed after so many turns, each followed by a new one."""
    for number in range(500):
        aggregator = Federation(log, federation, clock=Ticking(), writer=f"w{number}")
        try:
            drive(aggregator, clients, turns)
            return
        except AssertionError:
            continue  # it was killed in mid-run
        finally:
            aggregator.close()


def drive(aggregator: Federation, clients: Sequence[LightClient], turns: int = 2000) -> None:
    """Turn by turn until the run has ended and every client has left."""
    for _ in range(turns):
        alive = aggregator.step(0.0)
        left = [client for client in clients if not client.gone and client.step(0.0)]
        if not alive and not left:
            return
    raise AssertionError("the run did not end")


def finished_run(
    rounds: int = 3, count: int = 2, strategy: StrategyChoice | None = None, **rules: object
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
