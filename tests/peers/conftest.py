"""A peer for each pinned kafka-python, whose programs run as processes against the real broker."""

from __future__ import annotations

import json
import subprocess
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from tests.kafka.test_serving_on_kafka import model  # noqa: F401  # a fixture
from tests.peers.environments import PEERS, PeerError, interpreter

PROGRAM = Path(__file__).with_name("program.py")
SECONDS = 120


class Seen(NamedTuple):
    """A record as a peer saw it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Peer:
    """One kafka-python in its own environment; every method runs one process at the broker `servers`."""

    def __init__(self, name: str, python: Path, servers: str) -> None:
        self.name, self._python, self._servers = name, python, servers

    @property
    def knows_transactions(self) -> bool:
        """Whether it passes over their markers, and can read what is committed alone."""
        return self.name != "kafka-python-2.0.2"

    def sink(
        self, topic: str, control: str, samples: list[tuple[Any, Any]], *, announced: str = "at_close", **more: Any
    ) -> None:
        """A sink's life: `samples` are (value, label) as bytes, or as data of the Avro schemes in `input_config`."""
        self._call("sink", {
            "topic": topic, "control_topic": control, "samples": samples, "announced": announced, "deployment_id": 1,
            "input_format": "RAW", "unsupervised_topic": None, "unlabelled": [], "description": "Mnist dataset",
            "dataset_restrictions": {}, "validation_rate": 0.1, "test_rate": 0, **more,
        })  # fmt: skip

    def ask(self, topic: str, values: list[Any], data_scheme: str | None = None) -> None:
        """An inference script's questions."""
        self._call("ask", {"topic": topic, "values": values, "data_scheme": data_scheme})

    def listen(self, *topics: str, **settings: Any) -> dict[str, list[Seen]]:
        """Everything in each topic, by partition and offset; the group is this peer's own."""
        said = {"topics": topics, "group": f"output_group-{uuid.uuid4().hex[:8]}", "settings": settings}
        found: dict[str, list[Seen]] = {topic: [] for topic in topics}
        for record in self._call("listen", said)["records"]:
            headers = [(name, _bytes(value)) for name, value in record["headers"]]
            seen = Seen(record["partition"], record["offset"], _bytes(record["key"]), _bytes(record["value"]), headers)
            found[record["topic"]].append(seen)
        return found

    def _call(self, call: str, said: dict[str, Any]) -> dict[str, Any]:
        asked = json.dumps({"call": call, "servers": self._servers, "said": said}, default=_base64)
        command = [str(self._python), "-I", str(PROGRAM)]
        done = subprocess.run(command, check=False, input=asked, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{self.name}, {call}: {done.stderr[-3000:]}"
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["version"].startswith(self.name.removeprefix("kafka-python-"))
        return result


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


@pytest.fixture(params=PEERS, scope="module")
def peer(request: pytest.FixtureRequest, kafka: EmbeddedKafka) -> Peer:
    """Each kafka-python in its turn; fails in a sentence where its environment cannot be made."""
    try:
        return Peer(request.param, interpreter(request.param), kafka.bootstrap_servers)
    except PeerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def log(kafka: EmbeddedKafka) -> Iterator[KafkaLog]:
    """A message log of the shared real broker."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    yield log
    log.close()
