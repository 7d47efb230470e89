"""The worker: owns partitions of the announcements, gives turns to the open federations that they name.

A federation that has a turn has a thread; `turns` says which have one. Folding happens in these threads, so the group's
polling is never held up. A worker that dies is replaced by any other member; two that run one federation at a time do
no harm, since a round commits by the first valid record.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from mainstem.aggregator.federation import Federation
from mainstem.aggregator.meters import RESUMES, Sight
from mainstem.aggregator.turns import End, FederationSeat, Turns, TurnStage
from mainstem.aggregator.witnesses import Ask, Guard, nobody
from mainstem.errors import ConfigError, DecodeError, LogError, UnreadableError
from mainstem.protocol import announcing, topics
from mainstem.protocol.log import Record
from mainstem.runtime import logs
from mainstem.runtime.backoff import Backoff

logger = logging.getLogger("mainstem.aggregator")

SLOTS = 200
"""Federations that have a thread at one time. Each has two readers besides, of four threads of librdkafka's."""

TURN_SECONDS = 5.0
"""How long one of them keeps its thread while others wait: to take it up again costs some tenths of a second."""

GATHER_SECONDS = 0.05
"""Between two looks for topics: what is announced meanwhile is looked for together."""

MakeFederation = Callable[[str, Guard], Federation]
Existing = Callable[[Collection[str]], set[str]]
"""Which of these topics exist; raises LogError."""


@dataclass(slots=True)
class TurnState:
    """What is kept of a federation from turn to turn."""

    guard: Guard
    sight: Sight | None = None
    trouble: str = ""


