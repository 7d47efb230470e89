"""A payload in chunks, and the manifest that names them: every limit is checked before memory is taken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mainstem.errors import RefusedError
from mainstem.protocol.messages import ChunkRun, Payload, Reason, TensorSpec
from mainstem.protocol.weights import DTYPES, Buffer, Hasher, cut, payload_bytes

CHUNK_BYTES = 1 << 20
"""Chunk size: the fastest on a loopback broker (see docs/decisions), far below the record limit."""

SMALLEST_CHUNK = 4096
"""Chunks smaller than this on average are refused: reading them would cost more than they carry."""

FEW = 16
"""So many may be smaller."""

KIND, WRITER, UPDATE, INDEX = "kind", "writer", "update", "index"
"""Header names of a chunk record; the values are ASCII text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader is willing to allocate."""

    nbytes: int = 8 << 30
    tensors: int = 100_000
    dimensions: int = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a payload."""

    index: int
    data: memoryview

    def headers(self, writer: str, update: str) -> list[tuple[str, bytes]]:
        """The headers of its record."""
        fields = {KIND: "chunk", WRITER: writer, UPDATE: update, INDEX: str(self.index)}
        return [(name, value.encode()) for name, value in fields.items()]


def is_chunk(headers: Mapping[str, bytes]) -> bool:
    """Whether a record is a chunk, by its headers."""
    return headers.get(KIND) == b"chunk"


def chunks(payload: Iterable[Buffer], chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """A payload in chunks: of one size, but for the last. Without any bytes there is none."""
    return (Chunk(index, data) for index, data in enumerate(cut(payload, chunk_bytes)))


def runs_of(positions: Iterable[tuple[int, int]]) -> tuple[ChunkRun, ...]:
    """(partition, offset) of consecutive chunks, as runs."""
    runs: list[ChunkRun] = []
    for partition, offset in positions:
        if runs and runs[-1].partition == partition and runs[-1].first + runs[-1].count == offset:
            runs[-1] = ChunkRun(partition, runs[-1].first, runs[-1].count + 1)
        else:
            runs.append(ChunkRun(partition, offset, 1))
    return tuple(runs)


def check_manifest(
    weights: Payload, specs: Sequence[TensorSpec], limits: Limits, before: int | None = None, packed: bool = False
) -> None:
    """Judge the manifest of tensors of these specs by itself; raises RefusedError. Nothing is allocated in proportion
    to its claims.

    `before` is the manifest's own offset, which chunks of partition 0 precede. `packed`: the payload stands beside it,
    so it names no chunks.
    """
    if weights.nbytes < 0 or weights.nbytes > limits.nbytes:
        raise RefusedError(
            Reason.TOO_LARGE, f"the manifest claims {weights.nbytes:,} bytes; the limit is {limits.nbytes:,}"
        )
    if len(specs) > limits.tensors:
        raise RefusedError(Reason.TOO_LARGE, f"there are {len(specs)} tensors; {limits.tensors} are allowed")
    for spec in specs:
        if spec.dtype not in DTYPES:
            raise RefusedError(Reason.SHAPE, f"tensor {spec.name[:80]!r} has the unknown dtype {spec.dtype[:40]!r}")
        if not _sensible(spec.shape, limits):
            raise RefusedError(Reason.SHAPE, f"tensor {spec.name[:80]!r} has no valid shape")
    total = payload_bytes(specs)
    if total != weights.nbytes:
        raise RefusedError(
            Reason.SHAPE, f"the run's {len(specs)} tensors take {total:,} bytes, the manifest says {weights.nbytes:,}"
        )
    count = 0
    for run in weights.chunks:
        if run.partition < 0 or run.first < 0 or run.count < 1:
            raise RefusedError(Reason.MISSING_CHUNKS, "the manifest names chunks at impossible offsets")
        if before is not None and run.partition == 0 and run.first + run.count > before:
            raise RefusedError(Reason.MISSING_CHUNKS, "the manifest names chunks that come after it")
        count += run.count
    if not packed and not min(1, total) <= count <= FEW + total // SMALLEST_CHUNK:
        raise RefusedError(Reason.MISSING_CHUNKS, f"the manifest names {count} chunks for {total:,} bytes")


def _sensible(shape: tuple[int, ...], limits: Limits) -> bool:
    # an empty tensor's other dimensions count too: NumPy refuses what their product cannot address
    if len(shape) > limits.dimensions or min(shape, default=0) < 0:
        return False
    return math.prod(max(n, 1) for n in shape) <= max(limits.nbytes, 1)


class Place(NamedTuple):
    """Where a chunk belongs: it is the chunk of that number, whose bytes begin at `start` of the payload."""

    chunk: int
    start: int


class Checker:
    """Judges the chunk records of one manifest, given in order: their places, the hash of all.

    Construct it only with a manifest that `check_manifest` has passed. It keeps no bytes.
    """

    def __init__(self, weights: Payload, specs: Sequence[TensorSpec]) -> None:
        self._weights = weights
        self._mine = (weights.writer.encode(), weights.update.encode())
        self._hasher = Hasher(specs)
        self._next = Place(0, 0)

    def add(self, headers: Mapping[str, bytes], data: Buffer) -> Place:
        """Take the next chunk; raises RefusedError where it is not the one that must come."""
        index, start = place = self._next
        if start >= self._weights.nbytes:
            raise RefusedError(Reason.CHECKSUM, "there are more chunks than the tensors have room for")
        if not is_chunk(headers) or (headers.get(WRITER), headers.get(UPDATE)) != self._mine:
            raise RefusedError(Reason.MISSING_CHUNKS, "a named offset holds something else than this update's chunk")
        if headers.get(INDEX) != b"%d" % index:
            raise RefusedError(Reason.MISSING_CHUNKS, f"chunk {index} is out of order")
        end = start + len(data)
        if end > self._weights.nbytes or not data:
            raise RefusedError(Reason.CHECKSUM, f"with chunk {index} the chunks do not add up to the tensors' size")
        self._hasher.add(data)
        self._next = Place(index + 1, end)
        return place

    def finish(self) -> None:
        """Raises RefusedError where chunks are missing or the hash differs."""
        if self._next.start < self._weights.nbytes:
            raise RefusedError(Reason.MISSING_CHUNKS, f"the chunks from {self._next.chunk} on are not all there")
        if self._hasher.finish() != self._weights.sha256:
            raise RefusedError(Reason.CHECKSUM, UNLIKE)


UNLIKE = "the tensors do not hash to the manifest's sha256: other bytes, or tensors of another model"


class Assembler:
    """Builds the payload of one manifest from its chunk records, given in order.

    Construct it only with a manifest that `check_manifest` has passed: it allocates `nbytes`.
    """

    def __init__(self, weights: Payload, specs: Sequence[TensorSpec]) -> None:
        self._checker = Checker(weights, specs)
        self._payload = np.empty(weights.nbytes, np.uint8).data

    def add(self, headers: Mapping[str, bytes], value: bytes | None) -> None:
        """Take the next chunk; raises RefusedError where it is not the one that must come."""
        data = value or b""
        start = self._checker.add(headers, data).start
        self._payload[start : start + len(data)] = data

    def payload(self) -> memoryview:
        """All of it; raises RefusedError where some is missing or the hash differs."""
        self._checker.finish()
        return self._payload
