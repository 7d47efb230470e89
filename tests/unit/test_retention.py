"""Retention: updates of old rounds go, the run goes on, and `verify` says which versions it cannot derive any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainstem.aggregator.federation import Federation
from mainstem.errors import LogError
from mainstem.lineage import export, verify
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import aggregator_topic, data_topic
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import head_tensors, open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, clients_of, command, drive, finished_run


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_old_updates_go_and_the_run_goes_on(keep: int) -> None:
    """Of five rounds the last `keep` can be derived; every model is still there, and the result is the same."""
    log, federation = finished_run(rounds=5, keep_updates=keep)
    states = [p.state for p in verify(log, federation)]
    assert states == ["proved"] + ["gone"] * (5 - keep) + ["proved"] * keep
    whole, other = finished_run(rounds=5)
    assert all((a == b).all() for a, b in zip(head_tensors(log, federation), head_tensors(whole, other), strict=True))
    assert log.bounds(data_topic(federation), 0)[0] == 0
    assert (log.bounds(aggregator_topic(federation), 0)[0] > 0) == (keep < 5)


def test_without_the_setting_nothing_goes() -> None:
    """None keeps updates for ever."""
    log, federation = finished_run(rounds=4)
    assert log.bounds(aggregator_topic(federation), 0)[0] == 0


def test_several_partitions_are_pruned() -> None:
    """Chunks of old rounds go from their own partitions too."""
    clock = Ticking()
    log = MemoryLog(clock)
    rules = Rules(rounds=5, min_clients=3, keep_updates=2)
    federation = open_federation(log, START, rules, aggregator_partitions=4, federation="prunedid")
    aggregate(log, federation, clients_of(log, federation, 3, packed=0), clock)
    topic = aggregator_topic(federation)
    used = [p for p in range(4) if log.bounds(topic, p)[1]]
    assert len(used) > 1 and all(log.bounds(topic, p)[0] > 0 for p in used)
    assert [p.state for p in verify(log, federation)] == ["proved"] + ["gone"] * 3 + ["proved"] * 2


def test_a_successor_prunes_as_well() -> None:
    """A worker that did not see the rounds commit reads what they name; a rollback beyond the kept rounds works."""
    log, federation = finished_run(rounds=4, keep_updates=1)
    command(log, federation, "rollback", version=1)
    clock = Ticking()
    aggregator = Federation(log, federation, clock=clock, writer="successor")
    drive(aggregator, clients_of(log, federation, 2, incarnation="2"))
    assert [r.version for r in rounds_of(log, federation)] == [1, 2, 3, 4, 5, 6, 7]
    states = {p.version: p.state for p in verify(log, federation)}
    assert states[7] == "proved" and states[1] == states[4] == "gone"


def test_a_log_that_cannot_prune_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruning is tried again at the next commit."""

    def refuse(self: MemoryLog, topic: str, partition: int, before: int) -> None:
        raise LogError("not now")

    monkeypatch.setattr(MemoryLog, "delete_records", refuse)
    log, federation = finished_run(rounds=3, keep_updates=1)
    assert [p.state for p in verify(log, federation)] == ["proved"] * 4


def test_a_pruned_run_exports_what_is_left(tmp_path: Path) -> None:
    """The export names the versions that are incomplete."""
    log, federation = finished_run(rounds=4, keep_updates=2)
    assert export(log, federation, tmp_path / "run").incomplete == (1, 2)


def test_buffered_rounds_keep_what_may_still_count() -> None:
    """An update of the largest staleness may be on its way: its chunks are never pruned, whatever is asked."""
    log, federation = finished_run(
        rounds=8, keep_updates=1, mode="buffered", buffer=2, max_staleness=3, staleness_exponent=0.5
    )
    states = [p.state for p in verify(log, federation)]
    assert states[:2] == ["proved", "gone"] and states[-4:] == ["proved"] * 4
