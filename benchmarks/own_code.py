"""`python -m benchmarks.own_code`: what a round costs our own code, without Kafka: CPU milliseconds by part.

The clients and the aggregator of a federation take turns over a log in memory, in one thread, so that a busy machine
changes little: of each part the cheapest round counts, without the first and the last. What a real round takes beyond
that is Kafka's, its client library's and the kernel's: see `benchmarks.floor`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.against_flower import DOWN, encoded
from benchmarks.federation import CASES, Case
from benchmarks.machine import description
from benchmarks.stats import emit, in_turns, show
from mainstem.aggregator.federation import Federation
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Rules
from mainstem.runtime.clock import SystemClock
from mainstem.runtime.memory import use_one_heap
from mainstem.swarm import PoolClient, make, open_federation
from mainstem.testing.memory_log import MemoryLog

FIGURES = {"ms a client and round": ("client", 1.0), "ms an update, aggregator": ("aggregator", 1.0)}


def main() -> int:
    """Run one case raw and encoded, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="250KB", help="the model's size (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=5, help="a case's updates must fit in memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    use_one_heap()
    case = replace(CASES[options.case], clients=options.clients, rounds=options.rounds)
    sides = {"raw": partial(one, case)} | {name: partial(one, encoded(case, name)) for name in DOWN}
    runs = in_turns(sides, options.repeat, "client")
    show(runs, FIGURES)
    emit({"benchmark": "own_code", **description(), **vars(options), "runs": runs})
    return 0


def one(case: Case) -> dict[str, Any]:
    """A federation from its opening to its end; CPU milliseconds a client, by part."""
    log = MemoryLog(SystemClock())
    log.create_topics([])
    rules = Rules(**{"rounds": case.rounds, "min_clients": case.clients, "max_clients": case.clients, **case.rules})
    id_ = open_federation(log, case.model(), rules)
    federation = Federation(log, id_, clock=SystemClock(), writer="own-code")
    clients = [PoolClient(log, id_, f"client-{number}", make("noop", number)) for number in range(case.clients)]
    control = ControlTopic(log, id_)
    control.sync()
    spent: dict[str, list[float]] = {"client": [], "aggregator": []}
    while any(not client.gone for client in clients):
        head, began = control.head, time.thread_time()
        assert head is not None
        for client in clients:
            client.follow(head)
        sent = time.thread_time()
        while control.head is head and federation.step(0.0):
            control.sync()
        spent["client"].append(sent - began)
        spent["aggregator"].append(time.thread_time() - sent)
    return {part: round(1000 * min(rounds[1:-1]) / case.clients, 3) for part, rounds in spent.items()}


if __name__ == "__main__":
    sys.exit(main())
