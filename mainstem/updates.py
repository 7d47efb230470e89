"""Whole sets of tensors in the log: publish them as chunks, read them back by their manifest."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from mainstem.errors import RefusedError
from mainstem.messages import ChunkRun, Reason, TensorSpec, Weights
from mainstem.ports import MessageLog, Outgoing, Record, Source
from mainstem.weights import CHUNK_BYTES, Assembler, Hasher, Limits, Tensor, check_manifest, chunks, runs_of, size_of

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
    """Append the chunks of `tensors`, wait for their acknowledgement, return their manifest; raises LogError."""
    hasher = Hasher(specs)

    def records() -> Iterator[Outgoing]:
        for chunk in chunks(tensors, chunk_bytes):
            yield Outgoing(chunk.data, headers=chunk.headers(writer, update), partition=partition)
            hasher.add(chunk.tensor, chunk.data)  # while the chunk is on its way, and still in the processor's cache

    offsets = log.append(topic, records())
    return Weights(
        writer=writer,
        update=update,
        tensors=tuple(specs),
        chunks=runs_of((partition, offset) for offset in offsets),
        nbytes=sum(size_of(spec) for spec in specs),
        sha256=hasher.finish(),
    )


def read(
    log: Source,
    topic: str,
    weights: Weights,
    *,
    limits: Limits | None = None,
    expected: Sequence[TensorSpec] | None = None,
    seen: Mapping[tuple[int, int], Record] | None = None,
    written: bool = False,
    thorough: bool = False,
) -> list[Tensor]:
    """The tensors that a manifest names.

    `seen` holds chunk records by (partition, offset) that need not be fetched again. `written` says that the manifest
    is the chain's, whose chunks were acknowledged before it: then nobody asks where the topic ends.
    `thorough` also compares the chunks' checksums, which the sha256 makes superfluous for whoever only wants the
    tensors: who judges an update does, so that every proof finds what was judged. Raises RefusedError where the
    records are not what the manifest says, UnreadableError where they are gone, LogError.
    """
    check_manifest(weights, limits or Limits(), expected)
    partitions = log.partitions(topic, 1 + max((run.partition for run in weights.chunks), default=0))
    assembler = Assembler(weights, thorough)
    for run in weights.chunks:
        if run.partition >= partitions:
            raise RefusedError(Reason.MISSING_CHUNKS, f"the manifest names partition {run.partition} of {partitions}")
    for span in _spans(weights.chunks, seen or {}):
        for record in _records(log, topic, span, seen or {}, written):
            assembler.add(record.headers, record.value)
    return assembler.finish()


_Span = list[ChunkRun]


def _spans(runs: Sequence[ChunkRun], seen: Mapping[tuple[int, int], Record]) -> list[_Span]:
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
    log: Source, topic: str, span: _Span, seen: Mapping[tuple[int, int], Record], written: bool
) -> Iterator[Record]:
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
        record = seen.get((partition, offset))
        while record is None or record.offset < offset:
            record = next(fetched, None)
            if record is None or record.offset > offset:
                raise RefusedError(Reason.MISSING_CHUNKS, f"there is no record at offset {offset}")
        yield record
    next(fetched, None)  # lets the reader be kept where it stands
