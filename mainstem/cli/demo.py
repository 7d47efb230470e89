"""Train three clients over five rounds on real handwritten digits, on the platform that runs.

It does what a person would, through the public REST API and the public injection script: registers a model (a
multilayer perceptron of 784 inputs and 10 classes), makes a configuration, deploys it as a federation, injects 500
training and 50 test samples for each client, watches the rounds, downloads the final model, and measures it on every
client's test samples in a process of its own. The same --seed gives the same final sha256.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mainstem.cli import judge
from mainstem.cli.output import Output
from mainstem.cli.where import data_config, data_kafka
from mainstem.errors import MainstemError
from mainstem.kafka.client.log import KafkaLog
from mainstem.platform.home import Home
from mainstem.rest import Api, ApiError
from mainstem.runtime.endpoints import data_environ
from mainstem.runtime.processes import run_child

HELP = "train three clients over five rounds on real digits"

CLIENTS, ROUNDS, SEED = 3, 5, 1
TEMPLATE = {"name": "mlp", "params": {"input_shape": [784], "units": [256], "classes": 10, "dropout": 0.3}}
TRAINING = {"batch_size": 32, "epochs": 5, "optimizer": "adam", "learning_rate": 0.001,
            "loss": "categorical_crossentropy", "metrics": ["accuracy"]}  # fmt: skip
WAIT_SECONDS = 600.0
POLL_SECONDS, JOBS_SECONDS = 0.25, 3.0
AWAY_SECONDS = 60.0  # so long the backend may be restarting: the run goes on without it
ENDED = ("finished", "stopped", "failed", "lost")


class DemoError(MainstemError):
    """The run did not end as it should; the message says why."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--seed", type=int, default=SEED, help="of model, run and samples (default: %(default)s)")
    parser.add_argument("--start-seconds", type=float, default=0.0, help=argparse.SUPPRESS)  # of the platform, by `up`


@dataclass(slots=True)
class Stopwatch:
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
    with Api.connect(home) as api:
        output.result(_run(options, home, output, api))
    return 0


