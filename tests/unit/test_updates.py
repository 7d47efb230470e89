"""Sets of tensors over the in-memory log: what is published is read back, whatever stands beside it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.client.voice import UpdateClaim, Voice
from mainstem.errors import LogError, MainstemError, RefusedError, UnreadableError
from mainstem.protocol import updates
from mainstem.protocol.chunks import Limits, chunks, runs_of
from mainstem.protocol.exchange import Exchange, exchange_of, is_packed
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Base, ChunkRun, Reason, TensorSpec, Update, Weights
from mainstem.protocol.packing import PACKED_BYTES
from mainstem.protocol.topics import TopicSpec, aggregator_topic, federation_topics
from mainstem.protocol.weights import Tensor, payload_of, specs_of
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.sent import said

TOPIC = "t"


def fresh(partitions: int = 2) -> MemoryLog:
    """A log with one topic."""
    log = MemoryLog(SystemClock())
    log.create_topics([TopicSpec(TOPIC, partitions, {})])
    return log


def named(tensors: list[Tensor]) -> tuple[TensorSpec, ...]:
    """Their specs."""
    return specs_of((f"t{i}", t) for i, t in enumerate(tensors))


def put(
    log: MemoryLog, tensors: list[Tensor], writer: str = "w", partition: int = 0, chunk_bytes: int = 8192
) -> Weights:
    """Publish unnamed tensors."""
    specs = named(tensors)
    return updates.publish(
        log,
        TOPIC,
        writer=writer,
        update="u",
        specs=specs,
        tensors=tensors,
        partition=partition,
        chunk_bytes=chunk_bytes,
    )


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(2, 4))
def test_interleaved_writers(random: object, writers: int) -> None:
    """Chunks of several writers in any interleaving, with other records between them, are told apart."""
    log = fresh()
    sets: list[list[Tensor]] = [[np.full(6000, w, np.float32), np.array(w)] for w in range(writers)]
    turns = [w for w in range(writers) for _ in range(3)]
    random.shuffle(turns)  # type: ignore[attr-defined]
    pending = [list(chunks(payload_of(s), 8192)) for s in sets]
    offsets: list[list[tuple[int, int]]] = [[] for _ in sets]
    for w in turns:
        chunk = pending[w].pop(0)
        offsets[w].append((0, log.append(TOPIC, [Outgoing(chunk.data, headers=chunk.headers(f"w{w}", "u"))])[0]))
        log.append(TOPIC, [Outgoing(b"{}")])
    for w, tensors in enumerate(sets):
        said = msgspec.structs.replace(put(fresh(), tensors, f"w{w}"), chunks=runs_of(offsets[w]))
        back = updates.read(log, TOPIC, said, named(tensors))
        assert all((a == b).all() for a, b in zip(back, tensors, strict=True))
        other = msgspec.structs.replace(said, chunks=runs_of(offsets[(w + 1) % writers]))
        with pytest.raises(RefusedError, match="something else"):
            updates.read(log, TOPIC, other, named(tensors))


offsets = st.integers(0, 40) | st.sampled_from([2**31, 2**60, 2**61])


@given(st.lists(st.builds(ChunkRun, st.integers(0, 4), offsets, st.integers(1, 30) | st.just(2**60)), max_size=5))
def test_arbitrary_runs(runs: list[ChunkRun]) -> None:
    """Runs that name anything but the update's chunks are refused at once."""
    log = fresh()
    tensors: list[Tensor] = [np.arange(6000, dtype=np.float32)]
    said = msgspec.structs.replace(put(log, tensors), chunks=tuple(runs))
    positions = [(r.partition, r.first + i) for r in runs for i in range(min(r.count, 10))]
    if positions == [(0, 0), (0, 1), (0, 2)]:
        updates.read(log, TOPIC, said, named(tensors))
        return
    with pytest.raises(MainstemError) as refused:
        updates.read(log, TOPIC, said, named(tensors))
    assert isinstance(refused.value, RefusedError)


def test_pruned_chunks_are_unreadable() -> None:
    """What was deleted is an error of the log, not a wrong answer."""
    log = fresh()
    put(log, [np.zeros(3)])
    weights = put(log, [np.zeros(6000)])
    log.delete_records(TOPIC, 0, weights.chunks[0].first + 1)
    with pytest.raises(UnreadableError):
        updates.read(log, TOPIC, weights, named([np.zeros(6000)]))


def test_limits_come_before_reading() -> None:
    """A manifest above the limit is refused though all its chunks are there."""
    log = fresh()
    weights = put(log, [np.zeros(6000)])
    with pytest.raises(RefusedError) as refused:
        updates.read(log, TOPIC, weights, named([np.zeros(6000)]), limits=Limits(nbytes=47_999))
    assert refused.value.reason == Reason.TOO_LARGE


def sent_by(packed: int, log: MemoryLog) -> tuple[int, Update, Exchange, list[Tensor]]:
    """An update of two tensors, in one record or in chunks: its offset, its manifest, what is exchanged."""
    tensors: list[Tensor] = [np.arange(6000.0), np.array(1.5)]
    log.create_topics(federation_topics("abcdefgh"))
    specs = exchange_of(named(tensors))
    Voice(log, "abcdefgh", "c", "1", packed=packed).update(Base(seq=0, version=0), 0, specs, tensors, UpdateClaim(1))
    ((record, update),) = said(log, "abcdefgh")
    assert isinstance(update, Update)
    return record.offset, update, specs, tensors


@pytest.mark.parametrize("packed", [0, PACKED_BYTES])
def test_records_that_were_seen_are_not_fetched(packed: int) -> None:
    """Records at hand are used, and give the same tensors; none of the topic need be there any more."""
    log = MemoryLog(SystemClock())
    offset, update, specs, tensors = sent_by(packed, log)
    topic = aggregator_topic("abcdefgh")
    end = log.bounds(topic, 0)[1]
    seen = {(0, r.offset): r for r in log.read(topic, 0, 0, end)}
    log.delete_records(topic, 0, end)
    payload = b"".join(updates.read_update(log, topic, offset, update, specs, seen))
    assert payload == b"".join(tensor.tobytes() for tensor in tensors)
    assert is_packed(update) == (end == 1) == bool(packed)
    with pytest.raises(UnreadableError):
        updates.read_update(log, topic, offset, update, specs, {})


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.integers(1, 50))
def test_a_clients_chunks_stay_in_one_partition(client: str, partitions: int) -> None:
    """Beside partition 0 where there is room, and always the same one."""
    place = updates.chunk_partition(client, partitions)
    assert place == updates.chunk_partition(client, partitions)
    assert place == 0 if partitions == 1 else 1 <= place < partitions


def test_missing_topic() -> None:
    """A topic that does not exist is an error of the log."""
    with pytest.raises(LogError):
        updates.read(fresh(), "other", put(fresh(), [np.zeros(1)]), named([np.zeros(1)]))
