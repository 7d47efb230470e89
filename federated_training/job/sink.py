"""What a training Job tells its federation, on the aggregator topic: what every client says, and that it is alive."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

from mainstem.client.voice import Presence, Voice
from mainstem.errors import LogError
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Metrics
from mainstem.protocol.signing import SigningKey

log = logging.getLogger(__name__)

Activity = Callable[[], tuple[str, int | None, float]]
"""(phase, base, progress), as `Voice.beat` takes them."""


class FederatedKafkaMLAggregationSink(Voice):
    """A client's voice whose heart beats from a thread of its own, from the time that it has joined to its end."""

    def __init__(
        self,
        connection: MessageLog,
        federation: str,
        client: str,
        incarnation: str,
        *,
        every: float,
        state: Activity,
        key: SigningKey | None = None,
    ) -> None:
        """Beat `every` seconds, with what `state` gives."""
        super().__init__(connection, federation, client, incarnation, attempt=secrets.token_hex(8), key=key)
        self._every, self._state = every, state
        self._pulse: _Pulse | None = None

    def joined(self, presence: Presence) -> None:
        """See `Voice`."""
        super().joined(presence)
        if self._pulse is None:
            self._pulse = _Pulse(self, self._every, self._state)
            self._pulse.start()

    def failed(self, detail: str) -> None:
        """See `Voice`; the last that is heard of it."""
        self.close()
        super().failed(detail)

    def left(
        self, version: int | None = None, evaluation: Metrics | None = None, personal: Metrics | None = None
    ) -> None:
        """See `Voice`; the last that is heard of it."""
        self.close()
        super().left(version, evaluation, personal)

    def close(self) -> None:
        """End the heartbeats; the connection is the caller's."""
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None


class _Pulse(threading.Thread):
    def __init__(self, sink: FederatedKafkaMLAggregationSink, every: float, state: Activity) -> None:
        super().__init__(daemon=True, name="heartbeat")
        self._sink, self._every, self._state, self._done = sink, every, state, threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._every):
            try:
                self._sink.beat(*self._state())
            except LogError as error:  # the main thread will notice too, and begin anew
                log.warning("a heartbeat was not delivered: %s", error)

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=5)
