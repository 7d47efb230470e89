"""`python -m benchmarks.platform`: seconds until the broker and the whole platform are ready, and their memory.

Memory is the proportional set size (each process's own pages and its share of shared ones), summed over all processes
of the platform without trainers, after a minute's rest. Starts are warm: everything was prepared by a first start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.stats import emit, show
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.platform.home import Home
from mainstem.runtime.processes import descendants, die_with_parent, free_port, memory

MEGABYTE = 1 << 20


def main() -> int:
    """Start and stop `--repeat` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rest", type=float, default=60.0, help="seconds before memory is read (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        brokers = [broker_start(Path(directory) / "kafka") for _ in range(options.repeat + 1)][1:]
        home = Home(Path(directory) / "home")
        platforms: list[dict[str, float]] = []
        used: dict[str, float] = {}
        for number in range(options.repeat + 1):
            ready, stopped, used = platform_start(home, options.rest if number == options.repeat else 0)
            if number:  # the first start prepares the database
                platforms.append({"ready": ready, "stop": stopped})
    rest = {"total": round(sum(used.values()), 1), **used}
    runs = {"broker": [{"ready": seconds} for seconds in brokers], "platform": platforms, "memory": [rest]}
    show(runs, {"seconds to ready": ("ready", 1), "seconds to stop": ("stop", 1), "megabytes": ("total", 1)})
    emit({"benchmark": "platform", **description(), "runs": runs})
    return 0


def broker_start(directory: Path) -> float:
    """Seconds from nothing running to a broker that answers, on kept data."""
    begin = time.perf_counter()
    broker = EmbeddedKafka(directory)
    broker.start()
    seconds = time.perf_counter() - begin
    broker.stop()
    return seconds


def platform_start(home: Home, rest: float) -> tuple[float, float, dict[str, float]]:
    """Seconds to ready, seconds to stopped, megabytes by process."""
    begin = time.perf_counter()
    process = start(home)
    ready = time.perf_counter() - begin
    used: dict[str, float] = {}
    if rest:
        time.sleep(rest)
        running = home.running()
        assert running is not None
        named = {pid: name for name, (pid, _) in running.processes.items()} | {process.pid: "supervisor"}
        for pid in (process.pid, *descendants(process.pid)):
            name = named.get(pid, "children")
            used[name] = round(used.get(name, 0.0) + (memory(pid) or 0) / MEGABYTE, 1)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.wait(120)
    return ready, time.perf_counter() - begin, used


def start(home: Home) -> subprocess.Popen[bytes]:
    """The platform in that home, on free ports, ready."""
    log = home.root.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mainstem.cli", "up", "--port", str(free_port()), "--kafka-port", str(free_port())],
            env={**os.environ, "MAINSTEM_HOME": str(home.root)},
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (it only calls prctl)
        )
    while not _is_ready(home, process.pid):
        if process.poll() is not None:
            raise SystemExit(f"the platform ended with {process.returncode}:\n{log.read_text()}")
        time.sleep(0.02)
    return process


def _is_ready(home: Home, pid: int) -> bool:
    try:
        told = json.loads((home.root / "running.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(told["ready"]) and told["pid"] == pid


if __name__ == "__main__":
    sys.exit(main())
