"""The control topic: pages, hashes, and anything that anyone may write there."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.protocol.control import ControlReader, ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Lifecycle, Opened, Page, Paged, PageRef, Unknown, decode_control, encode, sha256
from mainstem.protocol.topics import CONTROL_RECORD_LIMIT, federation_topics
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import Topic, opened, round_after
from tests.vectors.examples import FEDERATION, sequence


@pytest.fixture
def log() -> MemoryLog:
    """The topics of the example federation."""
    log = MemoryLog(SystemClock())
    log.create_topics(federation_topics(FEDERATION))
    return log


def long_opened(size: int, text: str = "x") -> Opened:
    """An `opened` record whose architecture has `size` characters."""
    return msgspec.structs.replace(opened(), architecture=(text * (size // len(text) + 1))[:size])


@pytest.mark.parametrize("text", ["x", '"\\\n', "é", "\U0001f4a7", "\0"])
def test_long_records_are_paged_and_come_back(log: MemoryLog, text: str) -> None:
    """A record above the limit is cut into pages, each a record below 1 MB, and is read as it was written."""
    record = long_opened(1_000_000, text)
    topic = ControlTopic(log, FEDERATION)
    offset = topic.append(record)
    assert offset >= 2
    entries = topic.sync()
    assert entries[-1].record == record and entries[-1].link is not None and entries[-1].offset == offset
    assert topic.head is not None and topic.head.opened == record
    values = [r.value or b"" for r in log.read(topic.topic, 0, 0, offset + 1)]
    assert max(map(len, values)) < 1_000_000
    assert topic.head.link.hash == sha256(values[-1])
    following = round_after(topic.head)
    topic.append(following)
    assert topic.sync()[-1].link is not None
    topic.close()


def test_short_records_are_one_record(log: MemoryLog) -> None:
    """Nothing is paged that need not be."""
    topic = ControlTopic(log, FEDERATION)
    assert topic.append(opened()) == 0
    assert len(encode(long_opened(CONTROL_RECORD_LIMIT - 2000))) < CONTROL_RECORD_LIMIT
    assert topic.append(long_opened(CONTROL_RECORD_LIMIT - 2000)) == 1


def paged(record: Lifecycle, first: int, pieces: int = 3) -> tuple[list[bytes], Paged]:
    """Pages of a record whose first one will stand at offset `first`, and the record that names them."""
    text = encode(record).decode()
    size = -(-len(text) // pieces)
    pages = [encode(Page(data=text[i : i + size])) for i in range(0, len(text), size)]
    refs = tuple(PageRef(offset=first + i, sha256=sha256(p)) for i, p in enumerate(pages))
    return pages, Paged(
        federation=record.federation,
        seq=record.seq,
        prev=record.prev,
        kind="opened",
        pages=refs,
        sha256=sha256(text.encode()),
    )


def problem_of(values: list[bytes]) -> str | None:
    """What the reader says of the last record; None where it took its place in the chain."""
    reader = ControlReader(FEDERATION)
    entries = [reader.feed(i, 0, value) for i, value in enumerate(values)]
    assert (entries[-1].link is None) == (reader.chain.head is None)
    return None if entries[-1].link else entries[-1].problem


def test_missing_foreign_and_altered_pages() -> None:
    """A record whose pages are missing, swapped, another writer's, or do not hash counts for nothing."""
    pages, record = paged(opened(), 0)
    assert problem_of([*pages, encode(record)]) is None
    assert "page" in (problem_of([*pages[:2], encode(Page(data="?")), encode(record)]) or "")
    assert "page" in (problem_of([pages[1], pages[0], pages[2], encode(record)]) or "")
    assert "page" in (problem_of([encode(record)]) or "")
    swapped = msgspec.structs.replace(record, pages=record.pages[::-1])
    assert "do not hash" in (problem_of([*pages, encode(swapped)]) or "")
    wrong = msgspec.structs.replace(record, sha256="0" * 64)
    assert "do not hash" in (problem_of([*pages, encode(wrong)]) or "")
    for changes in ({"seq": 3}, {"prev": "1" * 64}, {"federation": "zzzzzzzz"}):
        other = msgspec.structs.replace(record, **changes)
        assert "another record" in (problem_of([*pages, encode(other)]) or "")
    assert problem_of([*pages, encode(msgspec.structs.replace(record, pages=()))]) is not None


