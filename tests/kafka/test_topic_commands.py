"""`mainstem topics create|read|delete` on a real broker: what people without Kafka's own programs do."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import numpy as np
import pytest

from mainstem.cli.main import main
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import (
    DATA_CONTROL,
    MODEL_CONTROL,
    control_topic,
    federation_topics,
    new_federation_id,
    stream_spec,
)

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _here(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands know this broker, and no platform."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("MAINSTEM_HOME", str(tmp_path))
    for name in ("DATA_BOOTSTRAP_SERVERS", "DATA_CLIENT_CONFIG", "KML_CLOUD_CLIENT_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def topic() -> str:
    """A name of its own."""
    return f"ward-{secrets.token_hex(4)}"


def test_a_topic_is_made_once_and_deleted_when_it_is_said_twice(
    topic: str, log: KafkaLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its partitions; again, without --yes, or once it is gone there is a sentence."""
    assert main(["topics", "create", topic, "--partitions", "3", "--config", "retention.ms=-1"]) == 0
    assert capsys.readouterr().out == f"{topic}: made, with 3 partitions\n"
    assert log.partitions(topic) == 3
    assert main(["topics", "create", topic]) == 1
    assert f"topic {topic} exists already, with 3 partition(s)" in capsys.readouterr().err
    log.append(topic, [Outgoing(b"x"), Outgoing(b"y", partition=2)])
    assert main(["topics", "delete", topic]) == 2
    assert f"this destroys {topic} with its 2 records: say --yes to do it" in capsys.readouterr().err
    assert main(["topics", "delete", topic, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"topic": topic, "records": 2}
    assert log.identify(topic) is None
    assert main(["topics", "delete", topic, "--yes"]) == 1
    assert f"there is no topic {topic}: `mainstem topics` lists them" in capsys.readouterr().err


def test_records_are_read_one_a_line(topic: str, log: KafkaLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Text as it is, samples by their size, from any offset; as JSON for programs, whole."""
    log.create_topics([stream_spec(topic)])
    sample, label = np.full(4, 0.5, "<f4").tobytes(), np.eye(2, dtype="<f4")[1].tobytes()
    records = [Outgoing(b'{"a":\n1}', key=b"k"), Outgoing("öl".encode()), Outgoing(sample, key=label), Outgoing(None)]
    log.append(topic, records)
    assert main(["topics", "read", topic]) == 0
    assert capsys.readouterr().out.splitlines() == [
        '0:0  k  {"a":\\n1}', "0:1  öl", "0:2  (8 bytes)  (16 bytes)", "0:3  (deleted)"
    ]  # fmt: skip
    assert main(["topics", "read", topic, "--from", "1", "--limit", "1"]) == 0
    assert capsys.readouterr().out == "0:1  öl\n"
    assert main(["topics", "read", topic, "--json", "--limit", "3"]) == 0
    read = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["offset"], r.get("key"), r.get("value")) for r in read] == [
        (0, "k", {"a": 1}), (1, None, "öl"), (2, None, None)
    ]  # fmt: skip
    assert {"key_base64", "value_base64"} <= read[2].keys()
    assert main(["topics", "read", topic, "--from", "9"]) == 1
    assert f"{topic}, partition 0, holds the offsets 0 to 3; there is no 9" in capsys.readouterr().err
    assert main(["topics", "read", topic, "--partition", "1"]) == 1
    assert f"{topic} has 1 partition(s), from 0 on: there is no 1" in capsys.readouterr().err


def test_a_federation_s_topics_are_read_and_left_alone(log: KafkaLog, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs are made of is neither made nor deleted by hand; a data topic that is called FED-DEBUG... is."""
    federation = new_federation_id()
    log.create_topics(federation_topics(federation))
    log.append(control_topic(federation), [Outgoing(b'{"type":"page"}')])
    assert main(["topics", "read", control_topic(federation)]) == 0
    assert capsys.readouterr().out == '0:0  {"type":"page"}\n'
    for action, name, why in (
        ("delete", control_topic(federation), f"it is of federation {federation}, whose run is in it"),
        ("create", f"FED-{federation}-agg_data_topic", f"it is of federation {federation}"),
        ("delete", MODEL_CONTROL, "every federation needs it"),
        ("delete", DATA_CONTROL, "every federation needs it"),
        ("create", "__consumer_offsets", "Kafka keeps such names for itself"),
    ):
        assert main(["topics", action, name, *(["--yes"] if action == "delete" else [])]) == 1
        verb = "make" if action == "create" else "delete"
        assert f"error: {name} is not yours to {verb}: {why}" in capsys.readouterr().err
    debug = f"FED-DEBUG-data_topic-{federation}"
    assert main(["topics", "create", debug]) == 0 and main(["topics", "delete", debug, "--yes"]) == 0


def test_wrong_arguments_are_named(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before Kafka is asked."""
    for words, says in (
        (["create", "a b"], "topic is 'a b'; a topic's name is 1 to 249 characters of A-Z a-z 0-9 . _ -"),
        (["create", topic, "--partitions", "0"], "--partitions is 0; it must be from 1 to 10000"),
        (["create", topic, "--config", "retention.ms"], "--config takes NAME=VALUE, not 'retention.ms'"),
    ):
        assert main(["topics", *words]) in (1, 2)
        assert says in capsys.readouterr().err
    assert main(["topics", "create", topic, "--config", "retention.mss=1"]) == 1
    assert "retention.mss" in capsys.readouterr().err
