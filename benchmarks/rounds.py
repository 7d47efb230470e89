"""`python -m benchmarks.rounds`: seconds of a round, from its opening to its commit, with clients that train nothing.

A real broker, one aggregator worker process, and every client with a reader of its own. The floor in the same run is
the broker's: the time to append the round's bytes and read them back with one connection each way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.federation import Case, measure
from benchmarks.machine import description
from benchmarks.stats import emit, in_turns, show
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.chunks import CHUNK_BYTES
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import MESSAGE_LIMIT, TopicSpec

FIGURES = {
    "seconds of the first round, or of the floor": ("first", 1.0),
    "seconds of a later round": ("later", 1.0),
    "seconds until a new model is on all clients": ("spreading", 1.0),
    "peak memory, MB: aggregator": ("aggregator_memory", 1e6),
}


def main() -> int:
    """Run `--repeat` federations and print each figure's minimum, median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--kilobytes", type=int, default=250, help="size of the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=1, help="partitions of the clients' topic")
    parser.add_argument("--repeat", type=int, default=5, help="federations, one after the other")
    parser.add_argument("--signed", action="store_true", help="beside them, federations in which everybody signs")
    options = parser.parse_args()
    case = Case(options.clients, options.kilobytes, options.rounds, partitions=options.partitions)
    with EmbeddedKafka() as kafka:
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "rounds": lambda: one(kafka, case),
            "floor": lambda: {"first": floor(kafka, options.clients, options.kilobytes << 10)},
        }
        if options.signed:
            sides["signed rounds"] = lambda: one(kafka, replace(case, signed=True))
        runs = in_turns(sides, options.repeat, "first")
    show(runs, FIGURES)
    emit({"benchmark": "rounds", **description(), **vars(options), "runs": runs})
    return 0


def one(kafka: EmbeddedKafka, case: Case) -> dict[str, Any]:
    """A federation's figures, its first round apart."""
    figures = measure(kafka, case)
    return figures | {"first": figures["rounds"][0], "later": figures["rounds"][1:]}


def floor(kafka: EmbeddedKafka, clients: int, nbytes: int) -> float:
    """Seconds to append one model a client and read them all back, through one connection each way."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    topic = f"floor-{time.monotonic_ns()}"
    log.create_topics([TopicSpec(topic, 1, {"max.message.bytes": str(MESSAGE_LIMIT)})])
    log.append(topic, [Outgoing(b"warm")])
    sizes = [min(CHUNK_BYTES, nbytes - start) for start in range(0, nbytes, CHUNK_BYTES)] * clients
    begin = time.perf_counter()
    offsets = log.append(topic, (Outgoing(bytes(size)) for size in sizes))
    for _ in log.read(topic, 0, offsets[0], offsets[-1] + 1):
        pass
    seconds = time.perf_counter() - begin
    log.delete_topics([topic])
    log.close()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
