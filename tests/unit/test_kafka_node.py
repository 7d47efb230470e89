"""The broker of a container: its settings and its refusals; tests/cluster runs the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainstem.errors import ConfigError
from mainstem.kafka.broker.node import node_properties
from mainstem.kafka.client.properties import broker_properties, client_properties


def test_one_listener_unless_there_is_an_outside(tmp_path: Path) -> None:
    """Without MAINSTEM_KAFKA_EXTERNAL nothing listens for clients outside, and the controller never leaves the pod."""
    made = node_properties({"MAINSTEM_KAFKA_ADVERTISED": "kafka.kafkaml.svc:9092"}, tmp_path)
    assert made["listeners"] == "CLIENT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"
    assert made["advertised.listeners"] == "CLIENT://kafka.kafkaml.svc:9092"
    assert made["auto.create.topics.enable"] == "false"


def test_clients_outside_are_told_their_own_address(tmp_path: Path) -> None:
    """Who comes by the node's port is sent to what MAINSTEM_KAFKA_EXTERNAL says."""
    environ = {"MAINSTEM_KAFKA_ADVERTISED": "kafka:9092", "MAINSTEM_KAFKA_EXTERNAL": "localhost:31162"}
    made = node_properties(environ, tmp_path)
    assert made["listeners"].endswith("EXTERNAL://0.0.0.0:9094")
    assert made["advertised.listeners"] == "CLIENT://kafka:9092,EXTERNAL://localhost:31162"
    assert "EXTERNAL:PLAINTEXT" in made["listener.security.protocol.map"]


def test_an_ipv6_address_is_one(tmp_path: Path) -> None:
    """In brackets; then the listener is for both kinds."""
    environ = {"MAINSTEM_KAFKA_ADVERTISED": "[::1]:9092", "MAINSTEM_KAFKA_EXTERNAL": "[2001:db8::5]:31162"}
    made = node_properties(environ, tmp_path)
    assert made["advertised.listeners"] == "CLIENT://[::1]:9092,EXTERNAL://[2001:db8::5]:31162"
    assert made["listeners"] == "CLIENT://[::]:9092,CONTROLLER://127.0.0.1:9093,EXTERNAL://[::]:9094"


BAD = "kafka", "kafka:", "a:1,b:2", "::1:9092", "[::1]", "[::g]:1", "kafka:0", "kafka:65536", "kafka:9092\nlog.dirs=/"


@pytest.mark.parametrize("name", ["MAINSTEM_KAFKA_ADVERTISED", "MAINSTEM_KAFKA_EXTERNAL"])
@pytest.mark.parametrize(
    "value",
    ["kafka", "kafka:", "a:1,b:2", "::1:9092", "[::1]", "[::g]:1", "kafka:0", "kafka:65536", "a:9092\nlog.dirs=/"],
)
def test_an_address_that_is_none_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    """No address can bring another setting in."""
    with pytest.raises(ConfigError, match=name):
        node_properties({name: value}, tmp_path)


def test_a_property_file_wins(tmp_path: Path) -> None:
    """MAINSTEM_KAFKA_CONFIG is the way to Kafka's other settings."""
    file = tmp_path / "more.properties"
    file.write_text("# ours\n\nlog.retention.hours=24\nnum.io.threads = 8\n")
    made = node_properties({"MAINSTEM_KAFKA_CONFIG": str(file)}, tmp_path)
    assert (made["log.retention.hours"], made["num.io.threads"]) == ("24", "8")


def test_a_property_file_with_a_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    """So is one that is not there."""
    file = tmp_path / "bad.properties"
    file.write_text("a=1\nnonsense\n")
    with pytest.raises(ConfigError, match="line 2"):
        client_properties(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        broker_properties(tmp_path / "absent")
