"""`python -m benchmarks.scale`: 10, 100 and 1,000 clients with one model: how a round's cost grows.

Up to 100 clients have a reader of their own each; above, those of a process share readers (labelled), since a
thousand consumers and their threads would measure this machine.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks.federation import Case, measure
from benchmarks.machine import description
from benchmarks.stats import emit, in_turns, show
from mainstem.kafka.broker.embedded import EmbeddedKafka

OWN = 100
"""Clients that have a reader each, at most."""

FIGURES = {
    "seconds a round": ("rounds", 1.0),
    "seconds until the new model is on all": ("spreading", 1.0),
    "CPU seconds a run, aggregator": ("aggregator_cpu", 1.0),
    "CPU seconds a run, broker": ("broker_cpu", 1.0),
    "CPU seconds a run, clients": ("clients_cpu", 1.0),
    "peak memory, MB: aggregator": ("aggregator_memory", 1e6),
    "peak memory, MB: broker": ("broker_memory", 1e6),
}


def main() -> int:
    """Run every number of clients `--repeat` times, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="10,100,1000")
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    cases = {
        number: Case(number, options.kilobytes, options.rounds, readers="own" if number <= OWN else "shared")
        for number in map(int, options.clients.split(","))
    }
    with EmbeddedKafka() as kafka:
        runs = in_turns({str(n): partial(measure, kafka, case) for n, case in cases.items()}, options.repeat, "rounds")
    show(runs, FIGURES)
    emit({"benchmark": "scale", **description(), **vars(options), "own_readers_up_to": OWN, "runs": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
