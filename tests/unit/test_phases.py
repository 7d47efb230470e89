"""The table of phases is what the machine does: every phase with every event, and every way that the table names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from mainstem.errors import ProtocolError
from mainstem.protocol.messages import (
    Changed,
    Command,
    Heartbeat,
    Left,
    Lifecycle,
    Member,
    Metrics,
    Rejected,
    Resumed,
    Rules,
    Snapshot,
    Stopped,
    Tick,
)
from mainstem.rounds import (
    Check,
    Checked,
    Close,
    Commanded,
    Event,
    Followed,
    Phase,
    Reduced,
    Seen,
    Unreducible,
    successor,
)
from mainstem.rounds.phases import TABLE
from tests.support.chains import round_after, weights
from tests.support.machines import Driver, WatchedMachine, World, state_of, weighed
from tests.vectors.examples import FEDERATION

EVENTS = (Followed, Commanded, Rejected, Seen, Checked, Reduced, Unreducible)
MEMBER = Member(client="a", incarnation="1", joined=0, examples=5)


# ---------------------------------------------------------------- a machine in each phase
def until(driver: Driver, phase: Phase) -> Driver:
    """Go on until that phase."""
    driver.sync()
    while driver.machine.phase is not phase:
        assert driver.step(), driver.machine.phase
    return driver


def at(phase: Phase, **rules: Any) -> Driver:
    """An aggregator of a run of one round in that phase, which `a` alone brings there."""
    world = World.of(**({"rounds": 1, "min_clients": 1} | rules))
    driver = Driver(world, "w")
    if phase is Phase.UNBORN:
        return driver
    if phase is not Phase.WAITING:
        world.join("a")
    if phase in (Phase.CHECKING, Phase.REDUCING, Phase.COMMITTING, Phase.FINAL):
        world.update("a")
    if phase is Phase.ENDED:
        driver.sync()
        follow(world, Stopped, command=1)
    driver = until(driver, phase)
    if phase is Phase.OPEN:
        driver.settle()
    return driver


def follow(world: World, kind: type[Lifecycle], **fields: object) -> None:
    """Somebody's record takes its place."""
    world.control.append(successor(world.control.head(), kind, fields), world.now_ms)


def head_for(world: World, phase: Phase) -> None:
    """Records that lead whoever follows them to that phase."""
    final = phase in (Phase.FINAL, Phase.COMMITTING)
    follow(world, Resumed, command=1)
    rules = Rules(rounds=1 if final else 99, min_clients=99 if phase is Phase.WAITING else 1)
    follow(world, Changed, command=2, rules=rules)
    if phase is Phase.ENDED:
        follow(world, Stopped, command=3)
    elif phase is not Phase.WAITING:
        members = () if phase is Phase.COMMITTING else (MEMBER,)
        snapshot = Snapshot(position=0, time_ms=0, members=members)
        world.control.append(msgspec.structs.replace(round_after(world.control.head()), snapshot=snapshot))


def command(action: str, offset: int = 90) -> Commanded:
    """A person's wish."""
    return Commanded(offset, Command(federation=FEDERATION, action=action, id=action))


def event_for(driver: Driver, kind: type[Event]) -> Event:
    """An event of that type that would be taken where its type is."""
    if kind is Followed:
        head_for(driver.world, Phase.WAITING)
        return Followed(driver.world.control.head())
    plans = [effect.plan for effect in driver.pending if isinstance(effect, Close)]
    checks = [effect.offset for effect in driver.pending if isinstance(effect, Check)]
    plans = [effect.plan for effect in driver.pending if isinstance(effect, Close)]
    some: Mapping[type[Event], Event] = {
        Commanded: command("dance"),
        Rejected: Rejected(federation=FEDERATION, command=90, detail="no"),
        Seen: Seen(50, 0, Tick(writer="x")),
        Checked: Checked(checks[0] if checks else 0, None),
        Reduced: Reduced(weights(), weighed(driver.machine.head, plans[0]) if plans else (), {}),
        Unreducible: Unreducible("no"),
    }
    return some[kind]


