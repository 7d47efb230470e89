"""The round's script of steps: the real one, and a toy of two steps through machine, chain, log and aggregator.

In the toy, whoever takes part in a round says `hello` first; `greeted` commits who did, and only they are asked for an
update. That is how secure aggregation's first steps look: what a record says of them binds every reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.client.voice import UpdateClaim
from mainstem.errors import LogError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import (
    ClientRecord,
    ControlRecord,
    Reason,
    Round,
    Rules,
    Selection,
    StepRecord,
    Update,
    codec,
)
from mainstem.protocol.messages.records import Recorded
from mainstem.protocol.weights import Tensor
from mainstem.rounds import Append, OpenRound, Seen, owed, step_of, steps, successor
from mainstem.rounds.steps import Step
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.machines import Driver, World
from tests.unit.test_rounds_federation import HandClock


class Hello(Recorded, frozen=True, kw_only=True, tag="hello"):
    """A client takes part in this round."""

    client: str
    incarnation: str


class Greeted(StepRecord, frozen=True, kw_only=True, tag="greeted"):
    """Who has said hello."""


def _admit(round_: OpenRound, seen: Seen) -> None:
    if getattr(seen.record, "client", None) in round_.answers:
        raise RefusedError(Reason.DUPLICATE, "it has said hello")


def _complete(round_: OpenRound) -> Append | None:
    greeted, awaited = round_.answers.keys(), round_.roster.awaited
    if not (awaited <= greeted or (round_.overdue and len(greeted) >= round_.quorum)):
        return None
    fields: dict[str, object] = {"round": round_.head.round + 1, "clients": tuple(sorted(greeted))}
    return Append(successor(round_.head, Greeted, fields))


GREET = Step("greet", Hello, Greeted, _admit, _complete)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round greets first."""
    monkeypatch.setattr(steps, "script_of", lambda rules: (GREET, steps.UPDATE))
    monkeypatch.setattr(codec, "_control", codec.Kinds(ControlRecord | Greeted))
    monkeypatch.setattr(codec, "_client", codec.Kinds(ClientRecord | Hello))


class PoliteClient(LightClient):
    """A client that asks the head what it owes."""

    def follow(self, head: Head) -> bool:
        """See `PoolClient`."""
        there = super().follow(head)
        if there and owed(head, self.client) is Hello:
            self.voice.send(Hello(client=self.client, incarnation=self.incarnation))
        return there


class Run:
    """A federation of two rounds and three clients in memory."""

    def __init__(self, **rules: object) -> None:
        self.clock = HandClock()
        self.log = MemoryLog(self.clock)
        start: list[Tensor] = [np.zeros(5, np.float32)]
        rules = {"rounds": 2, "min_clients": 3} | rules
        self.federation = open_federation(self.log, start, Rules(**rules))  # type: ignore[arg-type]
        self.control = ControlTopic(self.log, self.federation)
        self.clients = [self._client(number) for number in range(3)]

    def _client(self, number: int) -> PoliteClient:
        def train(tensors: Sequence[Tensor], base_seq: int) -> list[Tensor]:
            return [t + np.random.default_rng(number).normal(size=5).astype(np.float32) for t in tensors]

        return PoliteClient(self.log, self.federation, f"c{number}", train, examples=number + 1)

    def aggregator(self, writer: str = "w") -> Federation:
        """A worker that knows nothing yet."""
        return Federation(self.log, self.federation, clock=self.clock, writer=writer, retain=0)

    @property
    def head(self) -> Head:
        """The newest head."""
        self.control.sync()
        assert self.control.head is not None
        return self.control.head

    def chain(self) -> list[str]:
        """The types of its records."""
        entries = ControlTopic(self.log, self.federation).sync()
        return [str(type(entry.link.record).__struct_config__.tag) for entry in entries if entry.link is not None]

    def go(self, aggregator: Federation | None = None, turns: int = 60, clients: int = 3) -> str:
        """Turns of everyone, each with a new worker where none is given; the newest model's sha256."""
        for _ in range(turns):
            (aggregator or self.aggregator()).step(0)
            for client in self.clients[:clients]:
                if not client.gone:
                    client.step()
            self.clock.ms += 100
        return self.head.weights.sha256


def test_two_steps_make_a_round_and_each_is_a_record_of_the_chain(toy: None) -> None:
    run = Run()
    run.go(run.aggregator())
    assert run.chain() == ["opened", "greeted", "round", "greeted", "round", "finished"]
    assert [len(round_.accepted) for round_ in rounds_of(run.log, run.federation)] == [3, 3]


