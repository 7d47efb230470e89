"""One federation on the cluster, from a model to its final version, through what a person would use."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainstem.cli import judge
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.rest import Api, ApiError

KAFKA = "localhost:31162"
CLIENTS, ROUNDS, SEED = 3, 3, 7
TEMPLATE = {"name": "mlp", "params": {"input_shape": [784], "units": [256], "classes": 10, "dropout": 0.3}}
TRAINING = {"batch_size": 32, "epochs": 8, "optimizer": "adam", "learning_rate": 0.001,
            "loss": "categorical_crossentropy", "metrics": ["accuracy"]}  # fmt: skip
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Run:
    """A federation that is open, and what was injected for it."""

    api: Api
    federation: str
    injected: dict[str, Any]

    @staticmethod
    def begin(api: Api, **settings: Any) -> Run:
        """Model, configuration, deployment with these settings, and the public injection script for three clients."""
        name = f"cluster-test-{secrets.token_hex(4)}"
        restriction = {"test": name}
        model = api.post("models/", {"name": name, "kind": "template", "template": TEMPLATE, "seed": SEED})
        configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
        deployment = api.post("deployments/", {
            "name": name, "configuration": configuration["id"], "rounds": ROUNDS, "min_clients": CLIENTS,
            "max_clients": CLIENTS, "seed": SEED, "data_restriction": restriction, **TRAINING, **settings,
        })  # fmt: skip
        command = [
            sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet", "--clients",
            str(CLIENTS), "--seed", str(SEED), "--topic", name, "--restriction", json.dumps(restriction),
            "--bootstrap", KAFKA,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return Run(api, deployment["federation"], json.loads(done.stdout))

    def state(self) -> dict[str, Any] | None:
        """The results so far; None while the backend is away."""
        try:
            found: dict[str, Any] = self.api.get(f"results/{self.federation}/")
        except ApiError as error:
            if error.status is None or error.status >= 500:
                return None
            raise
        return found

    def until_round(self, number: int) -> None:
        """Return as soon as that many rounds are committed: the next one is under way."""
        self._wait(lambda found: len(found["rounds"]) >= number, f"{number} rounds")

    def finished(self) -> dict[str, Any]:
        """The results of the ended run; raises AssertionError where it did not end as it should."""
        found = self._wait(lambda found: found["state"] in ("finished", "stopped", "failed"), "the end of the run")
        assert found["state"] == "finished", f"{found['state']}: {found.get('detail')}"
        assert len(found["rounds"]) == ROUNDS
        assert all(len(one["clients"]) == CLIENTS for one in found["rounds"])
        return found

    def _wait(self, enough: Any, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            found = self.state()
            if found is not None and enough(found):
                return found
            time.sleep(0.1)
        jobs = list(self.api.pages("jobs/", federation=self.federation))
        raise AssertionError(f"{what}: not within {SECONDS:.0f} s; the Jobs: {jobs}")

    def accuracies(self, result: dict[str, Any], folder: Path) -> list[float]:
        """The final `.keras` file, downloaded and measured on each client's test samples."""
        model = folder / "model.keras"
        self.api.download(f"results/{self.federation}/versions/{result['version']}/model.keras", model)
        log = KafkaLog(client_config(KAFKA))
        try:
            samples = [
                judge.test_samples(log, stream, self.injected["format"], self.injected["input_config"])
                for stream in self.injected["streams"]
            ]
        finally:
            log.close()
        return judge.accuracies(model, samples)
