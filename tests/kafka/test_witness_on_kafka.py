"""A real broker goes back to an older copy of its data: nothing is committed before a person takes what there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mainstem.aggregator.federation import REFUSES, Federation
from mainstem.aggregator.witnesses import Guard, Word
from mainstem.cli.main import main
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import read_history
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Progress, Rules, encode
from mainstem.protocol.witness import Statement, Witness, witness_of
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.older_copy import OlderCopy
from tests.support.patience import until
from tests.support.runs import START, clients_of, finished_run

pytestmark = pytest.mark.kafka

COUNT, ROUNDS = 2, 5


def turns(aggregator: Federation, clients: Sequence[LightClient], done: Callable[[], bool]) -> None:
    """Everybody's, until it is done."""

    def turn() -> bool:
        aggregator.step(0.01)
        for client in clients:
            if not client.gone:
                client.step(0.01)
        return done()

    until(turn, what="the round")


def end_of(log: KafkaLog, federation: str) -> Witness:
    """Where the log ends."""
    found = witness_of(read_history(log, federation).hashes)
    assert found is not None
    return found


def test_an_older_copy_commits_nothing_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It stands, and says so; `verify` and `check` fail; accepted, it comes to the bytes of an undisturbed run."""

    def command(*arguments: str) -> tuple[int, Any]:
        code = main([*arguments, "--bootstrap", broker.bootstrap_servers, "--json", "--home", str(tmp_path / "home")])
        return code, json.loads(capsys.readouterr().out)

    with EmbeddedKafka(tmp_path / "kafka") as broker:
        copy = OlderCopy(broker, tmp_path / "kafka", tmp_path / "copy")
        with closing(KafkaLog(client_config(broker.bootstrap_servers))) as log:
            rules = Rules(rounds=ROUNDS, min_clients=COUNT, max_clients=COUNT)
            federation = open_federation(log, START, rules, federation="lineage1")
            with closing(Federation(log, federation, clock=SystemClock(), writer="w")) as aggregator:
                clients = clients_of(log, federation, COUNT)
                turns(aggregator, clients, lambda: len(rounds_of(log, federation)) == 2)
                copy.take()
                turns(aggregator, clients, lambda: len(rounds_of(log, federation)) == 4)
            newest = end_of(log, federation)
            (tmp_path / "w.json").write_bytes(encode(Statement(federation=federation, witness=newest)))
            assert command("witness", "check", federation, "--witness", str(tmp_path / "w.json"))[0] == 0
        copy.go_back()
        with closing(KafkaLog(client_config(broker.bootstrap_servers))) as log:
            kept, word = end_of(log, federation), Word(newest)
            assert kept.count < newest.count
            guard = Guard(federation, lambda federation: word)
            clients = clients_of(log, federation, COUNT, incarnation="2")
            with closing(Federation(log, federation, clock=SystemClock(), writer="x", guard=guard)) as aggregator:
                for _ in range(10):
                    aggregator.step(0.01)
                    for client in clients:
                        client.step(0.01)
                assert aggregator.sight.stands and end_of(log, federation) == kept
                with closing(ControlTopic(log, federation)) as control:
                    said = [e.record.detail for e in control.sync() if isinstance(e.record, Progress)][-1]
                assert said.startswith(f"{REFUSES}the log of federation lineage1 has lost its tail")
                code, told = command("verify", federation, "--witness", str(tmp_path / "w.json"))
                assert code == 1 and (told["proved"], told["differs"]) == (kept.count, 1)
                code, told = command("witness", "check", federation, "--witness", str(tmp_path / "w.json"))
                assert code == 1 and told["unwitnessed"] in said
                word = Word(kept, accepted=1)
                turns(aggregator, clients, lambda: len(rounds_of(log, federation)) == ROUNDS)
            found = [record.weights.sha256 for record in rounds_of(log, federation)]
    assert found == [record.weights.sha256 for record in rounds_of(*finished_run(ROUNDS, COUNT))]
