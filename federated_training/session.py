"""One connection's worth of taking part: drives the pure client machine until the run, or the connection, ends."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from federated_training.config import Settings
from federated_training.dataset import label_counts
from federated_training.FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from federated_training.work import Work
from mainstem.chain import Head
from mainstem.client import (
    ClientMachine,
    Effect,
    Evaluate,
    Evaluated,
    Followed,
    Join,
    Leave,
    Train,
    Trained,
    Upload,
    Uploaded,
    superseded,
)
from mainstem.control import ControlTopic
from mainstem.errors import ConfigError, LogError, SilentError, UnknownTopicError
from mainstem.logs import bind
from mainstem.messages import Metrics, Opened, Report
from mainstem.ports import MessageLog

log = logging.getLogger(__name__)

SOFTWARE: Final = "mainstem federated_training"
"""What the `joined` record calls this program."""

_POLL_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 30.0
_GONE_SECONDS: Final = 120.0


class Session:
    """Takes part over one connection. LogError ends a session; the next one goes on from the log."""

    def __init__(
        self,
        work: Work,
        connection: MessageLog,
        settings: Settings,
        incarnation: str,
        heard: Callable[[], None],
    ) -> None:
        """`incarnation` is the Job's, in all of its sessions; `heard` is called whenever Kafka has answered."""
        self._work, self._log, self._settings, self._heard = work, connection, settings, heard
        self._incarnation = incarnation
        self._control = ControlTopic(connection, settings.spec.federation)
        self._machine = ClientMachine(settings.client)
        self._sink: FederatedKafkaMLAggregationSink | None = None
        self._evaluation: Metrics | None = None
        self._joined_with = 0

    def run(self) -> None:
        """Until the machine leaves; raises MainstemError."""
        head = self._await_head()
        opened = head.opened
        self._sink = FederatedKafkaMLAggregationSink(self._log, opened, self._settings.client, self._incarnation)
        _check_framework(opened)
        self._follow(head)
        while self._machine.phase != "gone":
            entries = self._control.poll(_POLL_SECONDS)
            self._heard()
            if any(entry.link for entry in entries) and self._control.head is not None:
                self._follow(self._control.head)

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

    def _follow(self, head: Head) -> None:
        bind(round=None if head.ended or head.final else head.round + 1)
        todo = deque(self._heed(head))
        while todo:
            todo.extend(self._do(todo.popleft(), head.opened))

    def _heed(self, head: Head) -> list[Effect]:
        if not head.ended and (taken_over := superseded(head, self._settings.client, self._incarnation)):
            raise ConfigError(taken_over)
        return self._machine.handle(Followed(head))

    def _do(self, effect: Effect, opened: Opened) -> list[Effect]:
        work, sink, machine = self._work, self._speaking(), self._machine
        match effect:
            case Join():
                self._join(opened)
                sink.start_beating(min(self._settings.heartbeat, opened.rules.heartbeat_timeout_ms / 4000), work.state)
                log.info("joined as %s", self._settings.client)
            case Train():
                work.train(opened, effect)
                if len(work.prepare(opened).training) != self._joined_with:
                    self._join(opened)  # the stream has grown
                # The round may have closed meanwhile: the machine must know before it decides.
                if any(entry.link for entry in self._control.sync()) and self._control.head is not None:
                    self._heed(self._control.head)
                following = machine.handle(Trained(effect.base))
                if not any(isinstance(item, Upload) for item in following):
                    log.info("the round closed before this client was done; its update is not sent")
                work.now("waiting")
                return following
            case Upload():
                self._upload(effect)
                work.now("waiting")
                return machine.handle(Uploaded(effect.base))
            case Evaluate():
                self._evaluation = work.evaluate(opened, effect)
                return machine.handle(Evaluated(effect.version))
            case Leave():
                sink.close()
                sink.left(effect.version, self._evaluation)
                log.info("leaving: %s", effect.why)
        return []

    def _join(self, opened: Opened) -> None:
        data = self._work.prepare(opened).training
        # how labels are spread leaves the site only where the federation chooses by it
        tells = opened.rules.selection.name == "label_coverage"
        labels = label_counts(data.y) if tells else {}
        self._speaking().joined(len(data), SOFTWARE, labels, growing=self._settings.spec.grows, note=self._work.note)
        self._joined_with = len(data)

    def _upload(self, effect: Upload) -> None:
        trained, evaluation = self._work.outcome(effect.base)
        self._work.now("uploading", effect.base.seq)

        def report(seconds: float) -> Report:
            return Report(
                training=trained.training,
                validation=trained.validation,
                evaluation=evaluation,
                train_seconds=round(trained.seconds, 3),
                upload_seconds=round(seconds, 3),
            )

        self._speaking().update(effect.base, effect.number, trained.training.examples, trained.tensors, report)
        self._heard()

    def _speaking(self) -> FederatedKafkaMLAggregationSink:
        assert self._sink is not None
        return self._sink

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
        self._sink.close()
        try:
            say(self._sink)
        except LogError as error:
            log.warning("the aggregator could not be told: %s", error)

    def close(self) -> None:
        """End the heartbeats and the reading; the connection is the caller's."""
        if self._sink is not None:
            self._sink.close()
        self._control.close()


def _check_framework(opened: Opened) -> None:
    if opened.framework.lower() not in ("tf", "tensorflow", "keras"):
        raise ConfigError(
            f"FEDERATED_MODEL_ID: the federation's framework is {opened.framework!r}; this Job trains Keras models (tf)"
        )
