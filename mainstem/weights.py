"""Tensors to checksummed chunks and back, with every limit checked before memory is taken."""

from __future__ import annotations

import hashlib
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import RefusedError
from mainstem.messages import ChunkRun, Reason, TensorSpec, Weights

Tensor = NDArray[Any]

CHUNK_BYTES = 1 << 20
"""Chunk size: the fastest on a loopback broker (see docs/decisions), far below the record limit."""

SMALLEST_CHUNK = 4096
"""Chunks smaller than this on average are refused: reading them would cost more than they carry."""

DTYPES = frozenset(
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
"""Tensors' element types, by NumPy's names; always little-endian on the wire."""

LARGEST_FLOAT64 = 1e290
"""Beyond it a weighted sum of finite numbers may overflow, so such updates are refused."""

KIND, WRITER, UPDATE, TENSOR, INDEX, CRC = "kind", "writer", "update", "tensor", "index", "crc32"
"""Header names of a chunk record; the values are ASCII text, `crc32` in hexadecimal."""

_CHECKSUM = re.compile(rb"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader is willing to allocate."""

    nbytes: int = 8 << 30
    tensors: int = 100_000
    dimensions: int = 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one tensor's bytes."""

    tensor: int
    index: int
    data: memoryview

    def headers(self, writer: str, update: str) -> list[tuple[str, bytes]]:
        """The headers of its record."""
        fields = {
            KIND: "chunk",
            WRITER: writer,
            UPDATE: update,
            TENSOR: str(self.tensor),
            INDEX: str(self.index),
            CRC: f"{zlib.crc32(self.data):08x}",
        }
        return [(name, value.encode()) for name, value in fields.items()]


def is_chunk(headers: Mapping[str, bytes]) -> bool:
    """Whether a record is a chunk, by its headers."""
    return headers.get(KIND) == b"chunk"


def wire(array: Tensor) -> Tensor:
    """`array` as contiguous little-endian memory (no copy where it already is)."""
    contiguous = np.asarray(array, order="C")
    if contiguous.dtype.byteorder == ">" or (contiguous.dtype.byteorder == "=" and sys.byteorder == "big"):
        return contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return contiguous


def specs_of(named: Iterable[tuple[str, Tensor]]) -> tuple[TensorSpec, ...]:
    """The specs of named arrays, in order; raises RefusedError for a dtype that is not in DTYPES."""
    specs = []
    for name, array in named:
        if array.dtype.name not in DTYPES:
            raise RefusedError(Reason.SHAPE, f"tensor {name!r} has dtype {array.dtype}, which has no place on the wire")
        specs.append(TensorSpec(name=name, dtype=array.dtype.name, shape=tuple(array.shape)))
    return tuple(specs)


def size_of(spec: TensorSpec) -> int:
    """Bytes of a tensor, from its spec alone."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


class Hasher:
    """sha256 (hex) over the ordered tensors, piece by piece: name, dtype, shape, bytes, each length-delimited."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs, self._state, self._next = specs, hashlib.sha256(), 0

    def add(self, tensor: int, data: memoryview | bytes) -> None:
        """The next piece of a tensor's bytes; every tensor has at least one piece, if an empty one."""
        if tensor == self._next:
            spec = self._specs[tensor]
            head = f"{spec.name}\0{spec.dtype}\0{','.join(map(str, spec.shape))}".encode()
            self._state.update(b"%d:%b%d:" % (len(head), head, size_of(spec)))
            self._next += 1
        self._state.update(data)

    def finish(self) -> str:
        """The hash, after the last tensor's last piece."""
        return self._state.hexdigest()


def digest(specs: Sequence[TensorSpec], tensors: Sequence[Tensor]) -> str:
    """The hash of whole tensors, as `Hasher` makes it."""
    hasher = Hasher(specs)
    for number, (_, tensor) in enumerate(zip(specs, tensors, strict=True)):
        hasher.add(number, _bytes_of(wire(tensor)))
    return hasher.finish()


def chunks(tensors: Sequence[Tensor], chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Every tensor's bytes in order, at least one chunk a tensor (an empty one where it is empty)."""
    for number, tensor in enumerate(tensors):
        data = _bytes_of(wire(tensor))
        for index, start in enumerate(range(0, max(data.nbytes, 1), chunk_bytes)):
            yield Chunk(number, index, data[start : start + chunk_bytes])


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
    weights: Weights, limits: Limits, expected: Sequence[TensorSpec] | None = None, before: int | None = None
) -> None:
    """Judge a manifest by itself; raises RefusedError. Nothing is allocated in proportion to its claims.

    `expected` are the federation's specs; `before` the manifest's own offset, which chunks of partition 0 precede.
    """
    if weights.nbytes < 0 or weights.nbytes > limits.nbytes:
        raise RefusedError(
            Reason.TOO_LARGE, f"the manifest claims {weights.nbytes:,} bytes; the limit is {limits.nbytes:,}"
        )
    if not 0 < len(weights.tensors) <= limits.tensors:
        raise RefusedError(
            Reason.TOO_LARGE, f"the manifest has {len(weights.tensors)} tensors; 1 to {limits.tensors} are allowed"
        )
    if expected is not None and weights.tensors != tuple(expected):
        raise RefusedError(Reason.SHAPE, _difference(weights.tensors, expected))
    for spec in weights.tensors:
        if spec.dtype not in DTYPES:
            raise RefusedError(Reason.SHAPE, f"tensor {spec.name[:80]!r} has the unknown dtype {spec.dtype[:40]!r}")
        if not _sensible(spec.shape, limits):
            raise RefusedError(Reason.SHAPE, f"tensor {spec.name[:80]!r} has no valid shape")
    total = sum(size_of(spec) for spec in weights.tensors)
    if total != weights.nbytes:
        raise RefusedError(Reason.SHAPE, f"the tensors take {total:,} bytes, the manifest says {weights.nbytes:,}")
    count = 0
    for run in weights.chunks:
        if run.partition < 0 or run.first < 0 or run.count < 1:
            raise RefusedError(Reason.MISSING_CHUNKS, "the manifest names chunks at impossible offsets")
        if before is not None and run.partition == 0 and run.first + run.count > before:
            raise RefusedError(Reason.MISSING_CHUNKS, "the manifest names chunks that come after it")
        count += run.count
    if not len(weights.tensors) <= count <= 2 * len(weights.tensors) + weights.nbytes // SMALLEST_CHUNK:
        raise RefusedError(
            Reason.MISSING_CHUNKS, f"the manifest names {count} chunks for {len(weights.tensors)} tensors"
        )


class Assembler:
    """Builds the tensors of one manifest from its chunk records, given in order.

    Construct it only with a manifest that `check_manifest` has passed: it allocates `nbytes`. `thorough` compares the
    chunks' own checksums also where the hash of all tensors is right.
    """

    def __init__(self, weights: Weights, thorough: bool = False) -> None:
        self._weights, self._thorough = weights, thorough
        self._hasher = Hasher(weights.tensors)
        self._tensors = [np.empty(s.shape, dtype=np.dtype(s.dtype).newbyteorder("<")) for s in weights.tensors]
        self._tensor = 0
        self._index = 0
        self._filled = 0
        self._checksums: list[tuple[int, int, memoryview, bytes]] = []

    def add(self, headers: Mapping[str, bytes], value: bytes | None) -> None:
        """Take the next chunk; raises RefusedError where it is not the one that must come."""
        data = value if value is not None else b""
        if self._tensor >= len(self._tensors):
            raise self._refusal(Reason.CHECKSUM, "there are more chunks than the tensors have room for")
        mine = (self._weights.writer.encode(), self._weights.update.encode())
        if not is_chunk(headers) or (headers.get(WRITER), headers.get(UPDATE)) != mine:
            raise self._refusal(Reason.MISSING_CHUNKS, "a named offset holds something else than this update's chunk")
        place = (str(self._tensor).encode(), str(self._index).encode())
        if (headers.get(TENSOR), headers.get(INDEX)) != place:
            raise self._refusal(Reason.MISSING_CHUNKS, f"chunk {self._index} of tensor {self._tensor} is out of order")
        checksum = headers.get(CRC, b"")
        if not _CHECKSUM.fullmatch(checksum):
            raise self._refusal(Reason.CHECKSUM, f"chunk {self._index} of tensor {self._tensor} has no checksum")
        target = _bytes_of(self._tensors[self._tensor])
        end = self._filled + len(data)
        if end > target.nbytes or (not data and target.nbytes):
            raise self._refusal(Reason.CHECKSUM, f"the chunks of tensor {self._tensor} do not add up to its size")
        target[self._filled : end] = data
        self._checksums.append((self._tensor, self._index, target[self._filled : end], checksum))
        self._hasher.add(self._tensor, data)
        self._filled = end
        self._index += 1
        if end == target.nbytes:
            self._tensor, self._index, self._filled = self._tensor + 1, 0, 0

    def finish(self) -> list[Tensor]:
        """The tensors, in native byte order; raises RefusedError where some are missing or the hash differs."""
        if self._tensor < len(self._tensors):
            raise self._refusal(Reason.MISSING_CHUNKS, f"the chunks of tensor {self._tensor} are not all there")
        if self._hasher.finish() != self._weights.sha256:
            raise self._refusal(Reason.CHECKSUM, "the tensors do not hash to the manifest's sha256")
        if self._thorough and (wrong := self._wrong_chunk()):
            raise wrong
        return [tensor.astype(tensor.dtype.newbyteorder("="), copy=False) for tensor in self._tensors]

    def _refusal(self, reason: str, detail: str) -> RefusedError:
        """Why, and first of all which chunk's bytes are wrong: only now are checksums worth a pass over all of them."""
        return self._wrong_chunk() or RefusedError(reason, detail)

    def _wrong_chunk(self) -> RefusedError | None:
        for tensor, index, data, checksum in self._checksums:
            if checksum != f"{zlib.crc32(data):08x}".encode():
                return RefusedError(Reason.CHECKSUM, f"chunk {index} of tensor {tensor} has a wrong checksum")
        return None


def check_finite(specs: Sequence[TensorSpec], tensors: Sequence[Tensor]) -> None:
    """Refuse NaN, infinity and numbers that a weighted sum could overflow; raises RefusedError."""
    for spec, tensor in zip(specs, tensors, strict=True):
        if tensor.dtype.kind != "f" or not tensor.size:
            continue
        if not fits(spec.dtype, tensor):
            what = "NaN or infinity" if not np.isfinite(tensor).all() else f"numbers beyond {LARGEST_FLOAT64:g}"
            raise RefusedError(Reason.NOT_FINITE, f"tensor {spec.name!r} holds {what}")


def fits(dtype: str, tensor: Tensor) -> bool:
    """Whether floats, cast to `dtype`, are finite and small enough for a weighted sum; whatever is no float is."""
    if tensor.dtype.kind != "f" or not tensor.size:
        return True
    with np.errstate(over="ignore"):
        cast = tensor.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        return False
    return cast.dtype.itemsize < 8 or bool(np.abs(cast).max() <= LARGEST_FLOAT64)


def _sensible(shape: tuple[int, ...], limits: Limits) -> bool:
    # an empty tensor's other dimensions count too: NumPy refuses what their product cannot address
    if len(shape) > limits.dimensions or min(shape, default=0) < 0:
        return False
    return math.prod(max(n, 1) for n in shape) <= max(limits.nbytes, 1)


def _bytes_of(array: Tensor) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _difference(got: Sequence[TensorSpec], expected: Sequence[TensorSpec]) -> str:
    if len(got) != len(expected):
        return f"the update has {len(got)} tensors and the model {len(expected)}"
    for g, e in zip(got, expected, strict=True):
        if g != e:
            return (
                f"tensor {g.name[:80]!r} is {g.dtype[:40]}{list(g.shape)[:8]}, "
                f"the model has {e.name!r} as {e.dtype}{list(e.shape)}"
            )
    return "the tensors are the model's"
