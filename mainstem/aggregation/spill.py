"""Bytes of the log that are needed later than they pass by: some in memory, the others in a temporary file.

The file has no name, so it goes with its process, however that ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Mapping, Sequence
from io import FileIO

import numpy as np

from mainstem.aggregation.blocks import Block, Reader, TensorSlice
from mainstem.errors import SpillError
from mainstem.protocol.messages import TensorSpec
from mainstem.protocol.weights import Buffer, Tensor, size_of
from mainstem.runtime.disk import FLOOR_BYTES, no_room, size

MEMORY = 32 << 20
"""Bytes that stay in memory, where nobody says another number."""

SMALL = 20
"""Of a small disk, as a pod's may be, this part stays free."""

Extent = tuple[int, int]
"""The file's bytes from the first number up to the second."""


class Spill:
    """Keeps up to `memory` bytes in memory and up to `disk` bytes in the file; None: as much as the disk has when the
    file is made, but for what stays free for others. One thread keeps and forgets; any number of them read."""

    def __init__(self, memory: int = MEMORY, disk: int | None = None) -> None:
        self._memory, self._disk = memory, disk
        self._file: FileIO | None = None
        self._holes: list[Extent] = []
        self._freed: deque[Extent | int] = deque()  # pieces end whenever nobody refers to them, also within `keep`

    def keep(self, data: Buffer) -> Piece:
        """Set `data` aside; in memory it is not copied. Raises SpillError where there is no room."""
        nbytes = memoryview(data).nbytes
        while self._freed:
            self._free(self._freed.popleft())
        if nbytes <= self._memory:
            self._memory -= nbytes
            return Piece(nbytes, self._freed, data)
        return Piece(nbytes, self._freed, None, self._write(memoryview(data).cast("B")), self._opened())

    def close(self) -> None:
        """Remove the file; its pieces can no longer be read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _free(self, room: Extent | int) -> None:
        if isinstance(room, int):
            self._memory += room
            return
        insort(self._holes, room)
        at = self._holes.index(room)
        for left in (at, at - 1):  # with what follows, then with what comes before
            if 0 <= left < len(self._holes) - 1 and self._holes[left][1] == self._holes[left + 1][0]:
                self._holes[left : left + 2] = [(self._holes[left][0], self._holes[left + 1][1])]

    def _write(self, data: memoryview) -> int:
        """The place where it went: the first that is large enough, since writing over is cheaper than writing anew."""
        file = self._opened()
        found = next((n for n, (start, end) in enumerate(self._holes) if end - start >= data.nbytes), None)
        if found is None:
            raise self._full("as much as may be set aside")
        start, end = self._holes[found]
        try:
            done = 0
            while done < data.nbytes:
                done += os.pwrite(file.fileno(), data[done:], start + done)
        except OSError as error:
            raise self._full(no_room(error) or str(error)) from error
        self._holes[found : found + 1] = [(start + data.nbytes, end)] if start + data.nbytes < end else []
        return start

    def _opened(self) -> FileIO:
        if self._file is None:
            try:
                if self._disk is None:
                    total, _, free = shutil.disk_usage(tempfile.gettempdir())
                    self._disk = max(0, free - min(FLOOR_BYTES, total // SMALL))
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it lives as long as this)
            except OSError as error:
                raise self._full(no_room(error) or str(error)) from error
            self._holes = [(0, self._disk)] if self._disk else []
        return self._file

    def _full(self, why: str) -> SpillError:
        most = "" if self._disk is None else f" (room for {size(self._disk)})"
        try:
            where = tempfile.gettempdir()
        except OSError:
            where = "any temporary directory"
        return SpillError(
            f"updates cannot be set aside in {where}{most}: {why}; make room there, or name another directory in TMPDIR"
        )


class Piece:
    """Bytes that were set aside; their room is free again once nobody refers to them any more."""

    __slots__ = ("_data", "_file", "_freed", "_place", "nbytes")

    def __init__(
        self,
        nbytes: int,
        freed: deque[Extent | int],
        data: Buffer | None,
        place: int = 0,
        file: FileIO | None = None,
    ) -> None:
        self.nbytes = nbytes
        self._freed, self._data, self._place, self._file = freed, data, place, file

    def __del__(self) -> None:
        self._freed.append(self.nbytes if self._data is not None else (self._place, self._place + self.nbytes))

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Those bytes of it; raises SpillError."""
        stop = self.nbytes if stop is None else stop
        if self._data is not None:
            return memoryview(self._data).cast("B")[start:stop]
        assert self._file is not None
        data, done = memoryview(bytearray(stop - start)), 0
        try:
            while done < data.nbytes:
                got = os.preadv(self._file.fileno(), [data[done:]], self._place + start + done)
                if not got:
                    raise OSError("it ends early")
                done += got
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise SpillError(f"the file of updates that were set aside cannot be read: {error}") from error
        return data


def reader_of(specs: Mapping[int, TensorSpec], pieces: Sequence[Piece]) -> Reader:
    """Reads the tensors of these specs, by their numbers, whose payload, wherever it is cut, is that of the pieces;
    raises SpillError."""
    starts = dict(zip(specs, itertools.accumulate(map(size_of, specs.values()), initial=0), strict=False))
    *begins, _ = itertools.accumulate((piece.nbytes for piece in pieces), initial=0)
    dtypes = {number: np.dtype(spec.dtype).newbyteorder("<") for number, spec in specs.items()}

    def part(asked: TensorSlice) -> Tensor:
        dtype = dtypes[asked.tensor]
        start = starts[asked.tensor] + asked.start * dtype.itemsize
        stop = start + (asked.stop - asked.start) * dtype.itemsize
        if start == stop:
            return np.empty(0, dtype)
        number = bisect_right(begins, start) - 1
        found = pieces[number].read(
            start - begins[number], min(stop, begins[number] + pieces[number].nbytes) - begins[number]
        )
        if found.nbytes == stop - start:
            return np.frombuffer(found, dtype)
        whole = bytearray(found)
        while len(whole) < stop - start:
            number += 1
            whole += pieces[number].read(0, min(pieces[number].nbytes, stop - start - len(whole)))
        return np.frombuffer(whole, dtype)

    def read(block: Block) -> list[Tensor]:
        return [part(asked) for asked in block]

    return read
