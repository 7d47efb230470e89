"""A simulated world: real aggregators and clients over an in-memory log, one seed driving time, order and faults.

Every call of the message log is a point at which the actor may be held up, crash, meet an error with the record
written or not, or see less than there is. The same seed gives the same run, to the last offset.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

import greenlet
import numpy as np

from mainstem.aggregator.federation import Federation
from mainstem.client.keep import ROOM, MemoryKeep
from mainstem.errors import LogError
from mainstem.lineage import proving
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import ClientRecord, Command, Joined, Left, codec, encode
from mainstem.protocol.topics import TopicSpec, aggregator_topic, control_topic
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import Copy, MemoryCursor, MemoryLog
from tests.simulation.weathers import Weather
from tests.support import trees
from tests.support.federations import LightClient, open_federation


class Crash(greenlet.GreenletExit):
    """The process is gone: nothing of it runs any more."""


class SimClock:
    """Milliseconds that the world lets pass, and a wall clock that is set now and then."""

    def __init__(self) -> None:
        self.ms = 1_000_000
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """See `Clock`."""
        return self.ms + self.ahead_ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.ms


START: list[Tensor] = [np.linspace(-2, 2, 24), np.array([1.0, -2.0], np.float32), np.array(3, np.int32)]
"""Version 0 of a model of numbers."""
IDLE = 25
"""After so many steps in which nobody wrote or read anything, everybody waits for time to pass."""
LEAP = 20
"""So many times as fast it passes then."""
VISITS = 4
"""How often a visitor comes and goes."""
HISTORIES = 3
"""How often Kafka goes back to an older copy, at most."""


@contextmanager
def thrift() -> Iterator[None]:
    """Records are frozen, so that all readers may share them: decoding the same bytes for each is half of a run's time.
    And models are so small that threads only cost."""
    shared = lru_cache(maxsize=20_000)(codec._decode)
    with patch.object(codec, "_decode", shared), patch.object(proving, "THREADS", 1):
        yield


class Actor:
    """A process: runs `life` until it returns; after a crash it is started again."""

    def __init__(self, world: World, name: str, life: Callable[[SimLog, int], None]) -> None:
        self.world, self.name, self.life = world, name, life
        self.starts = 0
        self.frozen_until = 0
        self.done = False
        self._greenlet: greenlet.greenlet | None = None

    def resume(self, crash: bool) -> None:
        """Run to the next port call, or kill."""
        if self._greenlet is None or self._greenlet.dead:
            self._greenlet = greenlet.greenlet(self._run, self.world.scheduler)
            crash = False
        if crash:
            self._greenlet.throw(Crash)
            self._greenlet = None
        else:
            self._greenlet.switch()

    def _run(self) -> None:
        self.starts += 1
        self.life(SimLog(self.world), self.starts)
        self.done = True


class SimLog:
    """A process's connection to the log. Implements `log.MessageLog` with the world's faults."""

    def __init__(self, world: World) -> None:
        self._world, self._log = world, world.log
        self._history = world.histories

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """Whole, torn or not at all; the acknowledgement may be lost."""
        world, batch = self._world, list(records)
        self._pause()
        if world.chance(world.weather.lost_before):
            kept = world.random.randrange(len(batch)) if batch and world.chance(world.weather.torn) else 0
            self._write(topic, batch[:kept])
            self._pause()
            raise LogError("simulated: not acknowledged")
        offsets: list[int] = []
        for record in batch:
            offsets += self._write(topic, [record])
            if len(batch) > 1:
                self._pause()
        self._pause()
        if world.chance(world.weather.lost_after):
            raise LogError("simulated: acknowledgement lost")
        return offsets

    def _pause(self) -> None:
        """A broker with an older copy does not know this producer any more, and says so once."""
        self._world.pause()
        if self._history != self._world.histories:
            self._history = self._world.histories
            raise LogError("simulated: out of order sequence number")

    def _write(self, topic: str, records: Sequence[Outgoing]) -> list[int]:
        offsets = self._log.append(topic, records)
        for record, offset in zip(records, offsets, strict=True):
            self._world.written[topic, record.partition, offset] = self._world.clock.ms
        self._world.busy_at = self._world.steps
        return offsets

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """A range."""
        self._trouble()
        self._world.busy_at = self._world.steps
        return self._log.read(topic, partition, start, end)

    def cursor(self, topic: str, partition: int, start: int) -> SimCursor:
        """A reader that may see less than there is."""
        self._trouble()
        return SimCursor(self._world, self._log.cursor(topic, partition, start))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Offsets."""
        self._trouble()
        return self._log.bounds(topic, partition)

    def partitions(self, topic: str, least: int = 1) -> int:
        """Partitions."""
        return self._log.partitions(topic)

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Topics."""
        self._log.create_topics(topics)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Topics."""
        self._log.delete_topics(names)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Pruning."""
        self._log.delete_records(topic, partition, before)

    def close(self) -> None:
        """Nothing to free."""

    def _trouble(self) -> None:
        self._world.pause()
        if self._world.chance(self._world.weather.lost_before):
            raise LogError("simulated: Kafka did not answer")


class SimCursor:
    """Implements `log.Cursor`; returns a random prefix of what is there."""

    def __init__(self, world: World, inner: MemoryCursor) -> None:
        self._world, self._inner = world, inner

    @property
    def position(self) -> int:
        """See `log.Cursor`."""
        return self._inner.position

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`; a wait with a time-out ends only when something is there."""
        world = self._world
        world.pause()
        if world.chance(world.weather.lost_before):
            raise LogError("simulated: Kafka did not answer")
        few = world.random.choice((1, 2, limit))
        if timeout < 1 and world.random.random() >= 0.7:
            return []
        records = self._inner.poll(0, few)
        while not records and timeout >= 1:  # a caller that waits this long means to have it
            world.pause()
            records = self._inner.poll(0, few)
        if records:
            world.busy_at = world.steps
        return records

    def close(self) -> None:
        """Nothing to free."""


