"""`python -m benchmarks.robust`: every strategy against hostile clients, on real digits.

Ten sites in this process train a small network for 30 rounds, up to three of them hostile, and what they send is
reduced by the code that an aggregator runs. Every strategy that goes with ten clients is tried, IID and with labels cut
by a Dirichlet draw (0.3), against each attack of benchmarks/robust/attacks.py. Rules that ask how many attackers to
expect are told three, or as many as they may be told. The same seeds give the same figures.

    python -m benchmarks.robust --repeat 1 --only fedavg,krum     a look, within a minute
    python -m benchmarks.all --only robust                        as published: keeps the JSON, rewrites docs/robust.md
    python -m benchmarks.robust --only krum --keep                one strategy anew among those kept, then
    python -m benchmarks.all --only ""                            which rewrites docs/robust.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from typing import Any

from benchmarks.machine import description
from benchmarks.robust.attacks import ATTACKS
from benchmarks.robust.drawing import KEPT
from benchmarks.robust.sites import SPLITS
from benchmarks.robust.table import Told
from benchmarks.robust.trial import CLIENTS, EXPECTED, NONE, ROUNDS, Trial, rules, run
from benchmarks.stats import emit


def main() -> int:
    """Try all of it, in as many processes as there are cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="seeds: split, first weights, batches (default: 3)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--only", default="", metavar="RULES", help="comma-separated: these strategies alone")
    parser.add_argument("--keep", action="store_true", help="put the figures into benchmarks/results/robust.json")
    options = parser.parse_args()
    known = rules()
    chosen = [name for name in options.only.split(",") if name] or list(known)
    if unknown := set(chosen) - set(known):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not known; choose from {', '.join(known)}")
    given = trials(chosen, options.repeat)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # of the processes below: each has a core for itself
    runs: dict[str, list[dict[str, float]]] = {}
    before, began = os.getloadavg()[0], time.monotonic()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        found = pool.map(partial(run, rounds=options.rounds), given, chunksize=4)
        for trial, figures in zip(given, found, strict=True):
            if trial.side not in runs:
                print(f"{time.monotonic() - began:6.1f} s  {trial.side}", file=sys.stderr)
            runs.setdefault(trial.side, []).append(figures)
    about = {"benchmark": "robust", "clients": CLIENTS, "rounds": options.rounds, **description()}
    told = {**about, "rules": {name: dict(known[name].params) for name in chosen}, "runs": runs}
    if not options.keep:
        emit(told)
        return 0
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    command = f"python -m benchmarks.robust --repeat {options.repeat} --only {','.join(chosen)}"
    measured = {
        "command": command, "date": now, "seconds": round(time.monotonic() - began),
        "load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    kept = joined(json.loads(KEPT.read_text()), told, measured, list(known))
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


def joined(kept: Told, told: Told, measured: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """What is kept, with these rules' figures in the place of theirs, and rules in this order; of others nothing."""
    rules = {**kept["rules"], **told["rules"]}
    runs = {**kept["runs"], **told["runs"]}
    found = {name: rules[name] for name in order if name in rules}
    return {
        **kept,
        "rules": found,
        "runs": {side: each for side, each in runs.items() if side.partition(",")[0] in found},
        "measured": [*kept["measured"], measured],
    }


def trials(chosen: list[str], seeds: int) -> list[Trial]:
    """All of them, a rule's together."""
    attacks = [(NONE, 0), *((attack, count) for attack in ATTACKS for count in range(1, EXPECTED + 1))]
    return [
        Trial(rule, split, attack, count, seed)
        for rule in chosen
        for split in SPLITS
        for attack, count in attacks
        for seed in range(seeds)
    ]


if __name__ == "__main__":
    sys.exit(main())
