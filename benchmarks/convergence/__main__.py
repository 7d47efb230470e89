"""`python -m benchmarks.convergence`: accuracy by round of every strategy and encoding on real digits.

Ten clients whose digits differ (Dirichlet 0.3), 30 rounds, a number of seeds: each draws the shares, the first model
and the order of the images anew. Every strategy of the registry runs with its defaults, then each encoding under
FedAvg; all of it through real aggregators and clients over a log in memory (benchmarks/convergence/federation.py). One
more run trains in Keras, to check the network in NumPy.

With --flower-python, Flower's strategies get the same first models, clients, order, seeds and training: their classes'
`aggregate_fit` is called as Flower's server calls it, so that no transport is in the way. Its environment:
python3 -m venv DIR && DIR/bin/pip install flwr scikit-learn

`python -m benchmarks.all --only convergence` keeps the result; the tables and the picture of docs/convergence.md are
made of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.convergence import task
from benchmarks.convergence.federation import figures
from benchmarks.convergence.sides import SIDES, STRATEGY_SIDES, parameters, perform
from benchmarks.convergence.table import FLOWER, KERAS
from benchmarks.machine import Child, description
from benchmarks.stats import Run, emit, show
from benchmarks.versus import version

PATIENCE = 1800.0
"""Seconds for Flower's strategies of one seed."""


def main() -> int:
    """Run every side with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", help="an interpreter that has flwr and scikit-learn")
    parser.add_argument("--rounds", type=int, default=task.ROUNDS)
    parser.add_argument("--repeat", type=int, default=5, help="seeds (default: %(default)s)")
    parser.add_argument("--only", default="", help="sides whose name has this in it")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    sides = {name: side for name, side in SIDES.items() if options.only in name}
    jobs = [(name, seed, options.rounds) for seed in range(options.repeat) for name in sides]
    if options.only in KERAS:
        jobs.append((KERAS, 0, options.rounds))
    runs: dict[str, list[Run]] = {}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for number, (name, figures_) in enumerate(pool.imap(perform, jobs), 1):
            runs.setdefault(name, []).append(figures_)
            print(f"{number} of {len(jobs)}, {name}: {figures_['last']:.1f}", file=sys.stderr)
    python = options.flower_python
    if python:
        for seed in range(options.repeat):
            for name, accuracies in flower(python, seed, options.rounds, list(sides)).items():
                runs.setdefault(FLOWER + name, []).append({"accuracies": accuracies, **figures(accuracies)})
    show_all(runs)
    result = {"benchmark": "convergence", "flower": version(python) if python else None, "clients": task.CLIENTS}
    emit({**result, "rounds": options.rounds, "seeds": options.repeat, **description(), "runs": runs})
    return 0


def flower(python: str, seed: int, rounds: int, names: Sequence[str]) -> dict[str, list[float]]:
    """Strategy -> accuracies, of those that Flower has."""
    chosen = {name: parameters(name) for name in names if name in STRATEGY_SIDES}
    words = ["-m", "benchmarks.flower.convergence", "--seed", str(seed), "--rounds", str(rounds)]
    told: dict[str, Any] = Child([python, *words, "--params", json.dumps(chosen)]).told(PATIENCE)
    found: dict[str, list[float]] = told["accuracies"]
    return found


def show_all(runs: dict[str, list[Run]]) -> None:
    """A line a side."""
    width = max(map(len, runs))
    for name, kept in runs.items():
        show({f"{name:{width}}": kept}, {"accuracy, last round": ("last", 1)})


if __name__ == "__main__":
    sys.exit(main())
