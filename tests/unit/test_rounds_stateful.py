"""The round machine against everything at once: clients, clocks, commands, a competitor, restarts, illegal events."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mainstem.errors import ProtocolError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import (
    Base,
    ClientFailed,
    Command,
    Heartbeat,
    Joined,
    Left,
    Metrics,
    Selection,
    Tick,
)
from mainstem.rounds import READING, Checked, Event, Followed, Phase, Reduced, Seen, Unreducible
from tests.support.chains import weights
from tests.support.machines import BAD, Driver, World, check_history, state_of
from tests.vectors.examples import FEDERATION

EXAMPLES = int(os.environ.get("MAINSTEM_STATEFUL_EXAMPLES", "120"))

clients = st.sampled_from(["a", "b", "c", "d"])
incarnations = st.sampled_from(["1", "2"])


class Rounds(RuleBasedStateMachine):
    """Two aggregators run one federation; every client may do anything at any time."""

    @initialize(
        rounds=st.integers(1, 4),
        min_clients=st.integers(1, 3),
        extra=st.integers(0, 1),
        quorum=st.none() | st.integers(1, 3),
        below=st.sampled_from(["extend", "fail"]),
        limit=st.sampled_from([1, 500, 10_000]),
        missed=st.sampled_from([0, 1, 2]),
        mode=st.sampled_from(
            [
                {},
                {"target": 1},
                {"target": 2},
                {"mode": "buffered", "buffer": 2, "max_staleness": 1},
                {"mode": "buffered", "buffer": 3, "max_staleness": 2},
                {"mode": "async", "max_staleness": 2},
                {"selection": Selection(name="uniform", params={"count": 1})},
                {"selection": Selection(name="speed", params={"fraction": 0.6})},
            ]
        ),
    )
    def open(
        self,
        rounds: int,
        min_clients: int,
        extra: int,
        quorum: int | None,
        below: str,
        limit: int,
        missed: int,
        mode: dict[str, Any],
    ) -> None:
        """A federation with any rules."""
        self.world = World.of(
            rounds=rounds,
            min_clients=min_clients,
            max_clients=min_clients + extra,
            quorum=quorum,
            deadline_ms=100,
            below_quorum=below,
            wait_limit_ms=limit,
            missed_limit=missed,
            final_wait_ms=50,
            max_examples=1000,
            **(mode if (quorum or 0) <= mode.get("target", 9) else {}),
        )
        self.drivers = [Driver(self.world, "one"), Driver(self.world, "two")]
        for driver in self.drivers:
            driver.sync()
        self.commands = 0
        self.truth = self.world.control.reader()

    # ------------------------------------------------------------ the clients
    @rule(
        client=clients,
        incarnation=incarnations,
        foreign=st.booleans() | st.just(False),
        examples=st.just(5) | st.sampled_from([1, 5]),
        growing=st.just(False) | st.booleans(),
    )
    def join(self, client: str, incarnation: str, foreign: bool, examples: int, growing: bool) -> None:
        """Joins and rejoins, takes over or tries in vain, now and then in another federation."""
        federation = "zzzzzzzz" if foreign else FEDERATION
        joined = Joined(
            federation=federation, client=client, incarnation=incarnation, examples=examples, growing=growing
        )
        self.world.send(joined)

    @rule(client=clients)
    def good(self, client: str) -> None:
        """An update from the head's model: counts, or is a duplicate."""
        self.world.update(client)

    @rule(client=clients, back=st.integers(1, 3))
    def late(self, client: str, back: int) -> None:
        """An update from an ancestor of the head."""
        lineage = self.world.control.head().lineage
        manifest = weights(f"{back}" * 64, 0, client)
        self.world.update(client, base=lineage[max(0, len(lineage) - 1 - back)], weights=manifest)

    @rule(
        client=clients,
        base=st.builds(Base, seq=st.integers(0, 9), version=st.integers(0, 5)),
        number=st.integers(0, 1),
        examples=st.sampled_from([0, 1, 5, 1000, 1001]),
        bad=st.booleans(),
        other=st.booleans(),
        honest=st.booleans(),
        incarnation=incarnations,
    )
    def odd(
        self,
        client: str,
        base: Base,
        number: int,
        examples: int,
        bad: bool,
        other: bool,
        honest: bool,
        incarnation: str,
    ) -> None:
        """An update that is perhaps stale, of an unknown base, the second one, broken, of another model or process."""
        manifest = weights("e" * 64, 0, client, BAD if bad else "u")
        if other:
            manifest = type(manifest)(
                writer=client, update="u", chunks=manifest.chunks, nbytes=24, sha256=manifest.sha256
            )
        base = self.world.control.head().base if honest else base
        said: dict[str, Any] = {"number": number, "examples": examples, "incarnation": incarnation}
        self.world.update(client, base=base, weights=manifest, **said)

    @rule(client=clients, incarnation=incarnations, how=st.sampled_from(["left", "failed", "alive", "measured"]))
    def say(self, client: str, incarnation: str, how: str) -> None:
        """Signs of life and of its end, of this or an earlier incarnation."""
        if how == "failed":
            self.world.send(ClientFailed(client=client, incarnation=incarnation, detail="no data"))
        elif how == "alive":
            self.world.send(Heartbeat(client=client, incarnation=incarnation, phase="training"))
        else:
            metrics = Metrics(examples=3, values={"accuracy": 0.5})
            version = self.world.control.head().version
            self.world.send(
                Left(
                    client=client,
                    incarnation=incarnation,
                    version=version if how == "measured" else None,
                    evaluation=metrics if how == "measured" else None,
                )
            )

    @rule(joining=st.sets(clients), answering=st.sets(clients), ms=st.sampled_from([99, 100, 700]))
    def straggle(self, joining: set[str], answering: set[str], ms: int) -> None:
        """Some join, some answer, then the deadline comes: the others are too late."""
        self.world.join(*sorted(joining))
        self.drivers[0].settle()
        for client in sorted(answering):
            self.world.update(client)
        self.world.pass_time(ms)

    @rule(leaving=st.sets(clients), joining=st.sets(clients))
    def take_turns(self, leaving: set[str], joining: set[str]) -> None:
        """Some go for good, others come in their place."""
        self.drivers[0].settle()
        members = {member.client: member for member in self.drivers[0].machine.round.roster.members}
        for client in sorted(leaving & set(members)):
            self.world.send(Left(client=client, incarnation=members[client].incarnation))
        self.world.join(*sorted(joining - leaving))

    @rule()
    def noise(self) -> None:
        """A record that nobody can read."""
        self.world.send(None)

    # ------------------------------------------------------------ time and people
    @rule(ms=st.sampled_from([1, 10, 60, 100, 101, 250, 600]), tick=st.booleans())
    def time_passes(self, ms: int, tick: bool) -> None:
        """Log time goes on; perhaps only a tick shows it."""
        if tick:
            self.world.pass_time(ms)
        else:
            self.world.now_ms += ms

    @rule(
        action=st.sampled_from(["stop", "resume", "resume", "resume", "deadline", "remove", "remove", "dance"]),
        deadline=st.none() | st.sampled_from([1, 1000, 1001]),
        client=st.none() | clients,
    )
    def command(self, action: str, deadline: int | None, client: str | None = None) -> None:
        """A person asks for something, possible or not."""
        self.commands += 1
        record = Command(
            federation=FEDERATION, action=action, id=str(self.commands), deadline_ms=deadline, client=client
        )
        self.world.control.append(record, self.world.now_ms)

    # ------------------------------------------------------------ the aggregators
    @rule(which=st.integers(0, 1), steps=st.integers(1, 12))
    def work(self, which: int, steps: int) -> None:
        """One of them goes on for a while, perhaps from an old head: then its commits change nothing."""
        for _ in range(steps):
            if not self.drivers[which].step():
                break

    @rule(which=st.integers(0, 1))
    def look(self, which: int) -> None:
        """One of them reads the control topic."""
        self.drivers[which].sync()

    @rule(which=st.integers(0, 1))
    def settle(self, which: int) -> None:
        """One of them does all that there is to do."""
        self.drivers[which].settle()

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        """One of them is killed, effects in hand are lost; its successor starts from nothing but the log."""
        self.drivers[which] = Driver(self.world, self.drivers[which].machine._writer)
        self.drivers[which].sync()

    @rule(which=st.integers(0, 1))
    def restore(self, which: int) -> None:
        """A successor that has read the same records is in the same state, and decides the same of the next one."""
        running = self.drivers[which]
        running.sync()
        while running.pending:
            running.effect()
        restored = running.restored()
        assert state_of(restored.machine) == state_of(running.machine)
        assert not restored.pending
        if running.next is not None and running.machine.phase in READING:
            twin = copy.deepcopy(running.machine)
            assert restored.machine.handle(running.next) == twin.handle(running.next)
            assert state_of(restored.machine) == state_of(twin)

    # ------------------------------------------------------------ what is not allowed
    @rule(which=st.integers(0, 1), offset=st.integers(0, 60))
    def illegal(self, which: int, offset: int) -> None:
        """Events that the state does not allow raise ProtocolError and change nothing."""
        machine = self.drivers[which].machine
        events: list[Event] = []
        if machine.head is not None:
            events.append(Followed(machine.head))
            events.append(Followed(self.first_head()))
        if machine.phase not in READING or offset < machine.position:
            events.append(Seen(offset, 10**9, Tick(writer="x")))
        if machine.phase is not Phase.CHECKING:
            events += [Checked(offset, None), Checked(offset, RefusedError("shape", "no"))]
        else:
            events.append(Checked(machine.position, None))
        if machine.phase is not Phase.REDUCING:
            events += [Reduced(weights(), (), {}), Unreducible("no")]
        for event in events:
            before = state_of(machine)
            with pytest.raises(ProtocolError):
                machine.handle(event)
            assert state_of(machine) == before

    def first_head(self) -> Head:
        """The head right after `opened`."""
        reader = self.world.control.reader()
        reader.sync(1)
        assert reader.head is not None
        return reader.head

    # ------------------------------------------------------------ what always holds
    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def history_never_changes(self) -> None:
        """The chain only grows, by one sequence number at a time."""
        before = self.truth.head
        links = [entry.link for entry in self.truth.sync() if entry.link is not None]
        for link in links:
            assert before is None or link.record.seq == before.link.record.seq + 1
            before = self.truth.head if link is links[-1] else None

    def teardown(self) -> None:
        """All rounds are what the oracle says; and the run can still be brought to its end."""
        if not hasattr(self, "world"):
            return
        check_history(self.world)
        self.finish()
        check_history(self.world)

    def finish(self) -> None:
        """With clients that all do their work, the run ends."""
        rules = self.world.control.head().rules
        names = sorted({m.client for m in self.world.control.head().snapshot.members if m.status == "active"})
        for attempt in range(40):
            for driver in self.drivers:
                driver.settle()
            head = self.world.control.head()
            if head.state == "finished":
                return
            if head.ended:
                self.command("resume", None)
                continue
            machine = self.drivers[0].machine
            active = sorted(machine.round.roster.active)
            names = (active + [c for c in "abcd" if c not in active])[: rules.max_clients]
            if (rules.quorum or 0) > rules.max_clients:
                return  # nobody can meet it
            self.world.start()  # whoever was removed is gone before they come
            for name in names:
                self.world.join(name, incarnation=f"new-{attempt}")
            for name in names:
                self.world.update(name)
            self.world.pass_time(60)
        raise AssertionError(f"the run does not end: {state_of(self.drivers[0].machine)}")


TestRounds = Rounds.TestCase
TestRounds.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
