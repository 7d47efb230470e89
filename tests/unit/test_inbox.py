"""Chunks that pass by before their manifest: fetched once, whatever the memory; read again where no disk takes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Admission, Rules
from mainstem.protocol.topics import aggregator_topic
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import make, open_federation
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, rounds_of
from tests.support.runs import drive
from tests.support.signers import key_of

CLIENTS = 3


class CountingLog(MemoryLog):
    """Counts the ranges of the aggregator topic that are fetched again."""

    again = 0

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `MessageLog`."""
        self.again += topic == aggregator_topic("inboxes1")
        return super().read(topic, partition, start, end)


def run(retain: int, spill: int) -> tuple[str, int]:
    """Two rounds of unpacked updates: the final sha256, and how often updates were fetched again."""
    log = CountingLog(SystemClock())
    model = [np.arange(5000, dtype=np.float32), np.ones((3, 7), np.float32)]
    rules = Rules(rounds=2, min_clients=CLIENTS, max_clients=CLIENTS)
    id_ = open_federation(log, model, rules, federation="inboxes1")
    federation = Federation(log, id_, clock=SystemClock(), writer="w", retain=retain, spill=spill)
    drive(federation, [LightClient(log, id_, f"c{n}", make("noise", n), packed=0) for n in range(CLIENTS)])
    rounds = rounds_of(log, id_)
    assert [len(record.accepted) for record in rounds] == [CLIENTS] * 2
    return rounds[-1].weights.sha256, log.again


def test_each_chunk_is_fetched_once() -> None:
    """With no memory for what passes by it waits in the file; with no room there either it is fetched again."""
    whole, again = run(32 << 20, 1 << 20)
    assert not again
    assert run(0, 1 << 20) == (whole, 0)
    sha256, again = run(0, 0)
    assert sha256 == whole and again >= 2 * CLIENTS


def test_a_full_disk_costs_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no file can be made, what passes by is read again to be judged, and nothing is refused for it."""
    whole, _ = run(32 << 20, 1 << 20)
    made, attempts = tempfile.TemporaryFile, 0

    def full(**options: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts <= CLIENTS:
            raise OSError("no space left")
        return made(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    sha256, again = run(0, 1 << 20)
    assert sha256 == whole and again and attempts > CLIENTS


def test_a_signature_is_told_from_none_where_no_site_is_admitted() -> None:
    """Also when the last site was revoked: the key is not admitted any more, and the record is signed."""
    log = MemoryLog(SystemClock())
    id_ = open_federation(log, [np.ones(3, np.float32)], Rules(admission=Admission(mode="enrolled")))
    federation = Federation(log, id_, clock=SystemClock(), writer="w")
    clients = [
        LightClient(log, id_, name, make("noise", 0), key=key) for name, key in (("a", key_of("A")), ("b", None))
    ]
    for _ in range(5):
        for client in clients:
            client.step()
        federation.step(0)
    told = {refused.client: refused.detail for refused in federation.machine.round.refusals.named}
    assert told["a"].startswith("it is signed with a key that this run does not admit, or no longer")
    assert told["b"].startswith("it is not signed")
