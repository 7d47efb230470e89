"""Which of the announced federations have their turn: bookkeeping alone, with the time passed in.

Whoever is announced waits at the door until somebody has looked whether its topics exist; strangers cost no more than
that look, and are forgotten. Who passes waits for one of the `slots`, and keeps it while nobody else needs it. Where
somebody does, a turn ends after a while and the next in the line has one: so nobody waits for more than one turn of
each before it. Who fails waits at the door again, longer each time, and those that have not yet stepped well since
hold at most a quarter of the slots: what is broken cannot crowd out what works.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from mainstem.runtime.backoff import Backoff

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 60.0
"""Seconds before a federation that failed is taken up again: doubled each time."""

ABSENT_FIRST, ABSENT_LONGEST = 0.5, 15.0
"""Seconds between looks for topics that do not exist."""

ABSENT_SECONDS: Final = 60.0
"""A federation is forgotten whose topics did not exist for so long: a broker tells of new ones within seconds."""

AT_ONCE = 1000
"""Federations that are looked for in one request."""


class TurnStage(Enum):
    """Where a federation stands."""

    DOOR = auto()
    ASKED = auto()
    LINE = auto()
    TURN = auto()
    OVER = auto()


class End(Enum):
    """How a turn ended."""

    GAVE_WAY = auto()
    """Others waited."""
    FAILED = auto()
    """It may work later."""
    OVER = auto()
    """The run has ended, or this version cannot run it: nothing is left to do, until it is announced again."""


@dataclass(slots=True, eq=False)
class FederationSeat:
    """One announced federation's place. What runs it reads `gone`: it is no longer ours."""

    federation: str
    partition: int
    revision: int
    pauses: Backoff
    looks: Backoff
    stage: TurnStage = TurnStage.DOOR
    due: float = 0.0
    since: float = 0.0
    """When it came to the line, or when its turn began."""
    absent_since: float | None = None
    on_trial: bool = True
    again: bool = False
    """It was announced anew during its turn: should that end with the run's end, the log has more by now."""
    gone: bool = False
    shown: Any = None
    """What its runner keeps from turn to turn."""


