"""Whole sets of tensors in the log: publish them as chunks or beside their manifest, and read them back by it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from mainstem.errors import OLDER, RefusedError, UnreadableError
from mainstem.protocol.chunks import CHUNK_BYTES, Assembler, Checker, Limits, check_manifest, chunks, runs_of
from mainstem.protocol.exchange import Exchange, is_packed, parts_of
from mainstem.protocol.log import MessageLog, Outgoing, Record, Source
from mainstem.protocol.messages import ChunkRun, Payload, Reason, TensorSpec, Update, Weights
from mainstem.protocol.packing import check_payload, has_payload
from mainstem.protocol.weights import Buffer, Hasher, Tensor, check_specs, digest, payload_bytes, payload_of, tensors_in

GAP = 64
"""Records of others between two runs of chunks that are read over rather than sought past."""


def chunk_partition(client: str, partitions: int) -> int:
    """Where a client's chunks go: beside partition 0, which holds what decides, where there is room."""
    return 0 if partitions == 1 else 1 + zlib.crc32(client.encode()) % (partitions - 1)


def publish(
    log: MessageLog,
    topic: str,
    *,
    writer: str,
    update: str,
    specs: Sequence[TensorSpec],
    tensors: Sequence[Tensor],
    partition: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Weights:
    """Append the chunks of `tensors`, wait for their acknowledgement, return their manifest.

    Raises RefusedError where the tensors are not what the specs say, LogError.
    """
    check_specs(specs, tensors)
    return publish_payload(
        log,
        topic,
        writer=writer,
        update=update,
        specs=specs,
        payload=payload_of(tensors),
        partition=partition,
        chunk_bytes=chunk_bytes,
    )


def publish_payload(
    log: MessageLog,
    topic: str,
    *,
    writer: str,
    update: str,
    specs: Sequence[TensorSpec],
    payload: Iterable[Buffer],
    partition: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Weights:
    """As `publish`, of a payload that need not be in memory as a whole: it is taken as fast as it is sent.

    Raises RefusedError where it is not as long as the specs say, LogError.
    """
    hasher, due = Hasher(specs), payload_bytes(specs)

    def records() -> Iterator[Outgoing]:
        left = due
        for chunk in chunks(payload, chunk_bytes):
            left -= chunk.data.nbytes
            if left < 0:
                break
            yield Outgoing(chunk.data, headers=chunk.headers(writer, update), partition=partition)
            hasher.add(chunk.data)  # while the chunk is on its way, and still in the processor's cache
        if left:
            raise RefusedError(Reason.SHAPE, f"the payload is not the {due:,} bytes that its {len(specs)} tensors take")

    offsets = log.append(topic, records())
    return Weights(
        writer=writer,
        update=update,
        chunks=runs_of((partition, offset) for offset in offsets),
        nbytes=due,
        sha256=hasher.finish(),
    )


def unsent(*, writer: str, update: str, specs: Sequence[TensorSpec], tensors: Sequence[Tensor]) -> Weights:
    """The manifest of tensors whose payload is to stand beside it; raises RefusedError as `publish` does."""
    check_specs(specs, tensors)
    return Weights(writer=writer, update=update, nbytes=payload_bytes(specs), sha256=digest(specs, tensors))


class Stored(Protocol):
    """A chunk record, or as much of it as was kept."""

    @property
    def offset(self) -> int:
        """In its partition."""
        ...

    @property
    def headers(self) -> Mapping[str, bytes]:
        """As they were written."""
        ...


S = TypeVar("S", bound=Stored)


def read(
    log: Source,
    topic: str,
    weights: Payload,
    specs: Sequence[TensorSpec],
    *,
    limits: Limits | None = None,
    written: bool = False,
) -> list[Tensor]:
    """The tensors of these specs that a manifest names.

    `written` says that the manifest is the chain's, whose chunks were acknowledged before it: then nobody asks where
    the topic ends, and records that are something else by now are gone. Raises RefusedError where the records are not
    what the manifest says, UnreadableError where they are gone, LogError.
    """
    check_manifest(weights, specs, limits or Limits())
    try:
        payload = _assembled(log, topic, weights, specs, {}, written)
    except RefusedError as refusal:
        if not written:
            raise
        raise UnreadableError(f"{topic} does not hold what was published there ({refusal}): {OLDER}") from refusal
    return tensors_in(specs, payload)


def stream(log: Source, topic: str, weights: Payload, specs: Sequence[TensorSpec]) -> Iterator[Buffer]:
    """The payload that a manifest names, piece by piece; only after the last one is it known to be what that says.

    Raises as `read` does.
    """
    check_manifest(weights, specs, Limits())
    checker = Checker(weights, specs)
    for record in records(log, topic, weights.chunks, {}):
        value = record.value or b""
        checker.add(record.headers, value)
        yield value
    checker.finish()


def read_update(
    log: Source, topic: str, offset: int, update: Update, exchange: Exchange, seen: Mapping[tuple[int, int], Record]
) -> list[Buffer]:
    """The payloads of the update whose record stands at `offset` and has passed `exchange.check_update`: all in one
    where it is packed, else one a group.

    `seen` holds records by (partition, offset) that need not be fetched again. Raises as `read` does.
    """
    if not is_packed(update):
        return [_assembled(log, topic, weights, specs, seen) for weights, specs in parts_of(update, exchange)]
    value = packed_record(log, topic, offset, seen).value or b""
    check_payload(update, exchange, value)
    return [value]


def tensors_of(exchange: Exchange, payloads: Sequence[Buffer]) -> dict[int, Tensor]:
    """The tensors of an update's payloads, as `read_update` gives them, by their numbers."""
    specs = [tuple(exchange.update.values())] if len(payloads) == 1 else exchange.payloads
    each = zip(specs, payloads, strict=True)
    return dict(zip(exchange.update, (tensor for part in each for tensor in tensors_in(*part)), strict=True))


def packed_record(log: Source, topic: str, offset: int, seen: Mapping[tuple[int, int], S]) -> Record | S:
    """The record of the packed update at `offset`; raises as `records` does."""
    (record,) = records(log, topic, [ChunkRun(0, offset, 1)], seen, written=True)
    if not has_payload(record.headers):
        raise RefusedError(Reason.MISSING_CHUNKS, f"offset {offset} holds no update with its payload")
    return record


def _assembled(
    log: Source,
    topic: str,
    weights: Payload,
    specs: Sequence[TensorSpec],
    seen: Mapping[tuple[int, int], Record],
    written: bool = False,
) -> memoryview:
    assembler = Assembler(weights, specs)
    for record in records(log, topic, weights.chunks, seen, written):
        assembler.add(record.headers, record.value)
    return assembler.payload()


def records(
    log: Source, topic: str, runs: Sequence[ChunkRun], seen: Mapping[tuple[int, int], S], written: bool = False
) -> Iterator[Record | S]:
    """The records of these runs, in the manifest's order: out of `seen`, else from the log, which is asked only then.

    Raises RefusedError where there is none at an offset, and as `read` does.
    """
    partitions = log.partitions(topic, 1 + max((run.partition for run in runs), default=0))
    for run in runs:
        if run.partition >= partitions:
            raise RefusedError(Reason.MISSING_CHUNKS, f"the manifest names partition {run.partition} of {partitions}")
    for span in _spans(runs):
        yield from _records(log, topic, span, seen, written)


_Span = list[ChunkRun]


def _spans(runs: Sequence[ChunkRun]) -> list[_Span]:
    """Runs grouped so that one sequential read serves those that lie close together."""
    spans: list[_Span] = []
    for run in runs:
        last = spans[-1][-1] if spans else None
        if last and last.partition == run.partition and 0 <= run.first - (last.first + last.count) <= GAP:
            spans[-1].append(run)
        else:
            spans.append([run])
    return spans


def _records(
    log: Source, topic: str, span: _Span, seen: Mapping[tuple[int, int], S], written: bool
) -> Iterator[Record | S]:
    """The span's records in order, each fetched only when it is asked for."""
    partition = span[0].partition
    wanted = [offset for run in span for offset in range(run.first, run.first + run.count)]
    missing = [offset for offset in wanted if (partition, offset) not in seen]
    fetched: Iterator[Record] = iter(())
    if missing:
        if not written and missing[-1] >= log.bounds(topic, partition)[1]:
            raise RefusedError(Reason.MISSING_CHUNKS, f"offset {missing[-1]} is not written yet")
        fetched = log.read(topic, partition, missing[0], missing[-1] + 1)
    for offset in wanted:
        record: Record | S | None = seen.get((partition, offset))
        while record is None or record.offset < offset:
            record = next(fetched, None)
            if record is None or record.offset > offset:
                raise RefusedError(Reason.MISSING_CHUNKS, f"there is no record at offset {offset}")
        yield record
    next(fetched, None)  # lets the reader be kept where it stands
