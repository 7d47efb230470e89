"""Sets of tensors over the in-memory log: what is published is read back, whatever stands beside it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem import updates
from mainstem.clock import SystemClock
from mainstem.errors import LogError, MainstemError, RefusedError, UnreadableError
from mainstem.memory_log import MemoryLog
from mainstem.messages import ChunkRun, Reason, Weights
from mainstem.ports import Outgoing
from mainstem.topics import TopicSpec
from mainstem.weights import Limits, Tensor, chunks, digest, runs_of, specs_of

TOPIC = "t"


def fresh(partitions: int = 2) -> MemoryLog:
    """A log with one topic."""
    log = MemoryLog(SystemClock())
    log.create_topics([TopicSpec(TOPIC, partitions, {})])
    return log


def put(
    log: MemoryLog, tensors: list[Tensor], writer: str = "w", partition: int = 0, chunk_bytes: int = 8192
) -> Weights:
    """Publish unnamed tensors."""
    specs = specs_of((f"t{i}", t) for i, t in enumerate(tensors))
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
    specs = specs_of([("a", sets[0][0]), ("b", sets[0][1])])
    turns = [w for w in range(writers) for _ in range(4)]
    random.shuffle(turns)  # type: ignore[attr-defined]
    pending = [list(chunks(s, 8192)) for s in sets]
    offsets: list[list[tuple[int, int]]] = [[] for _ in sets]
    for w in turns:
        chunk = pending[w].pop(0)
        offsets[w].append((0, log.append(TOPIC, [Outgoing(chunk.data, headers=chunk.headers(f"w{w}", "u"))])[0]))
        log.append(TOPIC, [Outgoing(b"{}")])
    for w, tensors in enumerate(sets):
        honest = put(fresh(), tensors, f"w{w}")
        named = msgspec.structs.replace(honest, tensors=specs, chunks=runs_of(offsets[w]))
        named = msgspec.structs.replace(named, sha256=digest(specs, tensors))
        back = updates.read(log, TOPIC, named)
        assert all((a == b).all() for a, b in zip(back, tensors, strict=True))
        other = msgspec.structs.replace(named, chunks=runs_of(offsets[(w + 1) % writers]))
        with pytest.raises(RefusedError, match="something else"):
            updates.read(log, TOPIC, other)


offsets = st.integers(0, 40) | st.sampled_from([2**31, 2**60, 2**61])


@given(st.lists(st.builds(ChunkRun, st.integers(0, 4), offsets, st.integers(1, 30) | st.just(2**60)), max_size=5))
def test_arbitrary_runs(runs: list[ChunkRun]) -> None:
    """Runs that name anything but the update's chunks are refused at once."""
    log = fresh()
    weights = put(log, [np.arange(6000, dtype=np.float32)])
    named = msgspec.structs.replace(weights, chunks=tuple(runs))
    positions = [(r.partition, r.first + i) for r in runs for i in range(min(r.count, 10))]
    if positions == [(0, 0), (0, 1), (0, 2)]:
        updates.read(log, TOPIC, named)
        return
    with pytest.raises(MainstemError) as refused:
        updates.read(log, TOPIC, named)
    assert isinstance(refused.value, RefusedError)


def test_pruned_chunks_are_unreadable() -> None:
    """What was deleted is an error of the log, not a wrong answer."""
    log = fresh()
    put(log, [np.zeros(3)])
    weights = put(log, [np.zeros(6000)])
    log.delete_records(TOPIC, 0, weights.chunks[0].first + 1)
    with pytest.raises(UnreadableError):
        updates.read(log, TOPIC, weights)


def test_limits_come_before_reading() -> None:
    """A manifest above the limit is refused though all its chunks are there."""
    log = fresh()
    weights = put(log, [np.zeros(6000)])
    with pytest.raises(RefusedError) as refused:
        updates.read(log, TOPIC, weights, limits=Limits(nbytes=47_999))
    assert refused.value.reason == Reason.TOO_LARGE


def test_chunks_that_were_seen_are_not_fetched() -> None:
    """Records at hand are used, and give the same tensors; none of the topic need be there any more."""
    log = fresh()
    tensors: list[Tensor] = [np.arange(6000.0), np.array(1)]
    weights = put(log, tensors)
    seen = {(0, r.offset): r for r in log.read(TOPIC, 0, 0, log.bounds(TOPIC, 0)[1])}
    back = updates.read(log, TOPIC, weights, seen=seen)
    assert all((a == b).all() for a, b in zip(back, tensors, strict=True))
    log.delete_records(TOPIC, 0, 3)
    part = {key: record for key, record in seen.items() if key[1] < 3}
    assert (updates.read(log, TOPIC, weights, seen=part)[0] == tensors[0]).all()


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.integers(1, 50))
def test_a_clients_chunks_stay_in_one_partition(client: str, partitions: int) -> None:
    """Beside partition 0 where there is room, and always the same one."""
    place = updates.chunk_partition(client, partitions)
    assert place == updates.chunk_partition(client, partitions)
    assert place == 0 if partitions == 1 else 1 <= place < partitions


def test_missing_topic() -> None:
    """A topic that does not exist is an error of the log."""
    with pytest.raises(LogError):
        updates.read(fresh(), "other", put(fresh(), [np.zeros(1)]))
