"""The worker: owns partitions of the announcements, runs a thread for each open federation that they name.

Folding happens in the threads, so the group's polling is never held up. A worker that dies is replaced by any other
member; two that run one federation at a time do no harm, since a round commits by the first valid record.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from backend.aggregator.federation import Federation
from backend.aggregator.meters import RESUMES, Sight
from mainstem import logs
from mainstem.errors import ConfigError, DecodeError, LogError, UnreadableError
from mainstem.messages import decode_announcement
from mainstem.ports import Record

logger = logging.getLogger("mainstem.aggregator")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a federation that met an error is taken up again: doubled each time."""

MakeFederation = Callable[[str], Federation]


class Runner(threading.Thread):
    """Steps one federation until its run ends or `leave` is set; after an error it resumes from the log."""

    def __init__(self, federation: str, partition: int, revision: int, make: MakeFederation) -> None:
        super().__init__(name=f"federation-{federation}", daemon=True)
        self.federation, self.partition, self.revision = federation, partition, revision
        self.leave = threading.Event()
        self.sight: Sight | None = None
        self._make = make
        self._trouble = ""

    def run(self) -> None:
        """See `threading.Thread`."""
        logs.bind(federation=self.federation)
        pause = FIRST_PAUSE
        while not self.leave.is_set():
            federation: Federation | None = None
            try:
                federation = self._make(self.federation)
                self.sight = federation.sight
                federation.trouble = self._trouble
                while not self.leave.is_set() and self._step(federation):
                    pause, self._trouble = FIRST_PAUSE, federation.trouble
                if not self.leave.is_set():
                    logger.info("federation %s: the run has ended here", self.federation)
                return
            except ConfigError as error:
                RESUMES.labels("unsupported").inc()
                logger.error("federation %s cannot be run by this version: %s", self.federation, error)
                self._complain(federation, f"this version of the aggregator cannot run it: {error}")
                return
            except LogError as error:
                RESUMES.labels("log").inc()
                logger.warning("federation %s: %s; resuming from the log in %.1f s", self.federation, error, pause)
                if isinstance(error, UnreadableError):
                    self._complain(federation, str(error))
            except Exception as error:
                RESUMES.labels("unexpected").inc()
                logger.exception("federation %s: unexpected; resuming from the log in %.1f s", self.federation, pause)
                self._complain(federation, f"unexpected {type(error).__name__}: {error}")
            finally:
                if federation is not None:
                    federation.close()
            self.leave.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _complain(self, federation: Federation | None, trouble: str) -> None:
        """Once, as long as it is the same: each attempt would say it again."""
        if federation is None or trouble == self._trouble:
            return
        self._trouble = trouble
        try:
            federation.complain(trouble)
        except LogError as error:
            logger.warning("federation %s: %s", self.federation, error)

    @staticmethod
    def _step(federation: Federation) -> bool:
        with logs.bind(round=federation.sight.open_round):
            return federation.step()


class Worker:
    """Keeps one runner a federation, by the announcements that it is given in order."""

    def __init__(self, make: MakeFederation) -> None:
        self._make = make
        self.runners: dict[str, Runner] = {}

    def announced(self, record: Record) -> None:
        """A record of FEDERATED_MODEL_CONTROL_TOPIC: start, wake or end a runner."""
        federation = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._end(federation)
            return
        try:
            announcement = decode_announcement(record.value)
        except DecodeError as error:
            logger.warning("announcement at %d:%d refused: %s", record.partition, record.offset, error)
            return
        runner = self.runners.get(announcement.federation)
        if runner is not None and runner.is_alive() and not runner.leave.is_set():
            if announcement.revision == runner.revision:
                return
            self._end(announcement.federation)  # a command came with it: read the log anew
        self.runners[announcement.federation] = Runner(
            announcement.federation, record.partition, announcement.revision, self._make
        )
        self.runners[announcement.federation].start()

    def lost(self, partitions: set[int]) -> None:
        """Other members own these partitions now."""
        for runner in list(self.runners.values()):
            if runner.partition in partitions:
                logger.info(
                    "federation %s goes to another worker", runner.federation, extra={"federation": runner.federation}
                )
                self._end(runner.federation)

    def sights(self) -> list[Sight]:
        """What the federations that run here show; for any thread."""
        runners = list(self.runners.values())
        return [runner.sight for runner in runners if runner.sight is not None and runner.is_alive()]

    def close(self, timeout: float = 10.0) -> None:
        """End every runner and wait for those in mid-step."""
        for runner in self.runners.values():
            runner.leave.set()
        for runner in self.runners.values():
            runner.join(timeout)

    def _end(self, federation: str) -> None:
        runner = self.runners.pop(federation, None)
        if runner is not None:
            runner.leave.set()
