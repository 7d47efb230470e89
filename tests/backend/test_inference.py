"""Versions as files and predictions, read from the log."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from backend.deployments.log import kafka
from backend.deployments.models import Deployment, Version
from mainstem.errors import LogError
from mainstem.protocol.topics import data_topic
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import WEIGHTS, FakeWorkshop

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


@pytest.fixture
def path(federation: str) -> str:
    """The address of version 0 of a federation that is open and projected."""
    return f"/api/results/{federation}/versions/0"


def content(response: Any) -> bytes:
    """A file's bytes."""
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def test_weights(admin: APIClient, path: str) -> None:
    """The npz holds the version's tensors exactly, and its ETag is the version's sha256."""
    answer = admin.get(f"{path}/weights.npz")
    with np.load(io.BytesIO(content(answer)), allow_pickle=False) as archive:
        assert all(np.array_equal(archive[f"t{i:04d}"], tensor) for i, tensor in enumerate(WEIGHTS))
    assert answer["ETag"] == f'"{Version.objects.get().sha256}"'
    assert admin.get(f"{path}/weights.npz", headers={"if-none-match": answer["ETag"]}).status_code == 304


def test_keras_file_is_cached(admin: APIClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once made, the file is there although Kafka is away."""
    assert content(admin.get(f"{path}/model.keras")) == b"a keras file"

    def away() -> None:
        raise LogError("the broker does not answer")

    monkeypatch.setattr(kafka, "message_log", away)
    assert content(admin.get(f"{path}/model.keras")) == b"a keras file"
    assert content(admin.get(f"{path}/weights.npz"))


def test_kafka_away(admin: APIClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Kafka and without a copy the answer is a 503 that says so."""

    def away() -> None:
        raise LogError("the broker does not answer")

    monkeypatch.setattr(kafka, "message_log", away)
    answer = admin.get(f"{path}/model.keras")
    assert answer.status_code == 503 and "Kafka" in answer.json()["detail"]


def test_chunks_gone(admin: APIClient, path: str, log: MemoryLog) -> None:
    """Weights that were pruned are a 410 that names the version."""
    topic = data_topic(Deployment.objects.get().federation)
    log.delete_records(topic, 0, log.bounds(topic, 0)[1])
    answer = admin.get(f"{path}/weights.npz")
    assert answer.status_code == 410, answer.content


def test_chunks_tampered_with(admin: APIClient, path: str, log: MemoryLog) -> None:
    """A manifest that does not hold is reported, never served."""
    version = Version.objects.get()
    version.weights["sha256"] = version.sha256 = "f" * 64
    version.save()
    answer = admin.get(f"{path}/weights.npz")
    assert answer.status_code == 410 and "version 0" in answer.json()["detail"]


def test_predict(admin: APIClient, path: str, fake_workshop: FakeWorkshop) -> None:
    """Samples go to the workshop as an array, outputs come back as lists."""
    answer = admin.post(f"{path}/predict/", {"inputs": [[1, 2, 3, 4]]})
    assert answer.status_code == 200, answer.content
    assert answer.json() == {"shape": [1, 2], "outputs": [[0.25, 0.75]]}
    sent = fake_workshop.files["x.npy"]
    assert isinstance(sent, bytes)
    array = np.load(io.BytesIO(sent))
    assert array.dtype == np.float32 and array.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        [],
        7,
        "text",
        [1, 2, 3, 4],
        [[1, 2]],
        [[[1, 2, 3, 4]]],
        [["a", 1, 2, 3]],
        [[1e300, 0, 0, 0]],
        [[1], []],
        [["1", "2", "3", "4"]],
        [[16777217, 0, 0, 0]],
    ],
)
def test_predict_refuses(admin: APIClient, path: str, inputs: Any) -> None:
    """Inputs of another shape or kind are refused with the shape that is wanted."""
    answer = admin.post(f"{path}/predict/", {"inputs": inputs})
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "inputs"


def test_unknown_version(admin: APIClient, path: str) -> None:
    """A version that does not exist is a 404, whatever its number."""
    for number in ("7", "99999999999999999999"):
        assert admin.get(f"{path[:-1]}{number}/model.keras").status_code == 404
