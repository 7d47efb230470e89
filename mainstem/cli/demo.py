"""Train three clients over five rounds on real handwritten digits, on the platform that runs.

It does what a person would, through the public REST API and the public injection script: registers a model (a
multilayer perceptron of 784 inputs and 10 classes), makes a configuration, deploys it as a federation, injects 500
training and 50 test samples for each client, watches the rounds, downloads the final model, and measures it on every
client's test samples in a process of its own. The same seed gives the same final sha256.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mainstem.cli import judge
from mainstem.cli.api import Api
from mainstem.cli.output import Output
from mainstem.cli.where import data_servers
from mainstem.errors import MainstemError
from mainstem.kafka.config import client_config
from mainstem.kafka.log import KafkaLog
from mainstem.platform.home import Home

HELP = "train three clients over five rounds on real digits"

CLIENTS, ROUNDS, SEED = 3, 5, 7
TEMPLATE = {"name": "mlp", "params": {"input_shape": [784], "units": [256], "classes": 10, "dropout": 0.3}}
TRAINING = {"batch_size": 32, "epochs": 5, "optimizer": "adam", "learning_rate": 0.001,
            "loss": "categorical_crossentropy", "metrics": ["accuracy"]}  # fmt: skip
WAIT_SECONDS = 600.0
POLL_SECONDS = 0.25
ENDED = ("finished", "stopped", "failed")


class DemoError(MainstemError):
    """The run did not end as it should; the message says why."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--seed", type=int, default=SEED, help="of the federation and the model (default: %(default)s)")
    parser.add_argument("--start-seconds", type=float, default=0.0, help=argparse.SUPPRESS)  # of the platform, by `up`


@dataclass(slots=True)
class Watch:
    """Seconds of each stage, in order."""

    say: Any
    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def lap(self, stage: str, text: str) -> None:
        """The stage since the last lap is over; says so."""
        now = time.monotonic()
        self.seconds[stage] = now - self._last
        self._last = now
        self.say(f"{text}  ({self.seconds[stage]:.1f} s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Do it; the result is one JSON object."""
    began = time.monotonic()
    api = Api.connect(home)
    watch = Watch(output.say)
    if options.start_seconds:
        watch.seconds["start"] = options.start_seconds
    name = f"Demo, digits, {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
    federation = _deploy(api, name, options.seed, watch)
    injected = _inject(home, federation)
    watch.lap("inject", f"injected {CLIENTS} clients' samples")
    result = _follow(api, federation, output)
    watch.lap("rounds", f"{result['state']} after {len(result['rounds'])} rounds")
    with tempfile.TemporaryDirectory(prefix="mainstem-demo-") as directory:
        measured = _measure(api, home, federation, result, injected, Path(directory))
    for stream, value in zip(injected["streams"], measured, strict=True):
        output.say(f"  client {stream['client']}: accuracy {value:.2f} on its {stream['test']} test samples")
    watch.lap("evaluate", "measured the downloaded model")
    split = watch.seconds | _split(result)
    output.say("seconds: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in split.items() if stage != "rounds"))
    newest = result["versions"][-1]
    output.result(
        {
            "federation": federation,
            "clients": CLIENTS,
            "rounds": len(result["rounds"]),
            "versions": len(result["versions"]),
            "accuracy": round(min(measured), 4),
            "final_sha256": newest["sha256"],
            "seconds": round(options.start_seconds + time.monotonic() - began, 1),
        }
    )
    return 0


def _deploy(api: Api, name: str, seed: int, watch: Watch) -> str:
    """Model, configuration, deployment; the federation's id."""
    model = api.post("models/", {"name": name, "kind": "template", "template": TEMPLATE, "seed": seed})
    watch.lap("model", f"registered the model {name!r}: {model['parameters']:,} parameters")
    configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
    asked = {
        "name": name, "configuration": configuration["id"], "rounds": ROUNDS, "min_clients": CLIENTS,
        "max_clients": CLIENTS, "seed": seed, "data_restriction": {"demo": name}, **TRAINING,
    }  # fmt: skip
    deployment = api.post("deployments/", asked)
    federation = str(deployment["federation"])
    watch.lap("deploy", f"deployed it as federation {federation}: {api.address}/deployments/{deployment['id']}/")
    return federation


def _inject(home: Home, federation: str) -> dict[str, Any]:
    """Run the public injection script; what it reports."""
    restriction = json.dumps({"demo": federation})
    command = [
        sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet",
        "--clients", str(CLIENTS), "--topic", f"DEMO-{federation}", "--restriction", restriction,
        "--bootstrap", data_servers(home),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the injection script failed: {done.stderr.strip()[-300:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _follow(api: Api, federation: str, output: Output) -> dict[str, Any]:
    """Say each round as it is committed; the results of the ended run."""
    deadline = time.monotonic() + WAIT_SECONDS
    told, said = 0, ""
    while time.monotonic() < deadline:
        result: dict[str, Any] = api.get(f"results/{federation}/")
        for entry in result["rounds"][told:]:
            output.say(_round_line(entry))
        told = len(result["rounds"])
        if result["state"] in ENDED:
            if result["state"] != "finished":
                raise DemoError(f"the run {result['state']}: {result.get('detail') or 'no reason was given'}")
            return result
        if not told and result["state"] != said:
            said = result["state"]
            output.say(f"  {said}")
        time.sleep(POLL_SECONDS)
    raise DemoError(f"the run did not finish within {WAIT_SECONDS:.0f} s; `mainstem jobs` shows what its Jobs do")
