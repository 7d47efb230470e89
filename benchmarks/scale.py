"""`python -m benchmarks.scale`: 10, 100 and 1,000 clients with one model: how a round's cost grows.

Up to 100 clients have a reader of their own each; above, those of a process share readers (labelled), since a
thousand consumers and their threads would measure this machine.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.federation import Case, measure
from benchmarks.machine import description
from benchmarks.stats import emit, summary, table
from mainstem.kafka.embedded import EmbeddedKafka

OWN = 100
"""Clients that have a reader each, at most."""


def main() -> int:
    """Run every number of clients `--repeat` times, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="10,100,1000")
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    cases = {
        number: Case(number, options.kilobytes, options.rounds, readers="own" if number <= OWN else "shared")
        for number in map(int, options.clients.split(","))
    }
    runs: dict[int, list[dict[str, list[float]]]] = {number: [] for number in cases}
    with EmbeddedKafka() as kafka:
        for _ in range(options.repeat):
            for number, case in cases.items():
                runs[number].append(measure(kafka, case))
    result = {}
    for number, kept in runs.items():
        kind = f"{number} clients, {cases[number].readers} readers"
        seconds = {"a round": summary([value for run in kept for value in run["rounds"]])}
        spread = {"new model on all": summary([value for run in kept for value in run["spreading"]])}
        figures = {
            name: summary([run[name] / unit for run in kept])  # type: ignore[operator]
            for name, unit in (
                ("aggregator_cpu", 1.0),
                ("broker_cpu", 1.0),
                ("clients_cpu", 1.0),
                ("aggregator_memory", 1e6),
                ("broker_memory", 1e6),
            )
        }
        print(f"\n{kind}", file=sys.stderr)
        table({**seconds, **spread}, "s")
        table(figures, "(CPU s a run, or MB)")
        result[kind] = {**seconds, **spread, **figures}
    emit({"benchmark": "scale", **description(), **vars(options), "cases": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
