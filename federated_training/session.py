"""One connection's worth of taking part: drives the pure client machine until the run, or the connection, ends."""

from __future__ import annotations

import logging
import secrets
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
)
from mainstem.control import ControlTopic
from mainstem.errors import ConfigError, LogError
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

    def __init__(self, work: Work, connection: MessageLog, settings: Settings, heard: Callable[[], None]) -> None:
        """`heard` is called whenever Kafka has answered."""
        self._work, self._log, self._settings, self._heard = work, connection, settings, heard
        self._control = ControlTopic(connection, settings.spec.federation)
        self._machine = ClientMachine(settings.client)
        self._sink: FederatedKafkaMLAggregationSink | None = None
        self._evaluation: Metrics | None = None

    def run(self) -> None:
        """Until the machine leaves; raises MainstemError."""
        head = self._await_head()
        opened = head.opened
        _check_framework(opened)
        self._sink = FederatedKafkaMLAggregationSink(self._log, opened, self._settings.client, secrets.token_hex(8))
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
                problem = f"nothing has opened federation {federation} yet"
            except LogError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise ConfigError(f"FEDERATED_MODEL_ID: waited {patience:g} s for its model in vain: {problem}")
            if time.monotonic() > tell:
                log.info("waiting for the model of federation %s: %s", federation, problem)
                tell = time.monotonic() + _TELL_SECONDS
            time.sleep(_POLL_SECONDS)

    def _follow(self, head: Head) -> None:
        bind(round=None if head.ended or head.final else head.round + 1)
        todo = deque(self._machine.handle(Followed(head)))
        while todo:
            todo.extend(self._do(todo.popleft(), head.opened))

    def _do(self, effect: Effect, opened: Opened) -> list[Effect]:
        work, sink, machine = self._work, self._speaking(), self._machine
        match effect:
            case Join():
                data = work.prepare(opened)
                # how labels are spread leaves the site only where the federation chooses by it
                tells = opened.rules.selection.name == "label_coverage"
                sink.joined(len(data.training), SOFTWARE, label_counts(data.training.y) if tells else {}, work.note)
                sink.start_beating(min(self._settings.heartbeat, opened.rules.heartbeat_timeout_ms / 4000), work.state)
                log.info("joined as %s", self._settings.client)
            case Train():
                work.train(opened, effect)
                # The round may have closed meanwhile: the machine must know before it decides.
                if any(entry.link for entry in self._control.sync()) and self._control.head is not None:
                    machine.handle(Followed(self._control.head))
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
