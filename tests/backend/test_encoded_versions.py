"""A run whose updates and versions travel as changes, as people see it: bytes spared, errors, downloads."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from backend.deployments.log import kafka
from backend.deployments.models import Deployment, Version
from backend.deployments.projection import projection
from mainstem.protocol.messages import EncodingChoice, Rules
from mainstem.protocol.topics import control_topic, data_topic
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, text
from tests.support.federations import LightClient, head_tensors, open_federation
from tests.support.runs import Ticking, aggregate, train

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

MODEL: list[Tensor] = [np.linspace(-1, 1, 5000).astype(np.float32), np.array(3, np.int64)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryLog, str]:
    """A finished run, projected."""
    log, int8 = MemoryLog(Ticking()), EncodingChoice(name="int8")
    rules = Rules(rounds=3, min_clients=2, encoding_up=int8, encoding_down=int8)
    federation = open_federation(log, MODEL, rules, federation="encoded3")
    aggregate(log, federation, [LightClient(log, federation, f"c{n}", train(n), 10 + n) for n in range(2)])
    topic = control_topic(federation)
    projection.take("cluster", [("topic", record) for record in log.read(topic, 0, *log.bounds(topic, 0))])
    monkeypatch.setattr(kafka, "message_log", lambda: log)
    return log, federation


def test_a_round_says_what_was_spared(run: tuple[MemoryLog, str], user: Callable[[str], Any]) -> None:
    """Bytes received and fetched beside whole models, the error of each client's encoding; a run without has none."""
    _, federation = run
    round_ = Deployment.objects.get(federation=federation).rounds.first()
    assert round_ is not None
    page = text(logged_in(user("viewer")).get(reverse("round-page", args=[federation, round_.seq])))
    assert "less than whole models" in page and "less than the whole version" in page and "Encoding error" in page


def test_the_api_says_it_too(run: tuple[MemoryLog, str], admin: APIClient) -> None:
    """The error with each client's update, the bytes with each version."""
    _, federation = run
    (first, *_) = admin.get(f"/api/results/{federation}/rounds/").json()["results"]
    assert all(0 < client["encoding_error"] < 0.05 and client["nbytes"] == 5080 for client in first["clients"])
    assert [(client["examples"], client["steps"], client["loss"]) for client in first["clients"]] == [
        (10, 1, None), (11, 1, None),
    ]  # fmt: skip
    versions = {v["number"]: v for v in admin.get(f"/api/results/{federation}/versions/").json()["results"]}
    assert [(versions[n]["nbytes"], versions[n]["fetched"]) for n in (0, 1, 3)] == [
        (20_008, 20_008), (20_008, 5080), (20_008, 5080)
    ]  # fmt: skip


def weights_of(federation: str, version: int) -> str:
    """Where the version's weights are."""
    return reverse("version-weights", args=[federation, version])


def test_a_version_that_is_a_change_alone_is_downloaded(run: tuple[MemoryLog, str], admin: APIClient) -> None:
    """From the last whole one on; gone with any of the changes since."""
    log, federation = run
    version = Version.objects.get(deployment__federation=federation, number=3)
    assert not Version.objects.get(deployment__federation=federation, number=2).weights.get("chunks")
    found = np.load(io.BytesIO(b"".join(admin.get(weights_of(federation, version.number)).streaming_content)))  # type: ignore[attr-defined]
    assert found["t0000"].tobytes() == head_tensors(log, federation)[0].tobytes()
    assert admin.get(weights_of(federation, 2)).status_code == 200
    log.delete_records(data_topic(federation), 0, log.bounds(data_topic(federation), 0)[1])
    assert admin.get(weights_of(federation, 1)).status_code == 410
