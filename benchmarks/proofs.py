"""`python -m benchmarks.proofs`: what it takes to prove a run from its log, at 100 clients and 5 MB.

A federation of light clients runs; then `mainstem verify`, a process of its own, makes every version again from the
updates in the topics. Its peak memory is the resident set's, its seconds include its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.federation import CASES, Case, measure
from benchmarks.machine import ROOT, description
from benchmarks.stats import emit, in_turns, show
from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.kafka.log import KafkaLog


def main() -> int:
    """Run and prove `--repeat` federations on one broker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="5MB", help="clients and size (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    case = Case(CASES[options.case].clients, CASES[options.case].kilobytes, rounds=options.rounds)
    with EmbeddedKafka() as kafka:
        runs = in_turns({"verify": lambda: proved(kafka, case)}, options.repeat, "seconds")
    show(runs, {"seconds": ("seconds", 1), "GB/s of updates": ("rate", 1), "peak memory, MB": ("memory", 1e6)})
    emit({"benchmark": "proofs", **vars(case), **description(), "runs": runs})
    return 0


def proved(kafka: EmbeddedKafka, case: Case) -> dict[str, Any]:
    """Seconds, GB of updates a second and peak memory of one proof; AssertionError where a version is not proved."""
    nbytes = case.rounds * case.clients * case.kilobytes * 1024

    def prove(_: KafkaLog, federation: str) -> dict[str, Any]:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "mainstem.cli", "verify", federation, "--json"],
            cwd=ROOT,
            env={**os.environ, "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        assert (process.returncode, told["proved"], told["differs"], told["gone"]) == (0, case.rounds + 1, 0, 0), told
        return {"seconds": seconds, "rate": nbytes / seconds / 1e9, "memory": used.ru_maxrss << 10}

    return {name: value for name, value in measure(kafka, case, after=prove).items() if name in FIGURES}


FIGURES = ("seconds", "rate", "memory")


if __name__ == "__main__":
    sys.exit(main())