# ---------------------------------------------------------------- the tests
def test_the_table_names_every_phase_and_event() -> None:
    """And nowhere a phase that nobody can leave."""
    assert set(TABLE) == set(Phase)
    assert {kind for row in TABLE.values() for kind in row} == set(EVENTS)
    assert all(Followed in row and all(row.values()) for row in TABLE.values())


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("phase", Phase)
def test_a_phase_takes_its_events_and_no_others(phase: Phase, kind: type[Event]) -> None:
    """What the table does not name is a ProtocolError that changes nothing; what it names leads where it says."""
    driver = at(phase)
    machine = driver.machine
    event = event_for(driver, kind)
    if kind in TABLE[phase]:
        machine.handle(event)
        assert machine.phase in TABLE[phase][kind]
        return
    before = state_of(machine)
    with pytest.raises(ProtocolError, match=f"{kind.__name__} is not allowed while {phase}"):
        machine.handle(event)
    assert state_of(machine) == before


def go_every_way() -> None:
    """Runs that go every way of the table."""
    reading = (Phase.WAITING, Phase.OPEN, Phase.FINAL)
    for phase in Phase:
        for target in (*reading, Phase.ENDED, Phase.COMMITTING):
            followed(at(phase), target)
        for kind in (Commanded, Rejected):
            driver = at(phase)
            driver.machine.handle(event_for(driver, kind))
    for phase in reading:
        at(phase).machine.handle(command("stop"))
        seen(at(phase))
    at(Phase.ENDED).machine.handle(command("resume"))
    early(target=1)
    early(target=1, joining=("b",))
    checked(at(Phase.CHECKING, target=2, quorum=2))
    checked(at(Phase.CHECKING), command("stop"))
    late(at(Phase.WAITING, wait_limit_ms=1))
    late(at(Phase.OPEN, below_quorum="fail", deadline_ms=1))
    left_behind()
    measured(at(Phase.FINAL))
    at(Phase.REDUCING).machine.handle(Unreducible("no"))


def followed(driver: Driver, target: Phase) -> None:
    """A new head."""
    head_for(driver.world, target)
    driver.sync()
    assert driver.machine.phase is target


def seen(driver: Driver) -> None:
    """A sign of life of nobody."""
    driver.world.send(Heartbeat(client="zz", incarnation="1", phase="waiting"))
    driver.settle()


def early(joining: tuple[str, ...] = (), **rules: Any) -> None:
    """An update counts while the round waits for another client; with that one the round is complete."""
    driver = at(Phase.WAITING, min_clients=2, quorum=1, **rules)
    driver.world.join("a")
    driver.world.update("a")
    driver.settle()
    assert driver.machine.phase is Phase.WAITING
    driver.world.join(*joining)
    driver.settle()


def checked(driver: Driver, *meanwhile: Event) -> None:
    """An update is read, and what came meanwhile has its turn."""
    for event in meanwhile:
        driver.machine.handle(event)
    driver.effect()


def late(driver: Driver) -> None:
    """Nobody comes in time."""
    driver.world.pass_time(2_000)
    driver.settle()


def left_behind() -> None:
    """Of two the second one leaves: the first one's update is the round's."""
    driver = at(Phase.WAITING, min_clients=2, quorum=1)
    driver.world.join("a", "b")
    driver.world.update("a")
    driver.world.send(Left(client="b", incarnation="1"))
    driver.settle()


def measured(driver: Driver) -> None:
    """The last client says what it measured of the last model."""
    version, metrics = driver.world.control.head().version, Metrics(examples=1, values={"loss": 0.5})
    driver.world.send(Left(client="a", incarnation="1", version=version, evaluation=metrics))
    driver.settle()


def test_the_table_promises_nothing_that_does_not_happen() -> None:
    """Every way from phase to phase that it names is gone by some run."""
    WatchedMachine.taken.clear()
    go_every_way()
    named = {(phase, kind, to) for phase, row in TABLE.items() for kind, targets in row.items() for to in targets}
    assert WatchedMachine.taken == named
