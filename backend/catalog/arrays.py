"""Arrays on their way to the workshop and back: what it wrote is read as a stranger's."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Final

import numpy as np
from numpy.lib.format import (
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
    write_array_header_1_0,
)

from backend.catalog.workshop import broken
from mainstem.errors import RefusedError
from mainstem.protocol.messages import TensorSpec
from mainstem.protocol.weights import Buffer, payload_of, size_of, spec_of

PIECE_BYTES: Final = 1 << 20


def npz(arrays: Sequence[Any]) -> bytes:
    """Arrays as the workshop reads them: an npz of `t0000`, `t0001`, ... in order."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{f"t{index:04d}": array for index, array in enumerate(arrays)})
    return buffer.getvalue()


def array_of(data: bytes) -> Any:
    """The array of an `.npy` that the workshop wrote; raises Problem where the bytes are none."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("several arrays")
        return array
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise broken("its outputs cannot be read") from error


def specs_in(source: IO[bytes], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """The specs of the arrays in a file that `npz` wrote, named in order, by their headers alone.

    Raises Problem where it is no such file, or unfolds to more than it is; RefusedError for a dtype that has no place
    on the wire.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            if [member.filename for member in archive.infolist()] != [f"t{n:04d}.npy" for n in range(len(names))]:
                raise ValueError("other arrays")
            found = []
            for member, name in zip(archive.infolist(), names, strict=True):
                with archive.open(member) as opened:
                    shape, _, dtype = _header(opened)
                    nbytes = opened.tell() + math.prod(shape) * dtype.itemsize
                    if member.compress_type != zipfile.ZIP_STORED or member.file_size != nbytes:
                        raise ValueError("compressed, or cut off")
                found.append(spec_of(name, np.broadcast_to(np.empty((), dtype), shape)))
            return tuple(found)
    except RefusedError:
        raise
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise broken("its weights cannot be read") from error


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = read_array_header_1_0 if read_magic(member) == (1, 0) else read_array_header_2_0
    shape, fortran, dtype = read(member)
    return shape, fortran, dtype


def write_npz(sink: IO[bytes], specs: Sequence[TensorSpec], payload: Iterable[Buffer]) -> None:
    """What `npz` gives for the tensors of a payload, as that comes: none of it is held but a piece. Raises what the
    payload raises, also after its last byte."""
    parts = iter(payload)
    rest = memoryview(b"")
    with zipfile.ZipFile(sink, "w") as archive:
        for index, spec in enumerate(specs):
            with archive.open(f"t{index:04d}.npy", "w", force_zip64=True) as member:
                header = {"descr": np.dtype(spec.dtype).str, "fortran_order": False, "shape": spec.shape}
                write_array_header_1_0(member, header)
                left = size_of(spec)
                while left:
                    rest = rest or memoryview(next(parts))
                    part = rest[:left]
                    member.write(part)
                    rest, left = rest[part.nbytes :], left - part.nbytes
        for _ in parts:  # judges what has come
            raise ValueError("the payload is longer than its tensors")


def payload_in(source: IO[bytes], specs: Sequence[TensorSpec]) -> Iterator[Buffer]:
    """The payload of the tensors in a file that `npz` wrote and `specs_in` has judged, a piece at a time.

    Raises Problem where it holds others than these.
    """
    with zipfile.ZipFile(source) as archive:
        for index, spec in enumerate(specs):
            with archive.open(f"t{index:04d}.npy") as member:
                shape, fortran, dtype = _header(member)
                if (shape, dtype.name) != (spec.shape, spec.dtype):
                    raise broken("its weights are not what it said they were")
                if dtype.byteorder != ">" and not (fortran and len(shape) > 1):
                    while piece := member.read(PIECE_BYTES):
                        yield piece
                    continue
            with archive.open(f"t{index:04d}.npy") as member:
                yield from payload_of([read_array(member, allow_pickle=False)])
