"""An update in one record, and what updates carry: any tensors through it and back, and no lie about them counts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mainstem.client.voice import UpdateClaim, Voice
from mainstem.errors import DecodeError, RefusedError
from mainstem.lineage import examine, export, read_history, recall, replay, verify
from mainstem.protocol import updates
from mainstem.protocol.exchange import Exchange, check_update, exchange_of, is_packed, like_trained
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Base, ChunkRun, Group, Opened, Rules, Tick, Update, encode
from mainstem.protocol.packing import PACKED_BYTES, check_payload, decode, lean, pack, text_of
from mainstem.protocol.topics import aggregator_topic, federation_topics
from mainstem.protocol.weights import DTYPES, Tensor, cut, payload_bytes, payload_of, specs_of, tensors_in
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import head_tensors, open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, clients_of
from tests.support.sent import carried, said

FEDERATION = "packing1"
LIMIT = 1 << 20
arrays = hnp.arrays(
    st.sampled_from(sorted(DTYPES)).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)
models = st.lists(arrays, min_size=1, max_size=6) | st.builds(
    lambda count: [np.full((), n, np.float32) for n in range(count)], st.integers(100, 300)
)


def specs(tensors: Sequence[Tensor], groups: Sequence[Group] = (), frozen: Sequence[int] = ()) -> Exchange:
    """What is exchanged of a model of these tensors."""
    return exchange_of(specs_of((f"t{i}", t) for i, t in enumerate(tensors)), groups, frozen=frozen)


def sent(
    tensors: Sequence[Tensor], exchange: Exchange, packed: int, **groups: Sequence[Tensor]
) -> tuple[MemoryLog, Record, Update]:
    """An update as a client sends it: the log, its record, its manifest."""
    log = MemoryLog(SystemClock())
    log.create_topics(federation_topics(FEDERATION))
    carried = [tensors[number] for number in exchange.carried]
    voice = Voice(log, FEDERATION, "c", "1", packed=packed)
    voice.update(Base(seq=0, version=0), 0, exchange, carried, UpdateClaim(1), groups)
    ((record, update),) = said(log, FEDERATION)
    assert isinstance(update, Update)
    return log, record, update


@given(models, st.sampled_from([0, PACKED_BYTES]), st.data())
def test_any_tensors_go_there_and_back(tensors: list[Tensor], packed: int, data: st.DataObject) -> None:
    """Empty, 0-d, of every type, many tiny ones, some frozen, with a group: what is carried comes back to the bit."""
    frozen = data.draw(st.sets(st.integers(0, len(tensors) - 1)))
    model = specs(tensors, frozen=sorted(frozen))
    group = like_trained(model, "drift", "up")
    exchange = specs(tensors, [group], sorted(frozen))
    drift: list[Tensor] = [np.full(spec.shape, 7, spec.dtype) for spec in group.tensors]
    log, record, update = sent(tensors, exchange, packed, drift=drift)
    check_update(update, exchange, LIMIT, before=record.offset)
    payloads = updates.read_update(log, aggregator_topic(FEDERATION), record.offset, update, exchange, {})
    want = [tensors[number] for number in exchange.carried] + drift
    got = tensors_in(list(exchange.update.values()), b"".join(payloads))
    assert [(t.dtype, t.shape, t.tobytes()) for t in got] == [(t.dtype, t.shape, t.tobytes()) for t in want]
    assert all(tensors[number].dtype.kind == "f" and number not in frozen for number in exchange.carried)
    empty = not payload_bytes(exchange.update.values())
    assert is_packed(update) == (bool(packed) or empty) and (record.offset == 0 or not packed)


@given(st.lists(arrays, max_size=6), st.integers(1, 40))
def test_pieces_are_the_payload(tensors: list[Tensor], nbytes: int) -> None:
    """However it is cut, no piece is empty and all but the last are of the size that was asked for."""
    found = [bytes(piece) for piece in cut(payload_of(tensors), nbytes)]
    assert b"".join(found) == b"".join(tensor.tobytes() for tensor in tensors)
    assert all(len(piece) == nbytes for piece in found[:-1]) and all(found)


def test_a_piece_within_a_tensor_is_not_copied() -> None:
    """A large model is sent out of its own memory."""
    tensor = np.arange(1000, dtype=np.float32)
    assert all(np.shares_memory(np.frombuffer(piece, np.uint8), tensor) for piece in cut(payload_of([tensor]), 512))


@given(st.lists(st.sampled_from([0, 1, 3]), max_size=3), st.integers(0, 1000))
def test_another_payload_is_refused(sizes: list[int], at: int) -> None:
    """A byte more, less or other than what was sent is no update, whatever the manifest allows."""
    tensors: list[Tensor] = [np.full(size, 0.5, np.float32) for size in (2, *sizes)]
    exchange = specs(tensors)
    weights = updates.unsent(writer="c", update="u", specs=exchange.model, tensors=tensors)
    update = Update(
        client="c", incarnation="1", base=Base(seq=0, version=0), number=0, examples=1, weights=weights
    )  # fmt: skip
    value = b"".join(tensor.tobytes() for tensor in tensors)
    at %= len(value)
    for other in (value[:at], value + b"\0", value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]):
        with pytest.raises(RefusedError):
            check_payload(update, exchange, other)
    check_payload(update, exchange, value)


@given(
    st.dictionaries(
        st.sampled_from(["kind", "manifest", "writer", "index"]),
        st.sampled_from([b"update", b"chunk", b"", b"{}"]) | st.binary(max_size=8),
    ),
    st.none() | st.binary(max_size=40) | st.just(encode(Tick(writer="w"))),
)
def test_any_record_is_decoded_or_refused(headers: dict[str, bytes], value: bytes | None) -> None:
    """Arbitrary headers and bytes raise DecodeError and nothing else."""
    record = Record("a", 0, 0, 0, None, value, headers)
    with contextlib.suppress(DecodeError):
        assert not isinstance(decode(record), Update)


def test_a_manifest_claims_no_memory() -> None:
    """10 GB, fewer bytes than its tensors take, chunks beside a payload, none without one: all by the text alone."""
    tensors: list[Tensor] = [np.zeros(4, np.float32)]
    exchange = specs(tensors)
    _, record, update = sent(tensors, exchange, PACKED_BYTES)

    def lie(**changes: Any) -> Update:
        return msgspec.structs.replace(update, weights=msgspec.structs.replace(update.weights, **changes))

    for hostile, words in (
        (lie(nbytes=10 * 10**9), "claims 10,000,000,000 bytes; the limit is 1,048,576"),
        (lie(nbytes=12), "take 16 bytes, the manifest says 12"),
        (lie(chunks=(ChunkRun(0, 0, 1 << 50),)), "come after it"),
        (lie(chunks=(ChunkRun(1, 0, 1 << 50),)), "chunks for 16 bytes"),
        (lie(writer="another"), "not by c"),
        (msgspec.structs.replace(update, extra={"more": update.weights}), "carries the groups more"),
    ):
        with pytest.raises(RefusedError, match=words):
            check_update(hostile, exchange, LIMIT, before=9)
    with pytest.raises(DecodeError, match="one or the other"):
        decode(replace(record, headers=dict(pack(lie(chunks=(ChunkRun(0, 0, 1),)), b"").headers)))
    with pytest.raises(DecodeError, match="names no chunks"):
        decode(Record("a", 0, 0, 0, None, encode(update)))
    assert text_of(record) == encode(update) == text_of(lean(record)) and lean(record).value is None


def test_tensors_that_are_not_the_run_s_are_not_sent() -> None:
    """A client hears of it at once, with the tensor's name."""
    exchange = specs([np.zeros((2, 3), np.float32)])
    for packed in (0, PACKED_BYTES):
        with pytest.raises(RefusedError, match=r"tensor 't0' is float32\[3, 2\]; the run has it as float32\[2, 3\]"):
            sent([np.zeros((3, 2), np.float32)], exchange, packed)


