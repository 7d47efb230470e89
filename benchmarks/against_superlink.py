"""`python -m benchmarks.against_superlink`: rounds with clients that train nothing, beside Flower's SuperLink.

Flower's newer runtime: a SuperLink, a SuperNode a client, and an app sent to them by `flwr run`. It starts a Python
process for every message to a client; all of these are counted. Each turn starts the SuperLink and its nodes anew,
so that they do not run while ours does; CPU is counted from the run's submission on, when they are connected. Ours
has as many clients in two processes, and counts its processes from their start.

Flower needs an environment of its own:  python3 -m venv DIR && DIR/bin/pip install flwr
then:  python -m benchmarks.against_superlink --flower-python DIR/bin/python
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.federation import Case
from benchmarks.machine import ROOT, Tree, description
from benchmarks.stats import emit, in_turns, show
from benchmarks.versus import FIGURES, ours, version
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.runtime.processes import free_port

APP = ROOT / "benchmarks" / "flower" / "superlink"
PATIENCE = 240.0
"""Seconds for a part of the run."""


def main() -> int:
    """Run both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", required=True, help="the interpreter of an environment that has flwr")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    case = Case(options.clients, options.kilobytes, options.rounds)
    result = {"benchmark": "against_superlink", "flower": version(options.flower_python), **vars(case)}
    with EmbeddedKafka() as kafka:
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "mainstem": lambda: ours(kafka, case),
            "flower": lambda: superlink(Path(options.flower_python).parent, case),
        }
        runs = in_turns(sides, options.repeat, "rounds")
    show(runs, FIGURES)
    emit({**result, **description(), "runs": runs})
    return 0


def superlink(programs: Path, case: Case) -> dict[str, Any]:
    """One run on a fresh SuperLink; raises RuntimeError with Flower's words where it fails."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        home = Path(name)
        address = f"127.0.0.1:{free_port()}"
        (home / "config.toml").write_text(f'[superlink.here]\naddress = "{address}"\ninsecure = true\n')
        environment = {
            **os.environ,
            "FLWR_HOME": name,
            "FLWR_TELEMETRY_ENABLED": "0",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }

        def start(log: str, program: str, *arguments: str) -> Tree:
            tree = Tree([str(programs / program), "--insecure", *arguments], environment, home / log)
            stack.callback(tree.end)
            return tree

        port = address.rpartition(":")[2]
        server = start("link.log", "flower-superlink", "--port", port, "--disable-runtime-dependency-installation")
        nodes = [
            start(f"node-{number}.log", "flower-supernode", "--superlink", address, "--port", str(free_port()))
            for number in range(case.clients)
        ]
        _until(lambda: (home / "link.log").read_text().count("Activated node_id") >= case.clients, home)
        _until(lambda: all(len(tree.pids()) > 1 for tree in (server, *nodes)), home)
        before = [tree.cpu_seconds() for tree in (server, *nodes)]
        report = home / "report.json"
        settings = f'report="{report}" clients={case.clients} rounds={case.rounds}'
        settings += f" kilobytes={case.kilobytes} tensors={case.tensors}"
        command = [str(programs / "flwr"), "run", str(APP), "here", "--run-config", settings]
        submitted = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        if submitted.returncode:
            raise RuntimeError(f"flwr run: {submitted.stdout}{submitted.stderr}")
        _until(report.exists, home)
        used = [tree.cpu_seconds() - cpu for tree, cpu in zip((server, *nodes), before, strict=True)]
        rounds = [told for _, told in sorted(json.loads(report.read_text()).items())]
        assert {told["updates"] for told in rounds} == {case.clients}, "an update was lost"
        seconds = [told["end"] - told["begin"] for told in rounds]
        return {
            "rounds": seconds,
            "later": seconds[1:],
            "spreading": [told["seen"] - told["model"] for told in rounds],
            "total": rounds[-1]["end"] - rounds[0]["begin"],
            "server_cpu": used[0],
            "clients_cpu": sum(used[1:]),
            "server_memory": server.peak,
            "side_memory": server.peak,
            "clients_memory": sum(node.peak for node in nodes),
        }


def _until(condition: Callable[[], bool], home: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in home.glob("*.log"))
            raise RuntimeError(f"the SuperLink did not come so far in {PATIENCE:g} s: {logs}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
