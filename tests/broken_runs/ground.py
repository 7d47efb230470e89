"""What every case does to the platform: by REST, by Kafka and by the injection scripts, as anybody may."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import DATA_CONTROL, TopicSpec, stream_spec
from tests.browser.platform import Platform

Array = NDArray[Any]
Records = Sequence[tuple[bytes | None, bytes]]
"""Keys and values."""

CLASSES = 3
MLP = {"template": {"name": "mlp", "params": {"input_shape": [8], "classes": CLASSES, "units": [4]}}, "seed": 1}
"""A model of eight features and three classes."""
RAW = {"data_type": "float32", "data_reshape": "8", "label_type": "float32", "label_reshape": str(CLASSES)}
"""How `samples` are written."""


class Refused(Exception):
    """Something was refused at once: where, and in which words."""

    def __init__(self, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.where, self.sentence = where, sentence


class Ground:
    """A running platform. Safe to share between threads."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.kafka = platform.running.kafka

    # ------------------------------------------------------------ REST
    def post(self, path: str, body: Any) -> Any:
        """POST JSON, or bytes as they are; raises Refused with the problem's words and fields."""
        status, answer = self.platform.ask("POST", path, body)
        assert status < 500, f"POST {path}: {status} {answer}"
        if status >= 400:
            raise Refused(f"POST {path} ({status})", _problem(answer))
        return answer

    def federation(self, model: Mapping[str, Any] = MLP, **settings: Any) -> str:
        """A model, its configuration and a deployment of three rounds, named and restricted to be alone; its id."""
        alone = f"broken-{uuid.uuid4().hex[:8]}"
        made = self.post("models/", {"name": alone, **model})
        configuration = self.post("configurations/", {"name": alone, "models": [made["id"]]})["id"]
        asked = {"configuration": configuration, "name": alone, "data_restriction": {"for": alone}, "rounds": 3}
        return str(self.post("deployments/", asked | settings)["federation"])

    def training(self, federation: str) -> Mapping[str, Any]:
        """The settings that the federation trains with."""
        status, deployment = self.platform.ask("GET", f"deployments/{federation}/")
        assert status == 200, deployment
        training: Mapping[str, Any] = deployment["training"]
        return training

    # ------------------------------------------------------------ streams
    @contextmanager
    def log(self) -> Iterator[KafkaLog]:
        """The platform's Kafka."""
        log = KafkaLog(client_config(self.kafka))
        try:
            yield log
        finally:
            log.close()

    def write(self, records: Records, settings: Mapping[str, str] | None = None, topic: str = "") -> str:
        """Records in partition 0 of a new topic; its name."""
        topic = topic or f"broken-{uuid.uuid4().hex[:8]}"
        with self.log() as log:
            log.create_topics([TopicSpec(topic, 1, settings) if settings else stream_spec(topic)])
            log.append(topic, [Outgoing(value, key=key) for key, value in records])
        return topic

    def announce(
        self, federation: str, topic: str, count: int, config: Mapping[str, Any] = RAW, *, key: bytes | None = None,
        **more: Any,
    ) -> None:  # fmt: skip
        """Announce offsets 0 to `count` of a topic to the federation's restriction."""
        status, deployment = self.platform.ask("GET", f"deployments/{federation}/")
        assert status == 200, deployment
        said = {
            "topic": f"{topic}:0:0:{count}", "input_format": "RAW", "input_config": config, "total_msg": count,
            "dataset_restrictions": deployment["data"]["restriction"], "validation_rate": 0.1, "test_rate": 0.1,
            "description": "", "incremental": False, "unsupervised_topic": None, **more,
        }  # fmt: skip
        with self.log() as log:
            log.append(DATA_CONTROL, [Outgoing(json.dumps(said).encode(), key=key)])

    def stream(self, federation: str, records: Records, config: Mapping[str, Any] = RAW, **more: Any) -> str:
        """Write and announce records to the federation's restriction; the topic."""
        topic = self.write(records)
        self.announce(federation, topic, len(records), config, **more)
        return topic

    # ------------------------------------------------------------ programs
    def program(self, module: str, *arguments: str) -> None:
        """A program that a person runs to its end; raises Refused with its last line."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], env=self.platform.environment, check=False,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            raise Refused(f"{module} (exit code {done.returncode})", (done.stderr.strip().splitlines() or [""])[-1])


def samples(count: int = 60, seed: int = 0) -> tuple[Array, Array]:
    """Three separable classes: (count, 8) float32 and their numbers."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    centers = np.random.default_rng(0).normal(0, 1, (CLASSES, 8))
    return (centers[labels] + random.normal(0, 0.3, (count, 8))).astype("<f4"), labels


def records_of(x: Array, y: Array) -> Records:
    """RAW records: the label is the key."""
    return [(label.tobytes(), row.tobytes()) for row, label in zip(x, y, strict=True)]


def one_hot(labels: Array) -> Array:
    """As float32."""
    rows: Array = np.eye(CLASSES, dtype="<f4")[labels]
    return rows


def _problem(answer: Any) -> str:
    """A problem's sentence, with the fields that it names."""
    if not isinstance(answer, dict):
        return str(answer)
    fields = [f"{error.get('field')}: {error.get('message')}" for error in answer.get("errors") or ()]
    return "; ".join(fields) or str(answer.get("detail") or answer)