def _run(options: argparse.Namespace, home: Home, output: Output, api: Api) -> dict[str, Any]:
    began = time.monotonic()
    watch = Stopwatch(output.say)
    if options.start_seconds:
        watch.seconds["start"] = options.start_seconds
    name = f"Demo, digits, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    restriction = {"demo": name}  # so that streams of earlier demos do not fit this federation
    federation = _deploy(api, name, options.seed, restriction, watch)
    injected = _inject(home, federation, options.seed, restriction)
    watch.lap("inject", f"injected {CLIENTS} clients' samples")
    result = _follow(api, federation, output)
    watch.lap("rounds", f"{result['state']} after {len(result['rounds'])} rounds")
    with tempfile.TemporaryDirectory(prefix="mainstem-demo-") as directory:
        measured = _measure(api, home, federation, result, injected, Path(directory))
    for stream, value in zip(injected["streams"], measured, strict=True):
        output.say(f"  client {stream['client']}: accuracy {value:.2f} on its {stream['test']} test samples")
    watch.lap("evaluate", "measured the downloaded model")
    split = watch.seconds | _split(result)
    split.pop("rounds")  # the sum of the four that follow
    output.say("seconds: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in split.items()))
    return {
        "federation": federation,
        "clients": CLIENTS,
        "rounds": len(result["rounds"]),
        "versions": len(result["versions"]),
        "accuracy": round(min(measured), 4),
        "final_sha256": result["sha256"],
        "seconds": round(options.start_seconds + time.monotonic() - began, 1),
    }


def _deploy(api: Api, name: str, seed: int, restriction: dict[str, str], watch: Stopwatch) -> str:
    """Model, configuration, deployment; the federation's id."""
    model = api.post("models/", {"name": name, "kind": "template", "template": TEMPLATE, "seed": seed})
    watch.lap("model", f"registered the model {name!r}: {model['parameters']:,} parameters")
    configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
    asked = {
        "name": name, "configuration": configuration["id"], "rounds": ROUNDS, "min_clients": CLIENTS,
        "max_clients": CLIENTS, "seed": seed, "data_restriction": restriction, **TRAINING,
    }  # fmt: skip
    deployment = api.post("deployments/", asked)
    federation = str(deployment["federation"])
    watch.lap("deploy", f"deployed it as federation {federation}: {api.address}/")
    return federation


def _inject(home: Home, federation: str, seed: int, restriction: dict[str, str]) -> dict[str, Any]:
    """Run the public injection script; what it reports."""
    command = [
        sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet",
        "--clients", str(CLIENTS), "--seed", str(seed), "--topic", f"DEMO-{federation}",
        "--restriction", json.dumps(restriction),
    ]  # fmt: skip
    environment = os.environ | data_environ(data_kafka(home))
    done = run_child(command, env=environment)
    if done.returncode:
        raise DemoError(f"the injection script failed: {done.stderr.strip()[-300:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _follow(api: Api, federation: str, output: Output) -> dict[str, Any]:
    """Say each round as it is committed; the results of the ended run."""
    deadline = time.monotonic() + WAIT_SECONDS
    told, said, look = 0, "", 0.0
    heard = time.monotonic()
    while time.monotonic() < deadline:
        try:
            result: dict[str, Any] = api.get(f"results/{federation}/")
        except ApiError as error:
            if error.status is not None or time.monotonic() > heard + AWAY_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        heard = time.monotonic()
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
        if time.monotonic() >= look:
            look = time.monotonic() + JOBS_SECONDS
            with contextlib.suppress(ApiError):  # the next look at the results tells of it
                _check_jobs(api, federation)
        time.sleep(POLL_SECONDS)
    raise DemoError(f"the run did not finish within {WAIT_SECONDS:.0f} s; `mainstem jobs` shows what its Jobs do")


def _check_jobs(api: Api, federation: str) -> None:
    """Raises DemoError with the last line of its log when a Job has failed for good: all three are needed."""
    for job in api.pages("jobs/", federation=federation, state="failed"):
        lines = [line for line in api.text(f"jobs/{job['name']}/log/").splitlines() if line.strip()]
        raise DemoError(f"the training Job {job['name']} failed: {lines[-1] if lines else job['detail']}")


def _round_line(entry: Mapping[str, Any]) -> str:
    clients = entry["clients"]
    shown = [f"  round {entry['number']}/{ROUNDS}", f"version {entry['version']}", f"{len(clients)} clients"]
    examples = sum(client["examples"] for client in clients)
    for name in ("loss", "accuracy"):
        known = [client for client in clients if name in (client["training"] or {}).get("values", {})]
        if known and examples:
            mean = sum(client["examples"] * client["training"]["values"][name] for client in known) / examples
            shown.append(f"{name} {mean:.3f}")
    train, transport, aggregate = _stages(entry)
    return "  ".join(shown) + f"  (train {train:.2f} s, transport {transport:.2f} s, aggregate {aggregate:.2f} s)"


def _stages(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    """Seconds of a round: its slowest client's training, all else until the last update came, then until the commit."""
    train = max((client["train_seconds"] for client in entry["clients"]), default=0.0)
    collected = (entry["closed_ms"] - entry["opened_ms"]) / 1000
    return train, max(0.0, collected - train), (entry["committed_ms"] - entry["closed_ms"]) / 1000


def _split(result: Mapping[str, Any]) -> dict[str, float]:
    """The rounds' seconds by stage; `jobs` is what passed from the opening of the run to that of its first round."""
    rounds = result["rounds"]
    stages = [_stages(entry) for entry in rounds]
    train, transport, aggregate = (sum(column) for column in zip(*stages, strict=True))
    jobs = (rounds[0]["opened_ms"] - result["opened_ms"]) / 1000
    return {"jobs": jobs, "train": train, "transport": transport, "aggregate": aggregate}


def _measure(
    api: Api, home: Home, federation: str, result: Mapping[str, Any], injected: Mapping[str, Any], directory: Path
) -> list[float]:
    """Download the final model and measure it on each client's test samples, which are read back from Kafka."""
    model = directory / "model.keras"
    api.download(f"results/{federation}/versions/{result['version']}/model.keras", model)
    log = KafkaLog(data_config(home))
    try:
        config = injected["input_config"]
        samples = [judge.test_samples(log, stream, injected["format"], config) for stream in injected["streams"]]
    finally:
        log.close()
    return judge.accuracies(model, samples)
