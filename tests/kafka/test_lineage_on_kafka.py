"""Lineage on a real broker: proved, pruned, rolled back, exported, and tampered with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.cli.main import main
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import RunFile, export, read_history, replay, verify
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import aggregator_topic
from mainstem.runtime.clock import SystemClock
from tests.kafka.test_rounds_on_kafka import run_to_end
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.runs import command

pytestmark = pytest.mark.kafka


def clients_of(log: KafkaLog, federation: str, incarnation: str = "1") -> list[LightClient]:
    """Two clients that train by arithmetic."""
    return [
        LightClient(log, federation, "a", lambda t, s: [t[0] + np.float32(0.1 * s + 0.1)], 7, incarnation),
        LightClient(log, federation, "b", lambda t, s: [t[0] * np.float32(0.9)], 13, incarnation),
    ]


def finished(log: KafkaLog, partitions: int = 1, keep_updates: int | None = None) -> str:
    """A finished run of three rounds."""
    start = [np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)]
    rules = Rules(rounds=3, min_clients=2, keep_updates=keep_updates)
    federation = open_federation(log, start, rules, aggregator_partitions=partitions)
    run_to_end(Federation(log, federation, clock=SystemClock(), writer="w"), clients_of(log, federation))
    return federation


def test_every_version_is_proved_until_updates_are_pruned(log: KafkaLog) -> None:
    """Three rounds verify; once the first round's updates are pruned, exactly its version can no longer be."""
    federation = finished(log)
    assert [(p.version, p.state) for p in verify(log, federation)] == [(v, "proved") for v in range(4)]
    second = min(a.offset for a in rounds_of(log, federation)[1].accepted)
    log.delete_records(aggregator_topic(federation), 0, second - 1)
    assert [(p.version, p.state) for p in verify(log, federation)][:2] == [(0, "proved"), (1, "gone")]


def test_a_finished_run_is_rolled_back_and_finished_again(log: KafkaLog) -> None:
    """A new aggregator answers the command that waits for it; every version of both branches is proved."""
    federation = finished(log)
    command(log, federation, "rollback", version=1)
    aggregator = Federation(log, federation, clock=SystemClock(), writer="w2")
    assert aggregator.step(0.0)  # before clients come, who would leave a finished run
    run_to_end(aggregator, clients_of(log, federation, incarnation="2"))
    head = read_history(log, federation).head
    assert (head.state, head.round, head.version) == ("finished", 3, 5)
    assert [base.version for base in head.lineage] == [0, 1, 1, 4, 5]
    assert [p.state for p in verify(log, federation)] == ["proved"] * 6
    assert [each.version for each in replay(log, federation)] == [1, 4, 5]


@pytest.mark.parametrize("partitions", [1, 3])
def test_an_export_is_the_run(log: KafkaLog, tmp_path: Path, partitions: int) -> None:
    """The file proves the same versions as the broker, over one partition or several."""
    federation = finished(log, partitions)
    done = export(log, federation, tmp_path / "run")
    with RunFile(tmp_path / "run") as run:
        assert list(run.proofs()) == list(verify(log, federation))
        assert run.partitions(aggregator_topic(federation)) == partitions
    assert done.versions == 4 and not done.incomplete


def test_the_commands_read_a_broker(
    log: KafkaLog, kafka: EmbeddedKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify`, `export` and `replay` with --bootstrap."""
    federation = finished(log)
    where = ["--bootstrap", kafka.bootstrap_servers, "--json"]
    assert main(["verify", federation, *where]) == 0
    assert json.loads(capsys.readouterr().out)["proved"] == 4
    target = tmp_path / "run.mainstem"
    assert main(["export", federation, "-o", str(target), *where]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == target.stat().st_size
    assert main(["verify", "--file", str(target)]) == 0
    assert main(["replay", federation, "--round", "1", "--without", "a", *where]) == 0
    assert main(["verify", "zzzzzzzz", *where]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("partitions", [1, 3])
def test_updates_that_are_not_kept_go_from_the_broker(log: KafkaLog, partitions: int) -> None:
    """The aggregator prunes by DeleteRecords; the last round can still be derived, and the run has ended well."""
    federation = finished(log, partitions, keep_updates=1)
    assert [p.state for p in verify(log, federation)] == ["proved", "gone", "gone", "proved"]
    assert log.bounds(aggregator_topic(federation), 0)[0] > 0
