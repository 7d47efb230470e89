"""Tensors to bytes and back: how they stand on the wire, what they hash to, which numbers are allowed.

A *payload* is the bytes of a whole group of tensors (of the model, or of a group beside it), one after the other,
little-endian, without padding.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import RefusedError
from mainstem.protocol.messages import Reason, TensorSpec

Tensor = NDArray[Any]

Buffer = bytes | bytearray | memoryview
"""Bytes, wherever they are."""

DTYPES = frozenset(
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
"""Tensors' element types, by NumPy's names; always little-endian on the wire."""

LARGEST_FLOAT64 = 1e290
"""Beyond it a weighted sum of finite numbers may overflow, so such updates are refused."""


def wire(array: Tensor) -> Tensor:
    """`array` as contiguous little-endian memory (no copy where it already is)."""
    contiguous = np.asarray(array, order="C")
    if contiguous.dtype.byteorder == ">" or (contiguous.dtype.byteorder == "=" and sys.byteorder == "big"):
        return contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return contiguous


def bytes_of(array: Tensor) -> memoryview:
    """A contiguous array's bytes, in C order."""
    return array.reshape(-1).view(np.uint8).data


def spec_of(name: str, array: Tensor) -> TensorSpec:
    """The spec of an array; raises RefusedError for a dtype that is not in DTYPES."""
    if array.dtype.name not in DTYPES:
        raise RefusedError(Reason.SHAPE, f"tensor {name!r} has dtype {array.dtype}, which has no place on the wire")
    return TensorSpec(name=name, dtype=array.dtype.name, shape=tuple(array.shape))


def specs_of(named: Iterable[tuple[str, Tensor]]) -> tuple[TensorSpec, ...]:
    """The specs of named arrays, in order; raises as `spec_of` does."""
    return tuple(spec_of(name, array) for name, array in named)


def check_specs(specs: Sequence[TensorSpec], tensors: Sequence[Tensor]) -> None:
    """Raises RefusedError where the tensors are not what their specs say."""
    if len(tensors) != len(specs):
        raise RefusedError(Reason.SHAPE, f"there are {len(tensors)} tensors where {len(specs)} are due")
    for spec, tensor in zip(specs, tensors, strict=True):
        if (tensor.dtype.name, tuple(tensor.shape)) != (spec.dtype, spec.shape):
            raise RefusedError(
                Reason.SHAPE,
                f"tensor {spec.name!r} is {tensor.dtype}{list(tensor.shape)}; the run has it as "
                f"{spec.dtype}{list(spec.shape)}",
            )


def size_of(spec: TensorSpec) -> int:
    """Bytes of a tensor, from its spec alone."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def payload_bytes(specs: Iterable[TensorSpec]) -> int:
    """Bytes of the payload of tensors of these specs."""
    return sum(map(size_of, specs))


def payload_of(tensors: Iterable[Tensor]) -> Iterator[memoryview]:
    """The tensors' payload, a part each: views of their memory where that is as the wire has it."""
    return (bytes_of(wire(tensor)) for tensor in tensors)


def cut(payload: Iterable[Buffer], nbytes: int) -> Iterator[memoryview]:
    """A payload in pieces of `nbytes`, the last one perhaps shorter: views of its parts, or a copy where a piece spans
    several."""
    parts: list[memoryview] = []
    room = nbytes
    for part in payload:
        data, start = memoryview(part), 0
        while start < data.nbytes:
            parts.append(data[start : start + room])
            start += parts[-1].nbytes
            room -= parts[-1].nbytes
            if not room:
                yield _joined(parts)
                parts, room = [], nbytes
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[memoryview]) -> memoryview:
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def tensors_in(specs: Sequence[TensorSpec], payload: Buffer) -> list[Tensor]:
    """The tensors of a payload of just their size: views of its memory, in native byte order."""
    found, start = [], 0
    for spec in specs:
        dtype = np.dtype(spec.dtype)
        tensor: Tensor = np.ndarray(spec.shape, dtype.newbyteorder("<"), payload, start)
        found.append(tensor.astype(dtype, copy=False))
        start += tensor.nbytes
    return found


class Hasher:
    """sha256 (hex) over the ordered tensors: name, dtype, shape, bytes, each length-delimited. It takes their payload
    in pieces, wherever that is cut."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs, self._state, self._room = iter(specs), hashlib.sha256(), 0

    def add(self, data: Buffer) -> None:
        """The next bytes of the payload, which is no longer than the specs say."""
        view, start = memoryview(data), 0
        while start < view.nbytes:
            while not self._room:
                self._begin(next(self._specs))
            stop = min(view.nbytes, start + self._room)
            self._state.update(view[start:stop])
            self._room -= stop - start
            start = stop

    def finish(self) -> str:
        """The hash, after the payload's last byte."""
        for empty in self._specs:
            self._begin(empty)
        return self._state.hexdigest()

    def _begin(self, spec: TensorSpec) -> None:
        head = f"{spec.name}\0{spec.dtype}\0{','.join(map(str, spec.shape))}".encode()
        self._room = size_of(spec)
        self._state.update(b"%d:%b%d:" % (len(head), head, self._room))


def digest(specs: Sequence[TensorSpec], tensors: Sequence[Tensor]) -> str:
    """The hash of whole tensors, as `Hasher` makes it."""
    hasher = Hasher(specs)
    for _, tensor in zip(specs, tensors, strict=True):
        hasher.add(bytes_of(wire(tensor)))
    return hasher.finish()


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
    with np.errstate(over="ignore", invalid="ignore"):
        cast = tensor.astype(dtype, copy=False)
        largest = max(-float(cast.min()), float(cast.max()))  # NaN is both, if there is any
    return math.isfinite(largest) and (cast.dtype.itemsize < 8 or largest <= LARGEST_FLOAT64)