class Worker:
    """Runs federations by the announcements that it is given in order.

    `slots` have a thread at one time; `turn` is seconds. `looked` is told of each look for topics, with why it failed.
    `ask` says what was witnessed of a federation's log. With the `platform` key nobody else's announcements count.
    """

    def __init__(
        self,
        make: MakeFederation,
        existing: Existing,
        *,
        slots: int = SLOTS,
        turn: float = TURN_SECONDS,
        looked: Callable[[Exception | None], None] = lambda error: None,
        ask: Ask = nobody,
        platform: str | None = None,
    ) -> None:
        self._make, self._existing, self._looked, self._ask = make, existing, looked, ask
        self._turns, self._platform = Turns(slots, turn), platform
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._doorkeeper = threading.Thread(target=self._keep_door, name="door", daemon=True)
        self._doorkeeper.start()

    def announced(self, record: Record) -> None:
        """A record of FEDERATED_MODEL_CONTROL_TOPIC: a federation to run, to look at again, or to let go of."""
        try:
            federation, announcement = announcing.read(record, self._platform)
        except DecodeError as error:
            logger.warning("announcement at %d:%d refused: %s", record.partition, record.offset, error)
            return
        if announcement is None:
            with self._changed:
                self._turns.withdrawn(federation)
            return
        with self._changed:
            self._turns.announced(federation, record.partition, announcement.revision, time.monotonic())
            self._changed.notify()

    def lost(self, partitions: set[int]) -> None:
        """Other members own these partitions now."""
        with self._changed:
            theirs = self._turns.lost(partitions)
        for federation in theirs:
            logger.info("federation %s goes to another worker", federation, extra={"federation": federation})

    def sights(self) -> list[Sight]:
        """What the federations that have a turn show; for any thread."""
        with self._changed:
            running = [place.shown for place in self._turns.places.values() if place.stage is TurnStage.TURN]
        return [kept.sight for kept in running if kept is not None and kept.sight is not None]

    def close(self, timeout: float = 10.0) -> None:
        """End every turn and wait for those in mid-step."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
            threads = [self._doorkeeper, *self._threads]
        for thread in threads:
            thread.join(timeout)

    # ------------------------------------------------------------ the door
    def _keep_door(self) -> None:
        pauses = Backoff(first=0.2, longest=5.0)
        while (asked := self._due()) is not None:
            try:
                named = {topics.control_topic(federation): federation for federation in asked}
                present = {named[topic] for topic in self._existing(named)}
            except Exception as error:  # without a doorkeeper nobody would be let in, ever
                self._looked(error)
                pause = pauses.next()
                logger.warning(
                    "%s; looking for %d federations again in %.1f s",
                    error, len(asked), pause, exc_info=not isinstance(error, LogError),
                )  # fmt: skip
                with self._changed:
                    self._turns.unanswered(asked, time.monotonic() + pause)
                continue
            pauses.reset()
            self._looked(None)
            with self._changed:
                forgotten = self._turns.looked(asked, present, time.monotonic())
                self._begin_turns()
            if forgotten:
                named_few = ", ".join(forgotten[:3]) + (", ..." if len(forgotten) > 3 else "")
                logger.warning("forgot %d announced federations, which have no topics: %s", len(forgotten), named_few)
            self._closing.wait(GATHER_SECONDS)

    def _due(self) -> list[str] | None:
        """Whose topics should be looked for, once there is somebody; None at the end."""
        with self._changed:
            while not self._closing.is_set():
                now = time.monotonic()
                if asked := self._turns.due(now):
                    return asked
                wake = self._turns.wake()
                self._changed.wait(None if wake is None else wake - now)
        return None

    # ------------------------------------------------------------ turns
    def _begin_turns(self) -> None:
        """Give a thread to whoever may have a turn; with the lock held."""
        while not self._closing.is_set() and (place := self._turns.next(time.monotonic())) is not None:
            place.shown = place.shown or TurnState(Guard(place.federation, self._ask))
            name = f"federation-{place.federation}"
            thread = threading.Thread(target=self._have_turn, args=(place, place.shown), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the machine gives no more threads
                logger.error("federation %s: %s", place.federation, error)
                self._turns.over(place, End.FAILED, time.monotonic())
                self._changed.notify()
                return
            self._threads.add(thread)

    def _have_turn(self, place: FederationSeat, kept: TurnState) -> None:
        logs.bind(federation=place.federation)
        end = End.FAILED
        try:
            end = self._run(place, kept)
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._turns.over(place, end, time.monotonic())
                if end is End.FAILED and not place.gone:
                    logger.info("it is resumed from the log in %.1f s", place.due - time.monotonic())
                self._begin_turns()
                self._changed.notify()

    def _run(self, place: FederationSeat, kept: TurnState) -> End:
        """Step until the run ends, fails, is no longer ours, or has had its turn."""
        federation: Federation | None = None
        try:
            federation = self._make(place.federation, kept.guard)
            kept.sight, federation.trouble = federation.sight, kept.trouble
            begin: int | None = None
            while not (place.gone or self._closing.is_set()):
                if not _step(federation):
                    logger.info("federation %s: the run has ended here", place.federation)
                    return End.OVER
                kept.trouble = federation.trouble
                begin = federation.sight.round if begin is None else begin
                with self._changed:
                    now = time.monotonic()
                    self._turns.stepped(place, federation.sight.round != begin, now)
                    if self._turns.enough(place, now):
                        return End.GAVE_WAY
            return End.GAVE_WAY
        except ConfigError as error:
            RESUMES.labels("unsupported").inc()
            logger.error("federation %s cannot be run here: %s", place.federation, error)
            _complain(federation, kept, f"this version of the aggregator cannot run it: {error}")
            return End.OVER
        except LogError as error:
            RESUMES.labels("log").inc()
            logger.warning("federation %s: %s", place.federation, error)
            if isinstance(error, UnreadableError):
                _complain(federation, kept, str(error))
        except Exception as error:
            RESUMES.labels("unexpected").inc()
            logger.exception("federation %s: unexpected", place.federation)
            _complain(federation, kept, f"unexpected {type(error).__name__}: {error}")
        finally:
            if federation is not None:
                federation.close()
        return End.FAILED


def _step(federation: Federation) -> bool:
    with logs.bind(round=federation.sight.open_round):
        return federation.step()


def _complain(federation: Federation | None, kept: TurnState, trouble: str) -> None:
    """Once, as long as it is the same: each attempt would say it again."""
    if federation is None or trouble == kept.trouble:
        return
    kept.trouble = trouble
    try:
        federation.complain(trouble)
    except LogError as error:
        logger.warning("federation %s: %s", federation.federation, error)