class World:
    """One seed's run."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.random, self.weather = random.Random(seed), weather
        self.clock = SimClock()
        self.log = MemoryLog(self.clock)
        self.scheduler = greenlet.getcurrent()
        self.steps = 0
        self.moments = 0
        """What a freeze is measured in: a step is one, or many while everybody waits."""
        self.busy_at = 0
        """The step at which somebody last wrote or read something."""
        self.faults: list[str] = []
        self.written: dict[tuple[str, int, int], int] = {}
        self.clocks_set: list[int] = []
        self.ended_on: dict[str, int | None] = {}
        self.calm = False
        self._copy: Copy | None = None
        self.histories = 0
        self.rules = weather.opened_rules
        self.federation = open_federation(
            self.log,
            version_0(weather),
            self.rules,
            weather.strategy,
            aggregator_partitions=weather.partitions,
            federation="simulate",
            adaptation=weather.adaptation,
            forest=trees.FOREST if weather.forest else None,
        )
        self.actors = [
            *(Actor(self, f"aggregator-{n}", self._aggregate(n)) for n in range(weather.aggregators)),
            *(Actor(self, f"client-{n}", self._take_part(n)) for n in range(weather.clients)),
            *(Actor(self, f"twin-{n}", self._take_part(n, twin=True)) for n in range(weather.twins)),
            *(Actor(self, f"mute-{n}", self._say_nothing(n)) for n in range(weather.mutes)),
            *(Actor(self, f"visitor-{n}", self._visit(n)) for n in range(weather.visitors)),
            *(Actor(self, f"operator-{n}", self._remove) for n in range(bool(weather.removals))),
        ]

    # ------------------------------------------------------------ the run
    def run(self, limit: int) -> None:
        """Until everyone is done; AssertionError where that takes more than `limit` port calls."""
        while not all(actor.done for actor in self.actors):
            self.steps += 1
            if self.steps > limit:
                waiting = [a.name for a in self.actors if not a.done]
                raise AssertionError(f"{waiting} are not done after {limit} port calls")
            self.calm = self.steps > limit // 2  # faults cease, so that whatever can end does
            self._let_time_pass()
            self._go_back()
            able = [a for a in self.actors if not a.done and (self.calm or a.frozen_until <= self.moments)]
            if not able:
                continue
            actor = self.random.choice(able)
            if self.chance(self.weather.freeze):
                actor.frozen_until = self.moments + self.random.randrange(50, 2000)
                self.faults.append(f"{self.steps} freeze {actor.name}")
                continue
            crash = self.chance(self.weather.crash)
            if crash:
                self.faults.append(f"{self.steps} crash {actor.name}")
            actor.resume(crash)

    def pause(self) -> None:
        """A port call: whoever comes next, comes next."""
        self.scheduler.switch()

    def chance(self, probability: float) -> bool:
        """Whether a fault happens."""
        return not self.calm and self.random.random() < probability

    def _let_time_pass(self) -> None:
        moments = LEAP if self.steps - self.busy_at > IDLE else 1
        self.moments += moments
        self.clock.ms += self.random.randrange(3) * moments
        if self.chance(self.weather.jump):
            self.clock.ms += self.random.choice((0, 5_000, 60_000))
            self.clock.ahead_ms = self.random.choice((-7_200_000, -5_000, 0, 5_000, 3_600_000))
            self.clocks_set.append(self.clock.ms)

    def _go_back(self) -> None:
        """Copies are taken as often as they are put back. Who has ended on what is gone is started once more."""
        if self.chance(self.weather.restored):
            self._copy = self.log.copy()
        if self._copy is not None and self.histories < HISTORIES and self.chance(self.weather.restored):
            self.log.restore(self._copy)
            self.histories += 1
            self.faults.append(f"{self.steps} restore an older copy")
            self.ended_on.clear()
            for actor in self.actors:
                actor.done = False

    # ------------------------------------------------------------ the processes
    def _aggregate(self, number: int) -> Callable[[SimLog, int], None]:
        def life(log: SimLog, start: int) -> None:
            while True:
                federation = self.make_federation(log, f"aggregator-{number}-{start}")
                try:
                    while federation.step(0.0):
                        pass
                    return
                except LogError:
                    self.pause()

        return life

    def make_federation(self, log: SimLog, writer: str) -> Federation:
        """The aggregator under test; planted bugs replace it."""
        return Federation(
            log, self.federation, clock=self.clock, writer=writer, retain=self.random.choice((0, 1 << 20))
        )

    def _take_part(self, number: int, twin: bool = False) -> Callable[[SimLog, int], None]:
        """A client; or its twin, another process under the same id with data of its own."""
        keep = MemoryKeep(ROOM)  # as its files

        def life(log: SimLog, start: int) -> None:
            while True:
                client = LightClient(
                    log,
                    self.federation,
                    f"client-{number}",
                    lambda tensors, seq: train(tensors, seq, number + 100 * twin, self.weather.forest),
                    examples=10 + number + 100 * twin,
                    incarnation=f"{start}-{self.steps}{'-twin' * twin}",
                    keep=keep,
                    site=self.weather.sites[number % len(self.weather.sites)],
                )
                try:
                    while client.step(0.0):
                        pass
                    head = client.machine.head
                    if client.machine.phase == "gone":  # and not because another one has taken over
                        self.ended_on[client.client] = head.base.version if head is not None else None
                    return
                except LogError:
                    self.pause()

        return life

    def _say_nothing(self, number: int) -> Callable[[SimLog, int], None]:
        def life(log: SimLog, start: int) -> None:
            self._say(log, self._joined(f"mute-{number}", str(start)))

        return life

    def _visit(self, number: int) -> Callable[[SimLog, int], None]:
        """Someone who joins and leaves, under a new name each time; killed in between, it is there and says nothing."""

        def life(log: SimLog, start: int) -> None:
            for visit in range(VISITS):
                client = f"visitor-{number}-{visit}"
                self._say(log, self._joined(client, str(start)))
                for _ in range(self.random.randrange(15)):
                    self.pause()
                self._say(log, Left(client=client, incarnation=str(start)))

        return life

    def _remove(self, log: SimLog, start: int) -> None:
        """An operator, who after a while puts one client out; again after a crash."""
        for _ in range(self.random.randrange(100)):
            self.pause()
        client = self.random.choice(self.weather.removals)
        order = Command(federation=self.federation, action="remove", id=f"remove-{start}", client=client)
        while True:
            try:
                log.append(control_topic(self.federation), [Outgoing(encode(order))])
                return
            except LogError:
                self.pause()

    def _joined(self, client: str, incarnation: str) -> Joined:
        return Joined(federation=self.federation, client=client, incarnation=incarnation, examples=5)

    def _say(self, log: SimLog, record: ClientRecord) -> None:
        """Until it is in the log, perhaps more than once."""
        while True:
            try:
                log.append(aggregator_topic(self.federation), [Outgoing(encode(record))])
                return
            except LogError:
                self.pause()


def version_0(weather: Weather) -> list[Tensor]:
    """Version 0."""
    return trees.start() if weather.forest else START


def train(tensors: Sequence[Tensor], base_seq: int, number: int, forest: bool = False) -> list[Tensor]:
    """The same client makes the same update of the same model."""
    if forest:
        return trees.growing(number)(tensors, base_seq)
    noise = np.random.default_rng([number, 0 if base_seq == 0 else 1])
    return [(t + noise.normal(0, 1, t.shape)).astype(t.dtype) if t.dtype.kind == "f" else t for t in tensors]