# ---------------------------------------------------------------- a whole run
def frozen_run(packed: int) -> tuple[MemoryLog, str]:
    """A finished run whose second tensor is frozen, and its third an integer."""
    clock = Ticking()
    log = MemoryLog(clock)
    federation = open_federation(log, START, Rules(rounds=3, min_clients=2), federation=FEDERATION, frozen=(1,))
    aggregate(log, federation, clients_of(log, federation, 2, packed=packed), clock)
    return log, federation


@pytest.mark.parametrize("packed", [0, PACKED_BYTES])
def test_what_does_not_change_is_not_sent(packed: int, tmp_path: Any) -> None:
    """Frozen floats and integers keep version 0's values, travel in no update, and every proof knows it."""
    log, federation = frozen_run(packed)
    opened: Opened = read_history(log, federation).opened
    sizes = {len(carried(log, opened, r.offset, m)) for r, m in said(log, federation) if isinstance(m, Update)}
    assert sizes == {1} and {a.nbytes for r in rounds_of(log, federation) for a in r.accepted} == {START[0].nbytes}
    last = head_tensors(log, federation)
    assert not np.array_equal(last[0], START[0])
    assert all(np.array_equal(now, start) for now, start in zip(last[1:], START[1:], strict=True))
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * 4
    assert all(again.same for again in replay(log, federation))
    assert examine(log, federation, 2).measures[0].norm
    assert export(log, federation, tmp_path / "run").incomplete == ()
    assert [found.version for found in recall(log, federation, client="c1", round=1)] == [1, 2, 3]


def test_both_ways_make_the_same_versions() -> None:
    """Whether an update is one record or chunks changes no bit of any version."""
    shas = [[r.weights.sha256 for r in rounds_of(*frozen_run(packed))] for packed in (0, PACKED_BYTES)]
    assert shas[0] == shas[1]


def test_a_packed_update_costs_one_record() -> None:
    """Beside `joined` and `left`, three rounds of two clients are six records of theirs."""
    log, federation = frozen_run(PACKED_BYTES)
    sent_by = [m for _, m in said(log, federation) if getattr(m, "client", "") == "c0"]
    assert [type(m).__name__ for m in sent_by] == ["Joined", "Update", "Update", "Update", "Left"]
