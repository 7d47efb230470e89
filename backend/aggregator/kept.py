"""Checked updates until their round is reduced: some in memory, the others in a temporary file without a name.

So the aggregator's memory is that of a few models, whatever the number of clients, and nothing is fetched twice. The
file is a convenience: what does not fit in it, or is lost with the process, is read again from the log.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import overload

import numpy as np

from mainstem.errors import LogError
from mainstem.messages import TensorSpec
from mainstem.weights import Tensor, size_of


class Kept:
    """Up to `memory` bytes of tensors in memory and up to `disk` bytes in the file, by the update's offset."""

    def __init__(self, specs: Sequence[TensorSpec], memory: int, disk: int) -> None:
        self._specs, self._memory, self._disk = specs, memory, disk
        self._nbytes = sum(size_of(spec) for spec in specs)
        self._held: dict[int, Sequence[Tensor]] = {}
        self._places: dict[int, int] = {}
        self._file: FileIO | None = None

    def put(self, offset: int, tensors: Sequence[Tensor]) -> None:
        """Keep an update if there is room."""
        if (len(self._held) + 1) * self._nbytes <= self._memory:
            self._held[offset] = tensors
        elif (len(self._places) + 1) * self._nbytes <= self._disk:
            with contextlib.suppress(OSError):  # a full disk: the log has it
                self._write(len(self._places) * self._nbytes, tensors)
                self._places[offset] = len(self._places) * self._nbytes

    def get(self, offset: int) -> Sequence[Tensor] | None:
        """An update's tensors, None where they are not kept; those of the file are read one by one as they are used."""
        held = self._held.get(offset)
        if held is not None or offset not in self._places or self._file is None:
            return held
        return _Stored(self._file, self._places[offset], self._specs)

    def clear(self) -> None:
        """Forget all of them; the file stays, since writing over it is several times cheaper than writing a new one."""
        self._held.clear()
        self._places.clear()

    def close(self) -> None:
        """Forget all of them and remove the file."""
        self.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, place: int, tensors: Sequence[Tensor]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as this)
        self._file.seek(place)
        for data in _pieces(tensors):
            done = 0
            while done < data.nbytes:
                done += self._file.write(data[done:])


class _Stored(Sequence[Tensor]):
    """Tensors in the file, each read when it is asked for."""

    def __init__(self, file: FileIO, place: int, specs: Sequence[TensorSpec]) -> None:
        self._file, self._specs = file, specs
        self._places = list(itertools.accumulate((size_of(spec) for spec in specs), initial=place))

    def __len__(self) -> int:
        return len(self._specs)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        spec = self._specs[index]
        tensor: Tensor = np.empty(spec.shape, np.dtype(spec.dtype))
        data, done = next(_pieces([tensor])), 0
        try:
            self._file.seek(self._places[range(len(self))[index]])
            while done < data.nbytes:
                got = self._file.readinto(data[done:])
                if not got:
                    raise OSError("it ends early")
                done += got
        except OSError as error:
            raise LogError(f"the file of checked updates cannot be read: {error}") from error
        return tensor


def _pieces(tensors: Sequence[Tensor]) -> Iterator[memoryview]:
    for tensor in tensors:
        yield np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
