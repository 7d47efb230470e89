"""Simulated runs in which a person rolls back at a random time: one chain goes on, and every version is proved."""

from __future__ import annotations

import os
from collections.abc import Callable

from mainstem.control import ControlTopic
from mainstem.errors import LogError
from mainstem.lineage import read_history, verify
from mainstem.messages import Command, Rejected, RolledBack, Round, encode
from mainstem.ports import Outgoing
from mainstem.topics import control_topic
from tests.simulation.world import Actor, SimLog, Weather, World

RUNS = int(os.environ.get("MAINSTEM_SIMULATED_RUNS", "150")) // 10 + 1
FIRST = int(os.environ.get("MAINSTEM_SIMULATED_SEED", "0"))
LIMIT = 120_000


class Launched(World):
    """A world in which a launcher starts whoever left while rounds are left, and a person rolls back once."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(seed, weather)
        self.wait = self.random.randrange(1, 3000)
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


def test_a_rollback_at_any_time_leaves_one_chain() -> None:
    """Crashes, freezes and rivals around it: versions are numbered once, the lineage leaves out what was abandoned,
    no abandoned update counts, and the run ends with all its rounds."""
    back = 0
    for seed in range(FIRST, FIRST + RUNS):
        world = Launched(seed, Weather(rounds=4))
        world.run(LIMIT)
        history = read_history(world.log, world.federation)
        rounds = [link.record for link in history.links if isinstance(link.record, Round)]
        assert [r.version for r in rounds] == list(range(1, len(rounds) + 1)), f"seed {seed}: {world.faults}"
        head = history.head
        assert (head.state, head.round) == ("finished", 4), f"seed {seed}: {world.faults}"
        abandoned = {r.seq for r in rounds} - {base.seq for base in head.lineage}
        for record in rounds:
            if record.seq not in abandoned:
                assert not abandoned & {item.base.seq for item in record.accepted}, f"seed {seed}: {world.faults}"
        rolled = [link for link in history.links if isinstance(link.record, RolledBack)]
        assert len(rolled) <= 1 and len(rounds) == 4 + len(abandoned)
        back += len(rolled)
        proofs = list(verify(world.log, world.federation))
        assert {proof.state for proof in proofs} == {"proved"}, f"seed {seed}: {proofs}"
    assert back > RUNS // 2, "most runs were really rolled back"
