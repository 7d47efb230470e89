"""`python -m benchmarks.large`: a model of 350 MB on the whole platform: what each process of it needs at most.

Three clients in training Jobs, two rounds; then the final model is downloaded. Memory is the proportional set size,
read four times a second from before the model's registration until after the download.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from benchmarks.platform import MEGABYTE, start
from benchmarks.stats import emit, in_turns, show
from mainstem.cli.where import data_kafka
from mainstem.platform.home import Home
from mainstem.rest import Api
from mainstem.runtime.endpoints import data_environ
from mainstem.runtime.processes import descendants, memory

CLIENTS, ROUNDS = 3, 2


def main() -> int:
    """`--repeat` runs, each in a home of its own; both layers of the model have `--width` units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--width", type=int, default=9000, help="units of both hidden layers (default: %(default)s)")
    options = parser.parse_args()
    runs = in_turns({"large": lambda: run(options.width)}, options.repeat, "train")
    show(runs, {name: (name, 1) for name in runs["large"][0]})
    emit({"benchmark": "large", **description(), "width": options.width, "runs": runs})
    return 0


def run(width: int) -> dict[str, Any]:
    """The file's megabytes, seconds of each step, and megabytes of each service."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        process = start(home)
        watch = Watch(home, process.pid)
        watch.start()
        try:
            with Api.connect(home) as api:
                told = train(api, home, width, Path(directory) / "model.keras")
        finally:
            watch.ended.set()
            watch.join()
            process.send_signal(signal.SIGINT)
            process.wait(120)
    return told | {name: round(used / MEGABYTE, 1) for name, used in watch.most.items()}


class Watch(threading.Thread):
    """The most bytes that each service of the platform had, with its children. Of the processes that train or build
    a model, confined and for a while, the largest one is told apart."""

    def __init__(self, home: Home, pid: int) -> None:
        super().__init__(daemon=True)
        self._home, self._pid = home, pid
        self.ended = threading.Event()
        self.most: dict[str, int] = {}

    def run(self) -> None:
        """Read until `ended`."""
        while not self.ended.wait(0.25):
            for name, used in self._now().items():
                self.most[name] = max(self.most.get(name, 0), used)

    def _now(self) -> dict[str, int]:
        running, now = self._home.running(), dict[str, int]()
        if running is None:
            return now
        for name, (pid, _) in running.processes.items():
            for one in (pid, *descendants(pid)):
                if b"federated_training" in _command(one):
                    now["model"] = max(now.get("model", 0), memory(one) or 0)
                else:
                    now[name] = now.get(name, 0) + (memory(one) or 0)
        return now


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def train(api: Api, home: Home, width: int, file: Path) -> dict[str, Any]:
    """Register, deploy, inject, wait, download; seconds of each, and the model's bytes."""
    clock = [time.perf_counter()]
    template = {"name": "mlp", "params": {"input_shape": [784], "units": [width, width], "classes": 10}}
    model = api.post("models/", {"name": "large", "kind": "template", "template": template, "seed": 1})
    clock.append(time.perf_counter())
    configuration = api.post("configurations/", {"name": "large", "models": [model["id"]]})
    asked = {
        "configuration": configuration["id"], "rounds": ROUNDS, "min_clients": CLIENTS, "max_clients": CLIENTS,
        "seed": 1, "batch_size": 64, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.01,
        "loss": "categorical_crossentropy", "metrics": ["accuracy"],
    }  # fmt: skip
    deployment = api.post("deployments/", asked)
    clock.append(time.perf_counter())
    subprocess.run(
        [
            sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--quiet", "--clients", str(CLIENTS),
            "--train-samples", "64", "--test-samples", "16", "--topic", "LARGE",
        ],
        check=True,
        env=os.environ | data_environ(data_kafka(home)),
    )  # fmt: skip
    result = f"results/{deployment['federation']}/"
    while (state := api.get(result)["state"]) not in ("finished", "stopped", "failed", "lost"):
        time.sleep(0.5)
    clock.append(time.perf_counter())
    assert state == "finished", state
    api.download(f"{result}versions/{ROUNDS}/model.keras", file)
    clock.append(time.perf_counter())
    names = ("register", "deploy", "train", "download")
    seconds = {name: round(b - a, 2) for name, a, b in zip(names, clock, clock[1:], strict=False)}
    return {"file": round(file.stat().st_size / MEGABYTE, 1), **seconds}


if __name__ == "__main__":
    sys.exit(main())
