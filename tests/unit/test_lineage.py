"""Lineage over a log in memory: whatever a version names is proved, and nothing of it changes unseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.errors import ConfigError, LogError
from mainstem.lineage import read_history, recall, replay, verify
from mainstem.lineage.replaying import parse_params
from mainstem.protocol.chain import Link
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Finished, Lifecycle, Round, StrategyChoice, Update, encode
from mainstem.protocol.packing import decode
from mainstem.protocol.topics import aggregator_topic, control_topic, data_topic
from mainstem.testing.memory_log import MemoryCursor, MemoryLog
from tests.support.federations import head_tensors, rounds_of
from tests.support.runs import Ticking, aggregate, clients_of, command, finished_run
from tests.support.sent import carried

Place = tuple[str, int]


class Altered(MemoryLog):
    """Another log with one record of a partition changed, or left out where `changed` is None."""

    def __init__(self, inner: MemoryLog, place: Place, changed: Record | None, partition: int = 0) -> None:
        super().__init__(Ticking())
        self._topics, self._first = inner._topics, inner._first
        self._place, self._record, self._partition = place, changed, partition

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`."""
        return iter(self._alter(super().read(topic, partition, start, end)))

    def wait(self, topic: str, partition: int, position: int, timeout: float, limit: int) -> list[Record]:
        """See `MemoryLog`: what a cursor is given."""
        return self._alter(super().wait(topic, partition, position, 0, limit))

    def cursor(self, topic: str, partition: int, start: int) -> MemoryCursor:
        """See `log.MessageLog`; a poll that gives nothing would look like the end, so the hole is passed over."""
        return _Passing(self, topic, partition, start)

    def _alter(self, records: Iterator[Record] | list[Record]) -> list[Record]:
        there = (*self._place, self._partition)
        altered = (self._record if (r.topic, r.offset, r.partition) == there else r for r in records)
        return [record for record in altered if record is not None]