@dataclass(slots=True)
class Turns:
    """Every place, and who is next. Not thread-safe. `turn` is seconds."""

    slots: int
    turn: float
    random: random.Random = field(default_factory=random.SystemRandom)
    places: dict[str, FederationSeat] = field(default_factory=dict)
    running: int = 0
    trials: int = 0
    away: bool = False
    """Kafka did not answer when it was asked last."""
    _door: list[tuple[float, int, FederationSeat]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _newcomers: deque[FederationSeat] = field(default_factory=deque)
    _known: deque[FederationSeat] = field(default_factory=deque)

    @property
    def most_trials(self) -> int:
        """How many slots those may hold that have not stepped well since they failed."""
        return max(1, self.slots // 4)

    # ------------------------------------------------------------ announcements
    def announced(self, federation: str, partition: int, revision: int, now: float) -> None:
        """It is ours to run. A higher revision lets an ended or failed one be looked at again, soon, not at once."""
        place = self.places.get(federation)
        if place is None:
            pauses, looks = (
                Backoff(first, longest, self.random)
                for first, longest in ((FIRST_PAUSE, LONGEST_PAUSE), (ABSENT_FIRST, ABSENT_LONGEST))
            )
            place = self.places[federation] = FederationSeat(federation, partition, revision, pauses, looks)
            self._to_door(place, now)
            return
        place.partition = partition
        if revision == place.revision:
            return
        place.revision = revision
        match place.stage:
            case TurnStage.TURN:
                place.again = True
            case TurnStage.OVER:
                self._to_door(place, max(now, place.since + FIRST_PAUSE))
            case TurnStage.DOOR if place.absent_since is None:
                self._to_door(place, min(place.due, max(now, place.since + FIRST_PAUSE)))

    def withdrawn(self, federation: str) -> None:
        """It is nobody's any more."""
        place = self.places.pop(federation, None)
        if place is not None:
            place.gone = True

    def lost(self, partitions: Collection[int]) -> list[str]:
        """Other workers own these partitions now; whose federations those were."""
        theirs = [place.federation for place in self.places.values() if place.partition in partitions]
        for federation in theirs:
            self.withdrawn(federation)
        return theirs

    # ------------------------------------------------------------ the door
    def wake(self) -> float | None:
        """When somebody at the door is due; None while there is nobody."""
        while self._door and not self._waits(self._door[0]):
            heapq.heappop(self._door)
        return self._door[0][0] if self._door else None

    def due(self, now: float) -> list[str]:
        """Whose topics should be looked for now: `looked` or `unanswered` must follow."""
        asked: list[str] = []
        while len(asked) < AT_ONCE and (wake := self.wake()) is not None and wake <= now:
            place = heapq.heappop(self._door)[2]
            place.stage = TurnStage.ASKED
            asked.append(place.federation)
        return asked

    def looked(self, asked: Collection[str], present: Collection[str], now: float) -> list[str]:
        """Of those asked for these exist; who is forgotten now."""
        if self.away:  # who failed meanwhile may have failed for that alone
            self.away = False
            for place in self.places.values():
                if place.stage is TurnStage.DOOR and place.absent_since is None:
                    self._to_door(place, now)
        forgotten = []
        for place in self._asked(asked):
            if place.federation in present:
                place.absent_since = None
                place.looks.reset()
                self._to_line(self._newcomers, place, now)
                continue
            if place.absent_since is None:
                place.absent_since = now
            if now - place.absent_since < ABSENT_SECONDS:
                self._to_door(place, now + place.looks.next())
            else:
                self.withdrawn(place.federation)
                forgotten.append(place.federation)
        return forgotten

    def unanswered(self, asked: Collection[str], due: float) -> None:
        """Kafka did not say: nobody is to blame, all are asked for again."""
        self.away = True
        for place in self._asked(asked):
            self._to_door(place, due)

    # ------------------------------------------------------------ turns
    def next(self, now: float) -> FederationSeat | None:
        """Who has a turn now: of those that may, the one that has waited longest. `over` must follow."""
        if self.running >= self.slots:
            return None
        lines = [line for line in self._lines() if line]
        if not lines:
            return None
        place = min(lines, key=lambda line: line[0].since).popleft()
        place.stage, place.since = TurnStage.TURN, now
        self.running += 1
        self.trials += place.on_trial
        return place

    def stepped(self, place: FederationSeat, progress: bool, now: float) -> None:
        """A step went well; with `progress` the run has more than it had when it failed."""
        if place.on_trial:
            place.on_trial = False
            self.trials -= 1
        if progress or now > place.since + LONGEST_PAUSE:
            place.pauses.reset()

    def enough(self, place: FederationSeat, now: float) -> bool:
        """Whether the place's turn must end, since it had one and somebody waits."""
        return now >= place.since + self.turn and self.running >= self.slots and any(self._lines())

    def over(self, place: FederationSeat, end: End, now: float) -> None:
        """The place's turn has ended."""
        self.running -= 1
        self.trials -= place.on_trial
        place.since = now
        if place.gone:
            return
        again, place.again = place.again, False
        match end:
            case End.GAVE_WAY:
                self._to_line(self._known, place, now)
            case End.FAILED:
                place.on_trial = True
                self._to_door(place, now + place.pauses.next())
            case End.OVER:
                place.on_trial = True
                place.stage = TurnStage.OVER
                if again:
                    self._to_door(place, now)

    # ------------------------------------------------------------ inside
    def _asked(self, asked: Collection[str]) -> Iterator[FederationSeat]:
        for federation in asked:
            place = self.places.get(federation)
            if place is not None and place.stage is TurnStage.ASKED:
                yield place

    def _to_door(self, place: FederationSeat, due: float) -> None:
        place.stage, place.due = TurnStage.DOOR, due
        heapq.heappush(self._door, (due, next(self._order), place))

    def _waits(self, entry: tuple[float, int, FederationSeat]) -> bool:
        """Whether an entry of the door's heap still stands: places that moved on leave theirs behind."""
        due, _, place = entry
        return place.stage is TurnStage.DOOR and not place.gone and place.due == due

    @staticmethod
    def _to_line(line: deque[FederationSeat], place: FederationSeat, now: float) -> None:
        place.stage, place.since = TurnStage.LINE, now
        line.append(place)

    def _lines(self) -> Iterator[deque[FederationSeat]]:
        """The lines from which somebody may have a turn, without those at their heads that have left."""
        allowed = (self._known, self._newcomers) if self.trials < self.most_trials else (self._known,)
        for line in allowed:
            while line and line[0].gone:
                line.popleft()
            yield line
