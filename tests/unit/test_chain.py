"""The chain: the first valid successor wins, for every reader, and a zombie's record changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.protocol.chain import Chain, Head, Link, begin, follow
from mainstem.protocol.messages import (
    Base,
    Changed,
    Failed,
    Finished,
    Lifecycle,
    Resumed,
    RolledBack,
    Rules,
    Snapshot,
    Stopped,
    encode,
    sha256,
)
from mainstem.rounds import successor
from tests.support.chains import Topic, lifecycle, opened, round_after, weights


def link(record: Lifecycle, offset: int = 0, time_ms: int = 0) -> Link:
    """The record in its place."""
    return Link(offset, time_ms, sha256(encode(record)), record)


def any_after(head: Head, kind: str, writer: str) -> Lifecycle:
    """A successor of any kind."""
    fields: dict[str, tuple[type[Lifecycle], dict[str, Any]]] = {
        "stopped": (Stopped, {"command": 1}),
        "resumed": (Resumed, {"command": 2}),
        "changed": (Changed, {"command": 3, "rules": Rules(rounds=len(writer) + 5)}),
        "failed": (Failed, {"detail": writer}),
        "finished": (Finished, {"version": head.base.version, "sha256": head.weights.sha256}),
        "rolled_back": (RolledBack, {"version": 0, "weights": weights(), "snapshot": head.snapshot, "command": 4}),
    }
    return round_after(head, writer) if kind == "round" else successor(head, *fields[kind])


KINDS = ("round", "round", "round", "stopped", "resumed", "changed", "failed", "finished", "rolled_back")


@given(st.data())
def test_every_reader_sees_one_chain(data: st.DataObject) -> None:
    """Two writers that read now and then and append to what they believe the head is: all readers agree at every
    point, the chain's links are the first valid ones, and nothing else changes it."""
    topic = Topic()
    topic.append(opened(rounds=50))
    writers = {"alpha": topic.reader(), "beta": topic.reader()}
    truth = topic.reader()
    truth.sync()
    for _ in range(data.draw(st.integers(1, 25))):
        name = data.draw(st.sampled_from(sorted(writers)))
        reader = writers[name]
        if reader.head is None or data.draw(st.booleans()):
            reader.sync(data.draw(st.integers(1, 5)))
            continue
        before = truth.head
        assert before is not None
        record = any_after(reader.head, data.draw(st.sampled_from(KINDS)), name)
        topic.append(record, len(topic.values))
        (entry,) = truth.sync()
        assert (entry.link is not None) == (reader.head.link == before.link)
        if entry.link is None:
            assert truth.head == before
            assert entry.problem is not None and "superseded" in entry.problem
    whole = topic.reader()
    entries = whole.sync()
    pieces = topic.reader()
    while pieces.sync(data.draw(st.integers(1, 4))):
        pass
    assert whole.head == pieces.head == truth.head
    chain = lifecycle(entries)
    assert [r.seq for r in chain] == list(range(len(chain)))
    values = [encode(r) for r in chain]
    assert [r.prev for r in chain] == ["", *map(sha256, values[:-1])]


def test_only_opened_begins() -> None:
    """Nothing but an `opened` record with sequence 0 and no predecessor begins a chain, and only once."""
    first = opened()
    head = begin(link(first))
    assert head is not None and head.state == "open" and head.lineage == (Base(seq=0, version=0),)
    for odd in (
        msgspec.structs.replace(first, seq=1),
        msgspec.structs.replace(first, prev="0" * 64),
        round_after(head),
    ):
        assert begin(link(odd)) is None
    chain = Chain()
    assert not chain.offer(link(round_after(head)))
    assert chain.offer(link(first)) and not chain.offer(link(first, 1))
    assert chain.superseded == 2
    again = msgspec.structs.replace(first, seq=1, prev=sha256(encode(first)))
    assert follow(head, link(again)) is None


@pytest.mark.parametrize(
    "changes", [{"seq": 0}, {"seq": 2}, {"prev": ""}, {"prev": "f" * 64}, {"federation": "zzzzzzzz"}]
)
def test_a_successor_names_sequence_hash_and_federation(changes: dict[str, Any]) -> None:
    """A record with one of them wrong does not follow."""
    head = begin(link(opened()))
    assert head is not None
    good = round_after(head)
    assert follow(head, link(good)) is not None
    assert follow(head, link(msgspec.structs.replace(good, **changes))) is None


def test_states_and_time() -> None:
    """Each kind has its effect; log time never runs backwards."""
    topic = Topic()
    topic.append(opened(rounds=2), 100)
    topic.append(round_after(topic.head()), 50)
    head = topic.head()
    assert (head.round, head.version, head.since_ms, head.final, head.ended) == (1, 1, 100, False, False)
    topic.append(successor(head, Stopped, {"command": 7}), 200)
    assert (topic.head().state, topic.head().ended, topic.head().command) == ("stopped", True, 7)
    assert topic.head().base == head.base and topic.head().snapshot == head.snapshot
    topic.append(successor(topic.head(), Resumed, {"command": 8}), 300)
    assert (topic.head().state, topic.head().since_ms) == ("open", 300)
    topic.append(successor(topic.head(), Changed, {"command": 9, "rules": Rules(rounds=1)}), 301)
    assert topic.head().final
    for version, digest in ((0, head.weights.sha256), (1, "0" * 64)):
        topic.append(successor(topic.head(), Finished, {"version": version, "sha256": digest}), 302)
        assert topic.head().state == "open", "it ends the run with another model than the head's"
    topic.append(successor(topic.head(), Finished, {"version": 1, "sha256": head.weights.sha256}), 302)
    assert topic.head().state == "finished" and topic.head().ended


def test_rollback_counts_each_version_once() -> None:
    """After rolling back twice to one version, the round is that version's, and its ancestors are the lineage."""
    topic = Topic()
    topic.append(opened(rounds=9))
    for _ in range(2):
        topic.append(round_after(topic.head()))
    first, model = topic.head().lineage[1], topic.head().models[1]
    for expected_version in (3, 4):
        back = {"version": 1, "weights": model, "snapshot": Snapshot(position=0, time_ms=0), "command": 1}
        topic.append(successor(topic.head(), RolledBack, back))
        head = topic.head()
        assert head.round == 1 and head.base.version == 1 and first in head.lineage
        assert all(b.version <= 1 for b in head.lineage) and len(head.models) == len(head.lineage)
        topic.append(round_after(head))
        assert topic.head().version == expected_version and topic.head().round == 2


@pytest.mark.parametrize(("version", "sha"), [(2, "w"), (7, "w"), (1, "f")])
def test_a_rollback_to_what_the_head_does_not_descend_from_changes_nothing(version: int, sha: str) -> None:
    """An abandoned version, one that never was, or a known one with other weights: superseded, for every reader."""
    topic = Topic()
    topic.append(opened(rounds=9))
    for _ in range(2):
        topic.append(round_after(topic.head()))
    back = {"version": 1, "weights": topic.head().models[1], "snapshot": Snapshot(position=0, time_ms=0), "command": 1}
    topic.append(successor(topic.head(), RolledBack, back))
    before = topic.head()
    topic.append(successor(before, RolledBack, {**back, "version": version, "weights": weights(sha * 64)}))
    assert topic.head() == before
