"""Turns between federations, in simulated time: nobody starves, nobody is looked for without end; planted bugs show."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest

from mainstem.aggregator import turns
from mainstem.aggregator.turns import ABSENT_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, End, FederationSeat, Turns, TurnStage
from mainstem.runtime.backoff import Backoff

TURN = 5.0
GATHER = 0.05
STEP = 0.2


@dataclass
class Crowd:
    """Federations of every kind before one worker. `slow` seconds is the longest step."""

    seed: int
    slots: int = 4
    fine: int = 6
    failing: int = 20
    strangers: int = 300
    slow: float = 2.0
    seconds: float = 200.0
    now: float = 0.0
    looks: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    waits: dict[str, float] = field(default_factory=dict)
    requests: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.turns = Turns(self.slots, TURN, self.random)
        names = [f"{kind}{n}" for kind in ("fine", "failing", "strange") for n in range(getattr(self, _COUNTS[kind]))]
        self.random.shuffle(names)
        self.coming = deque((self.random.random() * 7, name) for name in names)
        self.coming = deque(sorted(self.coming))
        self.steps: list[tuple[float, FederationSeat]] = []
        self.look: tuple[float, list[str]] | None = None

    def run(self) -> Crowd:
        """Until the time is up; AssertionError where a bound does not hold."""
        while self.now < self.seconds:
            while self.coming and self.coming[0][0] <= self.now:
                self.turns.announced(self.coming.popleft()[1], 0, 1, self.now)
            self._keep_door()
            self._end_steps()
            self._begin()
            self._check()
            self.now += STEP / 4
        return self

    def patience(self, name: str) -> float:
        """How long one that works may wait: a turn of each before it, in as many slots as are not for trials.

        Before its first turn it is on trial as all are that come with it: a step of each.
        """
        trials = max(1, self.slots // 4)
        if self.tries[name] == 0:
            return (self.fine + self.failing) / trials * self.slow + TURN
        return math.ceil(self.fine / (self.slots - trials) - 1) * (TURN + 2 * STEP) + self.slow

    def _keep_door(self) -> None:
        if self.look is not None and self.look[0] <= self.now:
            asked = self.look[1]
            self.turns.looked(asked, {name for name in asked if not name.startswith("strange")}, self.now)
            self.look = None
        if self.look is None and (asked := self.turns.due(self.now)):
            self.requests += 1
            self.looks.update(asked)
            self.look = (self.now + GATHER, asked)

    def _begin(self) -> None:
        while (place := self.turns.next(self.now)) is not None:
            self.tries[place.federation] += 1
            self.steps.append((self.now + self._step(place), place))

    def _step(self, place: FederationSeat) -> float:
        return self.random.uniform(STEP, self.slow) if place.federation.startswith("failing") else STEP

    def _end_steps(self) -> None:
        going, self.steps = self.steps, []
        for until, place in going:
            if until > self.now:
                self.steps.append((until, place))
            elif place.federation.startswith("failing"):
                self.turns.over(place, End.FAILED, self.now)
            else:
                self.turns.stepped(place, False, self.now)
                if self.turns.enough(place, self.now):
                    self.turns.over(place, End.GAVE_WAY, self.now)
                else:
                    self.steps.append((self.now + self._step(place), place))

    def _check(self) -> None:
        """Every bound that the worker's users are promised."""
        running = [place.federation for _, place in self.steps]
        assert len(running) <= self.slots and len(set(running)) == len(running)
        for n in range(self.fine):
            name = f"fine{n}"
            if name in running or name not in self.turns.places:
                self.waits.pop(name, None)
            else:
                waited = self.now - self.waits.setdefault(name, self.now)
                assert waited <= self.patience(name), f"{name} has waited {waited:.1f} s"
        for name, number in self.tries.items():
            # doubled pauses: so many until the longest one, then one each half of it at least
            most = 12 + self.now / (LONGEST_PAUSE / 2)
            assert not name.startswith("failing") or number <= most, f"{name} was tried {number} times"
        for name, number in self.looks.items():
            assert not name.startswith("strange") or number <= 20, f"{name} was looked for {number} times"
        if self.now > 7 + 3 * ABSENT_SECONDS:
            left = [name for name in self.turns.places if name.startswith("strange")]
            assert not left, f"{len(left)} strangers are remembered"


