"""A cloud and two sites, each with a Kafka of its own: they train one model, and no sample leaves its site."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.platform.home import Home
from mainstem.protocol.topics import DATA_CONTROL
from mainstem.rest import Api
from mainstem.runtime.processes import free_port
from tests.support.sightings import records, sightings, windows

pytestmark = [pytest.mark.kafka, pytest.mark.training]

ROUNDS = 2
PATIENCE = 600.0
"""Seconds: three platforms and two trainings on a busy machine."""

SITES = {"north": 1, "south": 2}
"""Each with the seed of its samples."""


class Platform:
    """`mainstem up` on Kafkas that are there, in a home of its own."""

    def __init__(self, root: Path, port: int, **environ: str) -> None:
        ours = ("MAINSTEM_", "KML_", "DATA_", "DATABASE_")
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(ours) or n == "MAINSTEM_CACHE"}
        self.home = Home(root)
        self.errors = root.with_suffix(".err")
        self.port = port
        self.environ = inherited | environ
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mainstem.cli", "up", "--home", str(self.home.root), "--port", str(self.port)]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(command, env=self.environ, stderr=errors)

    def ready(self) -> None:
        def look() -> bool:
            assert self.process is not None and self.process.poll() is None, self.errors.read_text()
            running = self.home.running()
            return running is not None and running.ready

        until(look, PATIENCE)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {condition}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def kafkas() -> Iterator[dict[str, EmbeddedKafka]]:
    """A broker each for the cloud and the sites."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(EmbeddedKafka()) for name in ("cloud", *SITES)}


@pytest.fixture(scope="module")
def platforms(
    kafkas: dict[str, EmbeddedKafka], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Platform]]:
    """The cloud's platform, and a headless one without aggregator at each site."""
    root = tmp_path_factory.mktemp("sites")
    cloud = kafkas["cloud"].bootstrap_servers
    ports: set[int] = set()
    made: dict[str, Platform] = {}
    for name, kafka in kafkas.items():
        port = free_port(avoid=ports)
        ports.add(port)
        own = {} if name == "cloud" else {"MAINSTEM_SITE": name, "DATA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
        made[name] = Platform(root / name, port, KML_CLOUD_BOOTSTRAP_SERVERS=cloud, **own)
    try:
        for platform in made.values():
            platform.start()
        for platform in made.values():
            platform.ready()
        yield made
    finally:
        for platform in made.values():
            platform.stop()


def inject(kafka: EmbeddedKafka, site: str, seed: int) -> str:
    """Run the public script against a site's Kafka; the data topic."""
    topic = f"{site}-digits"
    command = [
        sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet", "--seed", str(seed),
        "--train-samples", "120", "--test-samples", "20", "--topic", topic, "--bootstrap", kafka.bootstrap_servers,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    return topic


def knows(api: Api, federation: str) -> bool:
    """Whether the backend has heard of it."""
    return federation in [deployment["federation"] for deployment in api.pages("deployments/")]


def follows(api: Api, federation: str, sha256: str) -> bool:
    """Whether the backend has seen that version of it."""
    return bool(api.get(f"results/{federation}/")["sha256"] == sha256)


def test_sites_train_one_model_and_keep_their_samples(
    kafkas: dict[str, EmbeddedKafka], platforms: dict[str, Platform]
) -> None:
    """A federation of the cloud is known at each site, which starts its Job by itself; then every topic is read."""
    with Api.connect(platforms["cloud"].home) as api:
        template = {"name": "mlp", "params": {"input_shape": [784], "units": [16], "classes": 10}}
        model = api.post("models/", {"name": "digits", "kind": "template", "template": template, "seed": 1})
        configuration = api.post("configurations/", {"name": "digits", "models": [model["id"]]})
        asked = {"configuration": configuration["id"], "rounds": ROUNDS, "min_clients": len(SITES), "min_data": 100}
        federation = api.post("deployments/", asked)["federation"]
        topics = {site: inject(kafkas[site], site, seed) for site, seed in SITES.items()}

        def ended() -> Any:
            result = api.get(f"results/{federation}/")
            return result if result["state"] in ("finished", "failed", "stopped") else None

        result = until(ended, PATIENCE)
        members = {member["client"] for member in api.get(f"deployments/{federation}/")["members"]}
        assert list(api.pages("jobs/")) == [] and list(api.pages("datasources/")) == []
    assert result["state"] == "finished" and len(result["rounds"]) == ROUNDS
    assert [entry["accepted"] for entry in result["rounds"]] == [len(SITES)] * ROUNDS

    for site in SITES:
        with Api.connect(platforms[site].home) as api:
            [job] = api.pages("jobs/")
            [stream] = api.pages("datasources/")
            until(partial(follows, api, federation, result["sha256"]), PATIENCE)
            shown = api.get(f"deployments/{federation}/")
        assert stream["topic"].startswith(topics[site]) and job["client"] in members
        assert shown["external"] and shown["state"] == "finished"
        running = platforms[site].home.running()
        assert running is not None and "aggregator" not in running.processes

    samples = [
        part for site in SITES for topic, part in records(kafkas[site].bootstrap_servers) if topic == topics[site]
    ]
    pieces = windows([sample for sample in samples if len(sample) == 784 * 4])
    assert len(pieces) > 10_000
    for site in SITES:  # the search finds what is there
        assert sightings(pieces, records(kafkas[site].bootstrap_servers)).keys() == {topics[site]}
    cloud = list(records(kafkas["cloud"].bootstrap_servers))
    assert sightings(pieces, iter(cloud)) == {}
    held = {topic for topic, _ in cloud}
    assert DATA_CONTROL not in held and {name for name in held if "digits" in name} == set()
    assert sum(len(part) for topic, part in cloud if topic == f"FEDERATED_AGGREGATOR_TOPIC-{federation}") > 784 * 16 * 4


def test_a_site_that_was_away_hears_of_everything_since(
    kafkas: dict[str, EmbeddedKafka], platforms: dict[str, Platform]
) -> None:
    """Each site reads all of the cloud's control records in a group of its own, from where it was."""
    platforms["south"].stop()
    with Api.connect(platforms["cloud"].home) as api:
        [configuration] = api.pages("configurations/")
        made = api.post("deployments/", {"configuration": configuration["id"], "min_data": 1 << 40})["federation"]
    platforms["south"].start()
    platforms["south"].ready()
    for site in SITES:
        with Api.connect(platforms[site].home) as api:
            until(partial(knows, api, made), PATIENCE)
            assert len(list(api.pages("deployments/"))) == 2
