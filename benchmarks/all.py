"""`python -m benchmarks.all`: run every benchmark as published, keep its JSON, and rewrite the tables made of them.

Each benchmark is a process of its own; what it tells goes to benchmarks/results/NAME.json with its command, date,
duration and the load average before and after. From these files the tables between the marks `<!-- figures: NAME -->`
and `<!-- end -->` of DOCUMENTS are written, and docs/robust.svg and docs/convergence.svg are drawn; nothing there
is copied by hand.

    python -m benchmarks.all --flower-python DIR/bin/python              all of it (about an hour)
    python -m benchmarks.all --only rounds,recovery                      some of it
    python -m benchmarks.all --only grpc-5MB --repeat 1 --add            one more repetition, beside those kept
    python -m benchmarks.all --quick --results DIR                       all of it, small: does everything still run?
    python -m benchmarks.all --only ""                                   only rewrite the tables

Flower needs an environment of its own:  python3 -m venv DIR && DIR/bin/pip install flwr tensorflow scikit-learn
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.convergence import drawing as convergence
from benchmarks.machine import ROOT
from benchmarks.robust import drawing as robust

RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "RESULTS.md",
    ROOT / "docs" / "robust.md",
    ROOT / "docs" / "convergence.md",
)


@dataclass(frozen=True)
class Plan:
    """A module and its published arguments; `quick` ones come after them and win."""

    module: str
    arguments: str = ""
    repeat: int = 5
    quick: str = ""
    flower: bool = False

    def command(self, quick: bool, repeat: int | None) -> list[str]:
        """After the interpreter."""
        number = repeat or (1 if quick else self.repeat)
        words = [*self.arguments.split(), "--repeat", str(number), *(self.quick.split() if quick else [])]
        return ["-m", f"benchmarks.{self.module}", *words]


PLANS = {
    "rounds": Plan("rounds", quick="--rounds 2"),
    "rounds-350MB": Plan("rounds", "--clients 3 --kilobytes 358400 --rounds 2", 3, quick="--kilobytes 3584"),
    "platform": Plan("platform", quick="--rest 1"),
    "large": Plan("large", repeat=3, quick="--width 900"),
    "demo": Plan("demo", repeat=3),
    "grpc-250KB": Plan("against_flower", "--case 250KB --rounds 5", quick="--rounds 2", flower=True),
    "grpc-5MB": Plan("against_flower", "--case 5MB --rounds 3", quick="--rounds 1", flower=True),
    "grpc-50MB": Plan("against_flower", "--case 50MB --rounds 3", quick="--rounds 1", flower=True),
    "superlink": Plan("against_superlink", "--rounds 3", 3, quick="--rounds 1", flower=True),
    "digits": Plan("digits", "--rounds 5", quick="--rounds 1", flower=True),
    "aggregation": Plan("aggregation", quick="--clients 10"),
    "proofs": Plan("proofs", repeat=3, quick="--case 250KB --rounds 1"),
    "recovery": Plan("recovery", quick="--clients 10"),
    "scale-10-100": Plan("scale", "--clients 10,100", quick="--rounds 2"),
    "scale-1000": Plan("scale", "--clients 1000 --rounds 3", 3, quick="--rounds 1"),
    "stragglers": Plan("stragglers", quick="--rounds 2"),
    "robust": Plan("robust", repeat=3, quick="--rounds 2"),
    "convergence": Plan("convergence", quick="--rounds 2", flower=True),
}


def main() -> int:
    """Run, keep, rewrite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PLANS), help=f"comma-separated: {', '.join(PLANS)}")
    parser.add_argument("--flower-python", help="an interpreter that has flwr; without it Flower's parts are left out")
    parser.add_argument("--repeat", type=int, help="repetitions, instead of the published number")
    parser.add_argument("--add", action="store_true", help="add these runs to those that are kept")
    parser.add_argument("--quick", action="store_true", help="small and once; no figure of it is worth publishing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes (default: beside this)")
    options = parser.parse_args()
    if options.quick and options.results == RESULTS:
        parser.error("--quick must not replace the published figures: name another folder with --results")
    names = [name for name in options.only.split(",") if name]
    if unknown := set(names) - set(PLANS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not known; choose from {', '.join(PLANS)}")
    failed: list[str] = []
    options.results.mkdir(parents=True, exist_ok=True)
    for name in names:
        plan = PLANS[name]
        if plan.flower and not options.flower_python:
            print(f"{name}: left out, it needs --flower-python", file=sys.stderr)
            continue
        command = plan.command(options.quick, options.repeat)
        try:
            told = run(command, options.flower_python if plan.flower else None)
        except subprocess.CalledProcessError as error:
            print(f"{name} failed and keeps its earlier figures: {error}", file=sys.stderr)
            failed.append(name)
            continue
        file = options.results / f"{name}.json"
        if options.add and file.exists():
            told = joined(json.loads(file.read_text()), told)
        file.write_text(json.dumps(told, indent=1) + "\n")
    kept = {file.stem: json.loads(file.read_text()) for file in sorted(options.results.glob("*.json"))}
    if options.results == RESULTS:
        for document in DOCUMENTS:
            document.write_text(tables.rewritten(document.read_text(), kept))
        robust.main()
        convergence.main()
    else:
        for name in tables.TABLES:
            print(f"\n{name}\n{tables.made(name, kept)}", file=sys.stderr)
    return 1 if failed else 0


def run(command: Sequence[str], flower: str | None) -> dict[str, Any]:
    """What the benchmark told, with how it was measured; raises CalledProcessError where it failed."""
    print(f"\n$ python {' '.join(command)}", file=sys.stderr)
    before, began = os.getloadavg()[0], time.monotonic()
    words = [sys.executable, *command, *(["--flower-python", flower] if flower else [])]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    measured = {
        "command": f"python {' '.join(command)}" + (" --flower-python DIR/bin/python" if flower else ""),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.monotonic() - began),
        "load_before": round(before, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    return {**{key: value for key, value in told.items() if key not in ("date", "load")}, "measured": [measured]}


def joined(kept: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The runs of both, of the same things."""
    if set(kept["runs"]) != set(new["runs"]):
        raise SystemExit("--add: the kept file is of something else; run it without --add")
    runs = {side: [*kept["runs"][side], *new["runs"][side]] for side in kept["runs"]}
    return {**kept, **new, "runs": runs, "measured": [*kept["measured"], *new["measured"]]}


if __name__ == "__main__":
    sys.exit(main())