_COUNTS = {"fine": "fine", "failing": "failing", "strange": "strangers"}


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_harms_nobody(seed: int) -> None:
    """Strangers, failing and working federations; the latter are far more than the slots, and each has its turns."""
    crowd = Crowd(seed).run()
    shares = [crowd.tries[f"fine{n}"] for n in range(crowd.fine)]
    assert min(shares) >= 0.5 * max(shares) > 0, "working federations have turns alike"


def test_whoever_fits_runs_at_once() -> None:
    """As many as there are slots are never interrupted: each has one turn, from its announcement on."""
    crowd = Crowd(1, slots=100, fine=100, failing=0, strangers=1000, seconds=60).run()
    assert {crowd.tries[f"fine{n}"] for n in range(100)} == {1}


def test_announcements_are_gathered() -> None:
    """10,000 strangers cost a request each look, not one each; and the slots none of their time."""
    crowd = Crowd(2, fine=4, failing=0, strangers=10_000, seconds=8).run()
    assert crowd.requests < 8 / GATHER + 10
    assert sum(crowd.tries[name] for name in crowd.tries if name.startswith("strange")) == 0


def test_revisions_interrupt_nobody() -> None:
    """A flood of ever higher revisions: a run goes on, an ended one is looked at again a few times a second."""
    line = Turns(8, TURN, random.Random(1))
    line.announced("runs", 0, 1, 0.0)
    line.announced("ended", 0, 1, 0.0)
    line.looked(line.due(0.0), {"runs", "ended"}, 0.0)
    places = {place.federation: place for place in (line.next(0.0), line.next(0.0)) if place is not None}
    line.over(places["ended"], End.OVER, 0.0)
    again = 0
    for n in range(1, 1001):
        now = n / 1000
        for name in ("runs", "ended"):
            line.announced(name, 0, 1 + n, now)
        if asked := line.due(now):
            assert asked == ["ended"]
            line.looked(asked, set(asked), now)
            place = line.next(now)
            assert place is places["ended"]
            line.over(place, End.OVER, now)
            again += 1
    assert 4 <= again <= 1 / FIRST_PAUSE + 1 and places["runs"].stage is TurnStage.TURN and not places["runs"].gone


def test_kafka_that_was_away_delays_nobody_after_it() -> None:
    """Failures while Kafka is away do not count: once it answers everybody who failed is looked for at once."""
    line = Turns(1, TURN, random.Random(1))
    line.announced("fine", 0, 1, 0.0)
    now, place = 0.0, None
    for n in range(8):
        now = 100.0 * n
        line.looked(line.due(now), {"fine"}, now)
        place = line.next(now)
        assert place is not None
        line.over(place, End.FAILED, now)
    assert place is not None and place.due > now + LONGEST_PAUSE / 4
    line.announced("other", 0, 1, now)
    line.unanswered(line.due(now), now + 1)
    line.looked(line.due(now + 1), (), now + 1)
    assert "fine" in line.due(now + 1)


def found(**crowd: float) -> bool:
    """Whether some seed's crowd breaks a bound."""
    for seed in range(4):
        try:
            Crowd(seed, **crowd).run()  # type: ignore[arg-type]
        except AssertionError:
            return True
    return False


def test_planted_the_last_to_come_is_the_first_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is a stack: those at its bottom starve."""

    def wrong(line: deque[FederationSeat], place: FederationSeat, now: float) -> None:
        place.stage, place.since = TurnStage.LINE, now
        line.appendleft(place)

    monkeypatch.setattr(Turns, "_to_line", staticmethod(wrong))
    assert found()


def test_planted_turns_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a slot keeps it."""
    monkeypatch.setattr(Turns, "enough", lambda self, place, now: False)
    assert found()


def test_planted_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No back-off: strangers are looked for, and failing ones tried, without end."""
    monkeypatch.setattr(Backoff, "next", lambda self: self.first)
    assert found()


def test_planted_strangers_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The aggregator's memory is whoever's who writes announcements."""
    monkeypatch.setattr(turns, "ABSENT_SECONDS", 1e9)
    assert found()


def test_planted_a_turn_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: a thread for whoever is announced."""
    right = Turns.next

    def wrong(self: Turns, now: float) -> FederationSeat | None:
        self.slots, slots = 10_000, self.slots
        try:
            return right(self, now)
        finally:
            self.slots = slots

    monkeypatch.setattr(Turns, "next", wrong)
    assert found()


def test_planted_no_bound_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken federations crowd out those that work."""
    monkeypatch.setattr(Turns, "most_trials", property(lambda self: self.slots))
    assert found()
