"""`python -m benchmarks.demo`: the whole of `./run.sh --demo --once`, warm: seconds, accuracy, and the same sha256.

Three clients in training processes of their own, five rounds on real handwritten digits, from the start of the platform
to the measured model. A first run that prepares the directory is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.machine import ROOT, description
from benchmarks.stats import emit, in_turns, show
from mainstem.runtime.processes import free_port


def main() -> int:
    """Run it `--repeat` times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        demo(home)
        runs = in_turns({"demo": lambda: demo(home)}, options.repeat, "seconds")
    stages = [name for name, value in runs["demo"][0].items() if isinstance(value, float)]
    show(runs, {name: (name, 1) for name in stages})
    print(f"final hashes: {len({run['sha256'] for run in runs['demo']})}", file=sys.stderr)
    emit({"benchmark": "demo", **description(), "runs": runs})
    return 0


def demo(home: str) -> dict[str, Any]:
    """One run: seconds in all and of each stage, accuracy, sha256."""
    ports = ["--port", str(free_port()), "--kafka-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-m", "mainstem.cli", "up", "--demo", "--once", *ports],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MAINSTEM_HOME": home, "COLUMNS": "400"},
    )
    result = json.loads(done.stdout.splitlines()[-1])
    told = re.search(r"^seconds: (.*)$", done.stdout + done.stderr, re.MULTILINE)
    assert told is not None
    stages = dict(stage.rsplit(" ", 1) for stage in told[1].split(", "))
    split = {name: float(seconds) for name, seconds in stages.items()}
    return {"seconds": result["seconds"], **split, "accuracy": result["accuracy"], "sha256": result["final_sha256"]}


if __name__ == "__main__":
    sys.exit(main())