class _Passing(MemoryCursor):
    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`."""
        records = super().poll(timeout, limit)
        if records:
            self._position = records[-1].offset + 1
        return records


def everything(log: MemoryLog, federation: str) -> Iterator[Record]:
    """Every record of the federation's topics."""
    for topic in (control_topic(federation), data_topic(federation), aggregator_topic(federation)):
        for partition in range(log.partitions(topic)):
            yield from log.read(topic, partition, *log.bounds(topic, partition))


def named(log: MemoryLog, federation: str) -> list[Record]:
    """The records that some version names: chunks, manifests, and each version's predecessors in the chain."""
    history = read_history(log, federation)
    last = max(link.offset for link in history.links if isinstance(link.record, Round))
    counted = {item.offset for _, record in history.steps() if isinstance(record, Round) for item in record.accepted}
    links = {link.offset for link in history.links if link.offset < last}
    found = []
    for record in everything(log, federation):
        if record.topic == control_topic(federation):
            keep = record.offset in links
        else:
            keep = is_chunk(record.headers) or record.offset in counted
        if keep:
            found.append(record)
    return found


RUN = finished_run(rounds=3, count=2)
NAMED = named(*RUN)


def detected(log: MemoryLog, federation: str) -> bool:
    """Whether `verify` refuses the log."""
    try:
        return any(proof.state == "differs" for proof in verify(log, federation))
    except LogError:
        return True


def test_an_untouched_run_is_proved() -> None:
    """Every version, in order, with the number of its updates."""
    proofs = list(verify(*RUN))
    assert [(p.version, p.state, p.updates) for p in proofs] == [
        (0, "proved", 0), (1, "proved", 2), (2, "proved", 2), (3, "proved", 2)
    ]  # fmt: skip
    assert len(NAMED) == 4 + 3 * 2 + 3


@pytest.mark.parametrize("number", range(len(NAMED)))
def test_any_missing_record_is_found(number: int) -> None:
    """Each record that a version names, left out."""
    log, federation = RUN
    record = NAMED[number]
    assert detected(Altered(log, (record.topic, record.offset), None), federation)


@settings(max_examples=400)
@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    """Any bit of value or headers of any record that a version names."""
    log, federation = RUN
    record = data.draw(st.sampled_from(NAMED))
    parts = ["value", *record.headers] if record.value else list(record.headers)
    part = data.draw(st.sampled_from(parts))
    content = bytearray(record.value or b"" if part == "value" else record.headers[part])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if part == "value":
        changed = Record(
            record.topic, 0, record.offset, record.timestamp_ms, record.key, bytes(content), record.headers
        )
    else:
        headers = {**record.headers, part: bytes(content)}
        changed = Record(record.topic, 0, record.offset, record.timestamp_ms, record.key, record.value, headers)
    assert detected(Altered(log, (record.topic, record.offset), changed), federation)


def test_a_round_that_lies_is_found() -> None:
    """A record that takes its place in the chain, but weighs, counts or names otherwise than it may."""
    log, federation = RUN
    history = read_history(log, federation)
    head, record = list(history.steps())[-2]
    assert isinstance(record, Round)
    first, second = record.accepted
    lies: list[dict[str, Any]] = [
        {"accepted": (msgspec.structs.replace(first, coefficient=3.0), second)},
        {"accepted": (first, first)},
        {"accepted": (msgspec.structs.replace(first, examples=first.examples + 1), second)},
        {"accepted": (msgspec.structs.replace(first, client="c9"), second)},
        {"accepted": (second,)},
        {"version": record.version + 1},
        {"strategy": StrategyChoice(params={"weigh": "equal"})},
        {"weights": head.weights},
    ]
    (offset,) = [link.offset for link in history.links if link.record == record]
    (original,) = log.read(control_topic(federation), 0, offset, offset + 1)
    for lie in lies:
        value = encode(msgspec.structs.replace(record, **lie))
        changed = Record(original.topic, 0, offset, original.timestamp_ms, None, value)
        states = [p.state for p in verify(Altered(log, (original.topic, offset), changed), federation)]
        assert states[3] == "differs", lie


def test_zombies_do_not_disturb_a_proof() -> None:
    """A writer that lost the race has named a record of the chain: that is no sign of tampering."""
    log, federation = finished_run(rounds=2)
    links: list[Link] = list(read_history(log, federation).links)
    late = links[1].record
    assert isinstance(late, Lifecycle)
    log.append(control_topic(federation), [Outgoing(encode(late))])
    assert [p.state for p in verify(log, federation)] == ["proved"] * 3
    log.append(control_topic(federation), [Outgoing(b"not JSON")])
    assert [p.state for p in verify(log, federation)] == ["proved"] * 3 + ["differs"]


def test_a_forged_end_is_found() -> None:
    """No writer that lost a race ends the run with another model than the one that it has read."""
    log, federation = finished_run(rounds=2)
    links: list[Link] = list(read_history(log, federation).links)
    end = links[-1].record
    assert isinstance(end, Finished)
    forged = msgspec.structs.replace(end, version=1, sha256="f" * 64)
    log.append(control_topic(federation), [Outgoing(encode(forged))])
    *versions, stray = verify(log, federation)
    assert [p.state for p in versions] == ["proved"] * 3
    assert (stray.version, stray.sha256, stray.state) == (1, "f" * 64, "differs")
    assert stray.detail.endswith("(finished) names another model than the record that it follows")


# ---------------------------------------------------------------- rollback
def test_a_rollback_goes_on_with_one_chain() -> None:
    """A finished run goes back to version 1 and makes its missing rounds anew, under new version numbers."""
    log, federation = finished_run(rounds=3)
    before = {r.version: r.weights.sha256 for r in rounds_of(log, federation)}
    command(log, federation, "rollback", version=1)
    aggregate(log, federation, clients_of(log, federation, 2, incarnation="2"))
    head = read_history(log, federation).head
    assert (head.state, head.round, head.version, head.base.version) == ("finished", 3, 5, 5)
    assert [base.version for base in head.lineage] == [0, 1, 1, 4, 5]
    assert head.model(1) is not None and head.models[1].sha256 == before[1] and head.model(3) is None
    assert [(p.version, p.state) for p in verify(log, federation)] == [(v, "proved") for v in range(6)]


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(9, "there is no version 9"), (3, "version 3 is the run's model"), (None, "names the version")],
)
def test_a_rollback_to_nowhere_is_rejected(version: int | None, sentence: str) -> None:
    """With a sentence; the run stands as it stood."""
    log, federation = finished_run(rounds=3)
    head = read_history(log, federation).head
    command(log, federation, "rollback", version=version)
    aggregate(log, federation, [])
    assert sentence in _last(log, federation)
    assert read_history(log, federation).head == head


def test_a_rollback_to_an_abandoned_version_is_rejected() -> None:
    """What was rolled back is no ancestor of the head any more."""
    log, federation = finished_run(rounds=3)
    command(log, federation, "rollback", version=1)
    aggregate(log, federation, clients_of(log, federation, 2, incarnation="2"))
    command(log, federation, "rollback", version=2)
    aggregate(log, federation, [])
    assert "does not descend from version 2" in _last(log, federation)


def _last(log: MemoryLog, federation: str) -> str:
    end = log.bounds(control_topic(federation), 0)[1]
    (record,) = log.read(control_topic(federation), 0, end - 1, end)
    return (record.value or b"").decode()


# ---------------------------------------------------------------- replay and recall
def test_a_replay_of_what_was_done_is_the_same() -> None:
    """Each round, to the last byte."""
    found = list(replay(*RUN))
    assert [each.version for each in found] == [1, 2, 3]
    assert all(each.same and each.largest == 0 and each.l2 == 0 for each in found)


def test_a_replay_without_a_client_is_the_others_mean() -> None:
    """Of two clients the other one's update: the distances are those of its tensors from the committed ones."""
    log, federation = RUN
    (made,) = replay(log, federation, round=3, without=["c0"])
    (kept,) = [item for item in rounds_of(log, federation)[2].accepted if item.client == "c1"]
    assert not made.same and made.without == ("c0",) and made.updates == 1
    real = head_tensors(log, federation)
    (record,) = log.read(aggregator_topic(federation), 0, kept.offset, kept.offset + 1)
    update = decode(record)
    assert isinstance(update, Update)
    theirs = carried(log, read_history(log, federation).opened, kept.offset, update)
    apart = [np.abs(a.astype(np.float64) - b).max() for a, b in zip(real[:2], theirs, strict=True)]
    assert [d.largest for d in made.differences] == pytest.approx([*apart, 0])


def test_a_replay_with_another_strategy() -> None:
    """Plain weights in the place of examples: another model, and no more than a little away."""
    (made,) = replay(*RUN, round=1, strategy=StrategyChoice(params={"weigh": "equal"}))
    assert not made.same and 0 < made.largest < 0.1 and made.l2 >= made.largest


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"round": 7}, "has no round 7"),
        ({"without": ["nobody"]}, "--without nobody"),
        ({"strategy": StrategyChoice(name="magic")}, "strategy.name 'magic'"),
    ],
)
def test_a_replay_of_nothing_is_refused(asked: dict[str, Any], sentence: str) -> None:
    """With a sentence that names what is wrong."""
    with pytest.raises(ConfigError, match=sentence):
        list(replay(*RUN, **asked))


def test_params_are_json_or_text() -> None:
    """`k=v` as the command takes them."""
    assert parse_params(["a=1", "b=plain", "c=0.5"]) == {"a": 1, "b": "plain", "c": 0.5}
    with pytest.raises(ConfigError, match="name=value"):
        parse_params(["x"])


def test_recall_follows_the_descent() -> None:
    """A client's update of round 2 is in version 2 and all after it; after a rollback to 1 in none that is current."""
    log, federation = finished_run(rounds=3)
    found = recall(log, federation, client="c1", round=2)
    assert [(d.version, d.direct, d.current) for d in found] == [(2, True, True), (3, False, True)]
    again = recall(log, federation, update=found[0].updates[0][1])
    assert [d.version for d in again] == [2, 3]
    command(log, federation, "rollback", version=1)
    aggregate(log, federation, clients_of(log, federation, 2, incarnation="2"))
    after = recall(log, federation, update=found[0].updates[0][1])
    assert [(d.version, d.current) for d in after] == [(2, False), (3, False)]
    assert [d.version for d in recall(log, federation, client="c1", round=1)] == [1, 2, 3, 4, 5]
    nowhere: list[dict[str, Any]] = [{"client": "nobody"}, {"update": "f" * 64}, {}, {"client": "c1", "update": "f"}]
    for nothing in nowhere:
        with pytest.raises(ConfigError):
            recall(log, federation, **nothing)
