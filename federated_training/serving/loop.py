"""A replica's loop: poll, answer, commit; over connections that may break, until it is told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from federated_training.serving.answering import Answerer
from mainstem.errors import LogError
from mainstem.kafka.client.exchange import TooLongError
from mainstem.runtime.backoff import Backoff
from mainstem.serving.spec import Answer, AnswerTally, Question

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
_LIMIT: Final = 500
_TELL_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0
"""A connection that lasted so long was well: its loss is the first."""
_HUNG_SECONDS: Final = 25.0
"""A commit that takes longer hangs: librdkafka's may for ever after its broker was killed, whatever its time-out."""


class Exchanging(Protocol):
    """What the loop asks of `mainstem.kafka.client.exchange.TopicExchange`."""

    def poll(self, timeout: float, limit: int) -> list[Question]:
        """See `Exchange`."""
        ...

    def answer(self, answers: Sequence[Answer]) -> None:
        """See `Exchange`."""
        ...

    def close(self) -> None:
        """See `Exchange`."""
        ...


class Serving:
    """Answers until `stop`. A lost connection is no end: the next one goes on from the last commit."""

    def __init__(
        self,
        connect: Callable[[], Exchanging],
        answerer: Answerer,
        stop: threading.Event,
        ready: Path | None = None,
        pauses: Backoff | None = None,
    ) -> None:
        """`ready` is touched at each turn of the loop."""
        self._connect, self._answerer, self._stop, self._ready = connect, answerer, stop, ready
        self._pauses = pauses or Backoff(first=2.0, longest=30.0)
        self._tally, self._told = AnswerTally(), 0.0

    def run(self) -> None:
        """Serve; returns once `stop` is set."""
        told = ""
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._session()
            except LogError as error:
                if str(error) != told:
                    log.warning("%s; trying again", error)
                told = str(error)
                if time.monotonic() - began > _STEADY_SECONDS:
                    self._pauses.reset()
                self._stop.wait(self._pauses.next())
        self._tell()

    def _session(self) -> None:
        exchange = self._connect()
        try:
            while not self._stop.is_set():
                questions = exchange.poll(_POLL_SECONDS, _LIMIT)
                if self._ready is not None:
                    self._ready.touch()
                if questions:
                    self._answer(exchange, questions)
                if time.monotonic() > self._told + _TELL_SECONDS:
                    self._tell()
        finally:
            exchange.close()

    def _answer(self, exchange: Exchanging, questions: Sequence[Question]) -> None:
        answers = self._answerer.answer(questions)
        hung = threading.Timer(_HUNG_SECONDS, _give_up)
        hung.daemon = True
        hung.start()
        try:
            self._commit(exchange, questions, answers)
        finally:
            hung.cancel()

    def _commit(self, exchange: Exchanging, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
        try:
            exchange.answer(answers)
            self._count(questions, answers)
        except TooLongError:
            # one of them at least: which, is found out one by one
            for question, answer in zip(questions, answers, strict=True):
                self._count([question], [self._shortest(exchange, question, answer)])

    def _shortest(self, exchange: Exchanging, question: Question, answer: Answer) -> Answer:
        """Write the answer, or that it is too long: with the question's headers, else without them."""
        reason = "the answer is longer than the output topic takes"
        for given in (answer, self._answerer.refused(question, reason)):
            try:
                exchange.answer([given])
                return given
            except TooLongError:
                continue
        bare = self._answerer.refused(question, f"{reason}, and so are the record's headers", headers=False)
        exchange.answer([bare])
        return bare

    def _count(self, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
        refused = [(q, a) for q, a in zip(questions, answers, strict=True) if a.refused]
        self._tally += AnswerTally(len(answers), len(refused))
        if refused:
            question, answer = refused[0]
            more = f", and {len(refused) - 1} more of this batch" if len(refused) > 1 else ""
            log.warning("refused %s: %s%s", question.place, answer.value.decode()[:300], more)

    def _tell(self) -> None:
        self._told = time.monotonic()
        log.info("alive: answered %d records, refused %d of them", self._tally.answered, self._tally.refused)


def _give_up() -> None:
    """End the process; whoever keeps it starts it again, and that one goes on from the last commit."""
    log.error("a commit did not return within %d s: ending, to be started again", _HUNG_SECONDS)
    os._exit(1)
