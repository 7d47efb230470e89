"""`python -m benchmarks.proofs`: what it takes to prove a run from its log, and to export and replay it.

A federation of light clients runs; then `mainstem verify`, `export`, `replay` and `recall`, each a process of its own,
read it from the topics. Peak memory is the resident set's, seconds include the start. `--case 400KB --rounds 100` is a
long run of small updates (try 3000), `--late` one in buffered mode, where every other update starts from an old model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.federation import CASES, Case, client_processes, measure
from benchmarks.machine import ROOT, description
from benchmarks.stats import Run, emit, show
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog

LATE = {"mode": "buffered", "max_staleness": 40}
SLOW_SECONDS = 0.05
"""Training of half the clients of a late run; the others commit some rounds meanwhile."""

MEASURED = """import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
told = {"cpu_seconds": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss << 10}
print(json.dumps(told), file=sys.stderr)"""
"""A small parent: what a process has as peak memory begins with that of its parent."""

COMMANDS = ("verify", "export", "replay", "recall")


def main() -> int:
    """Run and prove `--repeat` federations on one broker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = {**CASES, "400KB": Case(10, 400)}
    parser.add_argument("--case", choices=cases, default="5MB", help="clients and size (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=1, help="partitions of the clients' topic")
    parser.add_argument("--late", action="store_true", help="buffered rounds of half the clients, the others come late")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    chosen = cases[options.case]
    rules = {**LATE, "buffer": chosen.clients // 2} if options.late else {}
    case = Case(
        chosen.clients, chosen.kilobytes, options.rounds, partitions=options.partitions, rules=rules,
        train="noise" if options.late else "noop",
    )  # fmt: skip
    start = partial(client_processes, seconds=[0.0, SLOW_SECONDS]) if options.late else client_processes
    runs: dict[str, list[Run]] = {command: [] for command in COMMANDS}
    with EmbeddedKafka() as kafka:
        for number in range(options.repeat):
            figures = measure(kafka, case, start=start, after=lambda log, id_: read_back(kafka, case, log, id_))
            for command in COMMANDS:
                runs[command].append(figures[command])
            print(f"{number + 1} of {options.repeat}: verify {figures['verify']['seconds']:.2f} s", file=sys.stderr)
    show(
        runs,
        {
            "seconds": ("seconds", 1),
            "of all processors": ("cpu_seconds", 1),
            "GB/s of updates": ("rate", 1),
            "peak memory, MB": ("memory", 1e6),
        },
    )
    emit({"benchmark": "proofs", **vars(case), **description(), "runs": runs})
    return 0


def read_back(kafka: EmbeddedKafka, case: Case, log: KafkaLog, federation: str) -> dict[str, Any]:
    """Each command's figures; AssertionError where one does not say what it must of this run."""
    rounds = case.rounds
    whole: dict[str, Callable[[dict[str, Any]], bool]] = {
        "verify": lambda told: (told["proved"], told["differs"], told["gone"]) == (rounds + 1, 0, 0),
        "export": lambda told: (told["versions"], told["incomplete"]) == (rounds + 1, []),
        "replay": lambda told: [each["same"] for each in told["rounds"]] == [True] * rounds,
        "recall": lambda told: 0 < len(told["versions"]) <= rounds,
    }
    with tempfile.TemporaryDirectory() as place:
        options = {"export": ["-o", str(Path(place) / "run")], "recall": ["--client", "client-0"]}
        return {
            command: ran(kafka, case, [command, federation, "--json", *options.get(command, [])], whole[command])
            for command in COMMANDS
        }


def ran(kafka: EmbeddedKafka, case: Case, arguments: list[str], whole: Callable[[dict[str, Any]], bool]) -> Run:
    """Seconds (on the clock, and of all processors), GB of updates a second and peak memory of one command."""
    updates = case.rules.get("buffer", case.clients)
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, "-m", "mainstem.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - began
    told, used = json.loads(process.stdout), json.loads(process.stderr)
    assert whole(told), told
    return {
        "seconds": seconds,
        "rate": case.rounds * updates * case.kilobytes * 1024 / seconds / 1e9,
        **used,
    }


if __name__ == "__main__":
    sys.exit(main())
