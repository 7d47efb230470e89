"""The Job's outer loop: one session after another until the run ends or this client cannot go on."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Final

from federated_training.job.config import Settings
from federated_training.job.session import Session
from federated_training.job.work import ConnectData, MakeEngine, MakeLocal, Work
from mainstem.client.participant import ClientMemory
from mainstem.errors import LogError, MainstemError, SilentError, UnreadableError
from mainstem.protocol.log import MessageLog
from mainstem.runtime.logs import bind

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.5


_UNREADABLE: Final = 10
"""Sessions in a row that may end because a topic, or records which the log names, cannot be read."""


class JobFailed(MainstemError):
    """The Job gave up; the aggregator was told why, if it could be reached. `for_good`: the next one would as well."""

    def __init__(self, message: str, *, for_good: bool) -> None:
        super().__init__(message)
        self.for_good = for_good


class TrainingJob:
    """One client of one federation, from waiting for its model to leaving.

    `connect_cloud` and `connect_data` open connections to the federation's and to the stream's Kafka. A Kafka that
    is away is tried again for `settings.patience` seconds, with the data and the engine kept.
    """

    def __init__(
        self,
        settings: Settings,
        connect_cloud: Callable[[], MessageLog],
        connect_data: ConnectData,
        make_engine: MakeEngine,
        make_local: MakeLocal = lambda opened: None,
    ) -> None:
        self._settings, self._connect = settings, connect_cloud
        self._incarnation = secrets.token_hex(8)
        self._work = Work(settings, connect_data, make_engine, make_local)
        self._memory = ClientMemory()
        self._away: float | None = None
        self._unreadable = 0

    def run(self) -> None:
        """Take part until the run ends.

        Raises JobFailed. Other exceptions (a signal's, a defect's) pass through, and the aggregator is told.
        """
        bind(federation=self._settings.spec.federation, client=self._settings.client)
        try:
            while not self._session():
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._work.close()

    def _session(self) -> bool:
        """Whether the run has ended, after one session."""
        connection = self._connect()
        session = Session(self._work, self._memory, connection, self._settings, self._incarnation, self._heard)
        try:
            session.run()
            return True
        except LogError as error:
            self._unreadable = self._unreadable + 1 if isinstance(error, UnreadableError) else 0
            if self._unreadable >= _UNREADABLE:
                session.tell_failed(str(error))
                raise JobFailed(str(error), for_good=True) from error
            self._away = self._away or time.monotonic()
            if time.monotonic() - self._away > self._settings.patience:
                told = f"Kafka has not answered for {self._settings.patience:g} s: {error}"
                session.tell_failed(told)
                raise JobFailed(told, for_good=False) from error
            log.warning("%s; beginning anew", error)
            return False
        except MainstemError as error:
            session.tell_failed(str(error))
            raise JobFailed(str(error), for_good=not isinstance(error, SilentError)) from error
        except Exception as error:
            session.tell_failed(f"unexpected {type(error).__name__}: {error}")
            raise
        except BaseException:
            session.tell_left()
            raise
        finally:
            session.close()
            connection.close()

    def _heard(self) -> None:
        self._away = None
