"""Checked updates until their round is reduced: some in memory, the others in a temporary file without a name.

So the aggregator's memory is that of a few models, whatever the number of clients, and nothing is fetched twice. The
file is a convenience: what does not fit in it, or is lost with the process, is read again from the log.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from io import FileIO

import numpy as np

from mainstem.blocks import Block, Part, Reader, reader
from mainstem.errors import LogError
from mainstem.messages import TensorSpec
from mainstem.weights import Tensor, size_of


class Kept:
    """Up to `memory` bytes of tensors in memory and up to `disk` bytes in the file, by the update's offset."""

    def __init__(self, specs: Sequence[TensorSpec], memory: int, disk: int) -> None:
        self._specs, self._memory, self._disk = specs, memory, disk
        *self._starts, self._nbytes = itertools.accumulate((size_of(spec) for spec in specs), initial=0)
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

    def get(self, offset: int) -> Reader | None:
        """Reads an update's tensors, from the file only the part that is asked for; None where they are not kept."""
        held = self._held.get(offset)
        if held is not None:
            return reader(held)
        place = self._places.get(offset)
        return None if place is None else partial(self._read, place)

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
        for tensor in tensors:
            data, done = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data, 0
            while done < data.nbytes:
                done += self._file.write(data[done:])

    def _read(self, place: int, block: Block) -> list[Tensor]:
        """Flat arrays out of the file; raises LogError."""
        return [self._part(place + self._starts[part.tensor], part) for part in block]

    def _part(self, place: int, part: Part) -> Tensor:
        assert self._file is not None
        flat: Tensor = np.empty(part.stop - part.start, np.dtype(self._specs[part.tensor].dtype))
        data, done, place = flat.view(np.uint8).data, 0, place + part.start * flat.itemsize
        try:
            while done < data.nbytes:
                got = os.preadv(self._file.fileno(), [data[done:]], place + done)
                if not got:
                    raise OSError("it ends early")
                done += got
        except OSError as error:
            raise LogError(f"the file of checked updates cannot be read: {error}") from error
        return flat
