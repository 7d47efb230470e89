"""One connection's worth of taking part: until the run, or the connection, ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from federated_training.job.config import Settings
from federated_training.job.sink import FederatedKafkaMLAggregationSink
from federated_training.job.work import Work
from mainstem.client.keep import FileKeep
from mainstem.client.participant import ClientMemory, Participant
from mainstem.errors import ConfigError, LogError, SilentError, UnknownTopicError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import MessageLog
from mainstem.runtime.logs import bind

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 30.0
_GONE_SECONDS: Final = 120.0


class Session:
    """Takes part over one connection. LogError ends a session; the next one goes on from the log."""

    def __init__(
        self,
        work: Work,
        memory: ClientMemory,
        connection: MessageLog,
        settings: Settings,
        incarnation: str,
        heard: Callable[[], None],
    ) -> None:
        """`memory` and `incarnation` are the Job's, in all of its sessions; `heard` is called whenever Kafka has
        answered."""
        self._work, self._memory, self._log = work, memory, connection
        self._settings, self._heard = settings, heard
        self._incarnation = incarnation
        self._control = ControlTopic(connection, settings.spec.federation, platform=settings.platform)
        self._sink: FederatedKafkaMLAggregationSink | None = None

    def run(self) -> None:
        """Until the client has left; raises MainstemError."""
        head = self._await_head()
        opened, settings = head.opened, self._settings
        self._sink = FederatedKafkaMLAggregationSink(
            self._log,
            opened.federation,
            settings.client,
            self._incarnation,
            every=min(settings.heartbeat, opened.rules.heartbeat_timeout_ms / 4000),
            state=self._work.state,
            key=settings.key,
        )
        keep = FileKeep(settings.state, opened, settings.client) if settings.state is not None else None
        participant = Participant(
            self._sink, self._work, self._log, memory=self._memory, keep=keep, newest=self._newest
        )
        self._follow(participant, head)
        while not participant.gone:
            later = self._newest(_POLL_SECONDS)
            self._heard()
            if later is not None:
                self._follow(participant, later)

    def _follow(self, participant: Participant, head: Head) -> None:
        bind(round=None if head.ended or head.final else head.round + 1)
        participant.follow(head)
        self._heard()

    def _newest(self, wait: float | None = None) -> Head | None:
        """The head, where it is another one than before: as far as the log reaches, or at latest after `wait` s."""
        entries = self._control.sync() if wait is None else self._control.poll(wait)
        return self._control.head if any(entry.link for entry in entries) else None

    def _await_head(self) -> Head:
        patience = _GONE_SECONDS if self._work.prepared else self._settings.patience
        deadline, tell = time.monotonic() + patience, 0.0
        federation = self._settings.spec.federation
        while True:
            try:
                self._control.sync()
                self._heard()
                if self._control.head is not None:
                    return self._control.head
                problem, silent = f"nothing has opened federation {federation} yet", False
            except LogError as error:
                problem, silent = str(error), not isinstance(error, UnknownTopicError)
            if time.monotonic() > deadline:
                told = f"FEDERATED_MODEL_ID: waited {patience:g} s for its model in vain: {problem}"
                raise SilentError(told) if silent else ConfigError(told)
            if time.monotonic() > tell:
                log.info("waiting for the model of federation %s: %s", federation, problem)
                tell = time.monotonic() + _TELL_SECONDS
            time.sleep(_POLL_SECONDS)

    # ------------------------------------------------------------ the end
    def tell_failed(self, detail: str) -> None:
        """Tell the aggregator why this client gives up, if it can be told."""
        self._tell(lambda sink: sink.failed(detail))

    def tell_left(self) -> None:
        """Tell the aggregator that this client was asked to go, if it can be told."""
        self._tell(lambda sink: sink.left())

    def _tell(self, say: Callable[[FederatedKafkaMLAggregationSink], None]) -> None:
        if self._sink is None:
            return
        try:
            say(self._sink)
        except LogError as error:
            log.warning("the aggregator could not be told: %s", error)

    def close(self) -> None:
        """End the heartbeats and the reading; the connection is the caller's."""
        if self._sink is not None:
            self._sink.close()
        self._control.close()