def test_an_aggregator_killed_at_any_time_leaves_the_same_chain(toy: None) -> None:
    """A new worker for every turn; and one killed between a step's record and reading it back."""
    undisturbed, disturbed = Run(), Run()
    expected = undisturbed.go(undisturbed.aggregator())
    assert disturbed.go() == expected and disturbed.chain() == undisturbed.chain()

    run = Run()
    dying = run.aggregator()
    right = dying._control.append

    def append(record: object) -> int:
        offset = right(record)  # type: ignore[arg-type]
        if isinstance(record, Greeted):
            raise LogError("killed")
        return offset

    dying._control.append = append  # type: ignore[method-assign]
    with pytest.raises(LogError, match="killed"):
        run.go(dying)
    assert run.chain() == ["opened", "greeted"]
    assert run.go(run.aggregator("successor")) == expected
    assert run.chain() == undisturbed.chain()


def test_a_step_s_record_binds_everybody(toy: None) -> None:
    """At its deadline the step ends with the quorum that answered; a rival's record of it changes nothing, and who is
    not in it is not asked, waited for or counted."""
    run = Run(quorum=2, deadline_ms=2_000)
    run.clients[2].follow = lambda head: True  # type: ignore[method-assign]
    aggregator = run.aggregator()
    before = run.head
    late = LightClient(run.log, run.federation, "c2", run.clients[2].train, examples=3)
    late.step()
    tensors = late.train([np.zeros(5, np.float32)], 0)
    late.voice.update(before.base, 0, exchange(before.opened), tensors, UpdateClaim(3))
    while not run.head.steps:
        run.go(aggregator, turns=1)
    assert run.head.asked == ("c0", "c1")
    fields: dict[str, object] = {"round": 1, "clients": ("c0", "c1", "c2")}
    run.control.append(successor(before, Greeted, fields))
    assert run.head.asked == ("c0", "c1") and run.control.head is not None
    assert owed(run.head, "c2") is None and owed(run.head, "c0") is Update
    late.voice.send(Hello(client="c2", incarnation="1"))
    run.go(aggregator, turns=20)
    first = rounds_of(run.log, run.federation)[0]
    assert [a.client for a in sorted(first.accepted, key=lambda a: a.client)] == ["c0", "c1"]
    assert [(r.client, r.reason) for r in first.refused] == [("c2", Reason.NOT_SELECTED)]


def test_what_a_later_step_takes_waits_for_its_step(toy: None) -> None:
    """An update before `greeted` is refused, with the step that the round is at; read again under it, it counts."""
    world = World.of(min_clients=1, rounds=1)
    driver = Driver(world, "w")
    world.join("a")
    world.update("a")
    world.send(Hello(client="a", incarnation="2"))  # type: ignore[arg-type]
    driver.settle()
    early, stranger = driver.machine.round.refusals.named
    assert (early.reason, early.detail) == (Reason.NOT_SELECTED, "round 1 is at its step 'greet'")
    assert stranger.reason == Reason.UNKNOWN_CLIENT
    world.send(Hello(client="a", incarnation="1"))  # type: ignore[arg-type]
    driver.settle()
    record = world.control.head().link.record
    assert isinstance(record, Round) and [a.client for a in record.accepted] == ["a"]


def test_a_head_says_which_step_it_is_and_what_a_client_owes(toy: None) -> None:
    run = Run(rounds=1)
    told: list[tuple[str | None, object]] = []
    aggregator = run.aggregator()
    for _ in range(40):
        step, what = step_of(run.head), owed(run.head, "c0")
        if not told or told[-1] != (step and step.name, what):
            told.append((step.name if step else None, what))
        run.go(aggregator, turns=1)
    assert told == [("greet", Hello), ("update", Update), (None, None)]


# ---------------------------------------------------------------- the real script
def test_whom_a_round_asks_is_its_first_step() -> None:
    """Until `selected` nobody owes anything; then those whom it names an update; in a round of all, everyone does."""
    everyone = World.of(min_clients=1).control.head()
    assert step_of(everyone) is steps.UPDATE and owed(everyone, "anyone") is Update
    world = World.of(min_clients=2, rounds=1, selection=Selection(name="uniform", params={"count": 1}))
    first = world.control.head()
    assert step_of(first) is steps.SELECT and owed(first, "a") is None
    world.join("a", "b")
    Driver(world, "w").settle()
    head = world.control.head()
    assert head.selected is not None and head.asked == head.selected.clients
    assert step_of(head) is steps.UPDATE
    assert {client: owed(head, client) for client in "ab"} == {
        client: Update if client in head.selected.clients else None for client in "ab"
    }
    (chosen,) = head.selected.clients
    world.update(chosen)
    Driver(world, "w").settle()
    final = world.control.head()
    assert final.final and step_of(final) is None and owed(final, chosen) is None and final.steps == ()


def test_a_step_said_again_takes_its_own_place(toy: None) -> None:
    """And voids what came after it: that was made with the others."""
    world = World.of(min_clients=1)
    head = world.control.head()
    for clients in (("a",), ("a", "b")):
        fields: dict[str, object] = {"round": 1, "clients": clients}
        world.control.append(successor(head, Greeted, fields))
        head = world.control.head()
        assert [record.clients for record in head.steps] == [clients]