def test_pages_of_two_writers_in_between() -> None:
    """Pages of a rival, of a dead writer and of nobody do not disturb those that are named."""
    mine, record = paged(opened(), 0, 2)
    rival, other = paged(long_opened(5000), 0, 2)
    record = msgspec.structs.replace(
        record, pages=tuple(msgspec.structs.replace(ref, offset=o) for ref, o in zip(record.pages, (1, 3), strict=True))
    )
    other = msgspec.structs.replace(
        other, pages=tuple(msgspec.structs.replace(ref, offset=o) for ref, o in zip(other.pages, (0, 4), strict=True))
    )
    values = [rival[0], mine[0], encode(Page(data="lost")), mine[1], rival[1], encode(record)]
    assert problem_of(values) is None
    reader = ControlReader(FEDERATION)
    entries = [reader.feed(i, 0, v) for i, v in enumerate([*values, encode(other)])]
    assert entries[-2].record == opened() and entries[-1].link is None


def test_nested_pages_commit_nothing() -> None:
    """A page that holds another paged record is no way to a record."""
    _, inner = paged(opened(), 0)
    pages, outer = paged(inner, 0, 1)
    assert problem_of([*pages, encode(outer)]) is not None


@given(st.lists(st.binary(max_size=60) | st.sampled_from([encode(r) for r in sequence()]) | st.none(), max_size=12))
def test_arbitrary_records(values: list[bytes | None]) -> None:
    """Whatever stands in the topic, reading it never raises, and a valid first record still begins the chain."""
    reader = ControlReader(FEDERATION)
    for i, value in enumerate(values):
        entry = reader.feed(i, i, value)
        assert entry.record is not None or entry.problem
    started = reader.chain.head is not None
    assert reader.feed(len(values), 0, encode(opened())).link is None or not started
    assert reader.chain.head is not None


@settings(max_examples=40)
@given(st.data())
def test_mutated_lifecycle_records(data: st.DataObject) -> None:
    """A lifecycle record with a field changed is another record, or none: the chain's hash tells it apart."""
    topic = Topic()
    topic.append(opened(rounds=9))
    head = topic.head()
    body = json.loads(encode(round_after(head)))
    field = data.draw(st.sampled_from(["seq", "prev", "federation", "schema", "type"]))
    body[field] = data.draw(st.integers(2, 9) | st.text(max_size=3) | st.none())
    topic.append(json.dumps(body).encode())
    assert topic.head() == head


def test_a_record_of_an_unknown_type_is_no_problem_and_one_of_the_chain_is() -> None:
    """What a later version adds beside the chain is passed over; what claims a place in it is told of."""
    reader = ControlReader(FEDERATION)
    reader.feed(0, 0, encode(opened()))
    head = reader.chain.head
    said = {"schema": 1, "type": "praise", "federation": FEDERATION}
    entry = reader.feed(1, 0, json.dumps(said).encode())
    assert isinstance(entry.record, Unknown) and entry.problem is None and entry.link is None
    assert head is not None
    entry = reader.feed(2, 0, json.dumps(said | {"seq": 1, "prev": head.link.hash}).encode())
    assert entry.record is None and "praise" in (entry.problem or "")
    assert reader.chain.head is head


def test_a_record_at_a_foreign_topic_does_not_count() -> None:
    """Another federation's valid record changes nothing."""
    reader = ControlReader("zzzzzzzz")
    entry = reader.feed(0, 0, encode(opened()))
    assert entry.link is None and reader.chain.head is None


def test_appended_bytes_are_what_readers_hash(log: MemoryLog) -> None:
    """A record written by another JSON library is followed by the hash of its own bytes, not of ours."""
    topic = ControlTopic(log, FEDERATION)
    value = json.dumps(json.loads(encode(opened())), indent=1, sort_keys=True).encode()
    log.append(topic.topic, [Outgoing(value)])
    topic.sync()
    assert topic.head is not None and topic.head.link.hash == sha256(value)
    assert decode_control(value) == opened()
