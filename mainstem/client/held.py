"""The version that a client has, where the next one is a change of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from mainstem.protocol.changes import Way, read_version
from mainstem.protocol.chunks import Limits
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.log import Source
from mainstem.protocol.weights import Tensor


class HeldVersion:
    """Holds the version that was read last, if versions travel as changes. Clients of one process may share it: then
    one of them reads what all of them train from, and nobody can write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Mapping[str, Sequence[Tensor]] = {}

    def read(self, log: Source, topic: str, way: Way, specs: Exchange, limits: Limits) -> list[Tensor]:
        """The tensors of the version that a way leads to; raises as `changes.read_version` does."""
        if specs.down is None:
            return read_version(log, topic, way, specs, limits=limits, written=True)
        with self._lock:
            model = read_version(log, topic, way, specs, self._held, limits=limits, written=True)
            for tensor in model:
                tensor.setflags(write=False)
            self._held = {way.end.sha256: model}
        return model
