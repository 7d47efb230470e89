"""Checked updates until their round is reduced: some in memory, the others in a temporary file without a name.

So the aggregator's memory is that of a few models, whatever the number of clients, and nothing is fetched twice. The
file is a convenience: what does not fit in it, or is lost with the process, is read again from the log.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from mainstem.aggregation.blocks import Reader
from mainstem.aggregation.spill import Piece, Spill, reader_of
from mainstem.protocol.messages import TensorSpec
from mainstem.protocol.weights import Buffer


class UpdateCache:
    """Up to `memory` bytes in memory, the others in the file: up to `disk` bytes of what may be needed."""

    def __init__(self, memory: int, disk: int) -> None:
        self.spill = Spill(memory)
        """Where their bytes are set aside."""
        self._most, self._nbytes = memory + disk, 0
        self._readers: dict[Hashable, Reader] = {}

    def room(self, nbytes: int) -> bool:
        """Whether so many bytes more may be kept."""
        return self._nbytes + nbytes <= self._most

    def keep(self, key: Hashable, specs: Mapping[int, TensorSpec], payloads: Sequence[Buffer]) -> Reader:
        """Keep the tensors of these specs, which are numbered and whose payload this is; raises SpillError where the
        file cannot take them."""
        return self.put(key, specs, [self.spill.keep(payload) for payload in payloads])

    def put(self, key: Hashable, specs: Mapping[int, TensorSpec], pieces: Sequence[Piece]) -> Reader:
        """Keep tensors whose payload is set aside."""
        self._nbytes += sum(piece.nbytes for piece in pieces)
        read = self._readers[key] = reader_of(specs, pieces)
        return read

    def get(self, key: Hashable) -> Reader | None:
        """Reads what is kept, from the file only the part that is asked for; None where it is not."""
        return self._readers.get(key)

    def clear(self) -> None:
        """Forget all of them; the file stays, since writing over it is several times cheaper than writing a new one."""
        self._readers.clear()
        self._nbytes = 0

    def close(self) -> None:
        """Forget all of them and remove the file."""
        self.clear()
        self.spill.close()
