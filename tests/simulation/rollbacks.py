"""A simulated world in which a person rolls back at a random time, and what holds of its runs."""

from __future__ import annotations

from collections.abc import Callable

from mainstem.errors import LogError
from mainstem.lineage import read_history, verify
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Command, Rejected, RolledBack, Round, encode
from mainstem.protocol.topics import control_topic
from tests.simulation.weathers import Weather
from tests.simulation.world import Actor, SimLog, World, thrift

LIMIT = 120_000


class Launched(World):
    """A world in which a launcher starts whoever left while rounds are left, and a person rolls back once."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(seed, weather)
        self.wait = self.random.randrange(1, 800)
        for actor in self.actors:
            actor.life = self._again(actor)
        self.actors.append(Actor(self, "person", self._person))

    def over(self) -> bool:
        """Whether the command is answered and the run finished, as the log itself tells."""
        control = ControlTopic(self.log, self.federation)
        answered = any(isinstance(entry.record, RolledBack | Rejected) for entry in control.sync())
        return answered and control.head is not None and control.head.state == "finished"

    def _again(self, actor: Actor) -> Callable[[SimLog, int], None]:
        once = actor.life

        def life(log: SimLog, start: int) -> None:
            while True:
                once(log, start)
                if self.over():
                    return
                self.pause()

        return life

    def _person(self, log: SimLog, start: int) -> None:
        """Waits for two versions and some time more, then asks for version 1, once: whatever fails is tried again."""
        while self.steps < self.wait:
            self.pause()
        order = Command(federation=self.federation, action="rollback", id="once", version=1)
        while True:
            try:
                control = ControlTopic(log, self.federation)
                entries = control.sync()
                if any(isinstance(entry.record, Command) for entry in entries):
                    return
                if control.head is not None and control.head.version >= 2:
                    log.append(control_topic(self.federation), [Outgoing(encode(order))])
            except LogError:
                pass
            self.pause()


def run(seed: int, weather: Weather) -> Launched:
    """One seed's run, checked: versions are numbered once, the lineage leaves out what was abandoned, no abandoned
    update counts, every version is proved, and the run ends with all its rounds."""
    with thrift():
        world = Launched(seed, weather)
        world.run(LIMIT)
        check(world)
    return world


def rolled_back(world: World) -> bool:
    """Whether the person's command came in time."""
    return any(isinstance(link.record, RolledBack) for link in read_history(world.log, world.federation).links)


def check(world: World) -> None:
    """One chain, whatever happened."""
    history, last = read_history(world.log, world.federation), world.weather.rounds
    rounds = [link.record for link in history.links if isinstance(link.record, Round)]
    assert [r.version for r in rounds] == list(range(1, len(rounds) + 1)), "one winner a version"
    assert (history.head.state, history.head.round) == ("finished", last)
    abandoned = {r.seq for r in rounds} - {base.seq for base in history.head.lineage}
    for record in rounds:
        if record.seq not in abandoned:
            assert not abandoned & {item.base.seq for item in record.accepted}, "an abandoned update counts"
    rolled = sum(isinstance(link.record, RolledBack) for link in history.links)
    assert rolled <= 1 and len(rounds) == last + len(abandoned)
    proofs = list(verify(world.log, world.federation))
    assert {proof.state for proof in proofs} == {"proved"}, str(proofs)
