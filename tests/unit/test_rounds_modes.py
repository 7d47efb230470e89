"""The round machine in its other modes: buffers, targets, and rounds that ask some of the clients."""

from __future__ import annotations

from typing import Any

import pytest

from mainstem.protocol.chain import Head
from mainstem.protocol.messages import (
    Command,
    Failed,
    Heartbeat,
    Left,
    Lifecycle,
    Reason,
    Report,
    Resumed,
    Round,
    Selected,
    Selection,
)
from mainstem.rounds import RoundMachine
from mainstem.rounds.modes import polynomial
from tests.support.chains import lifecycle, weights
from tests.support.machines import Driver, World, state_of
from tests.vectors.examples import FEDERATION


def run(world: World) -> list[Lifecycle]:
    """The chain after a fresh aggregator has done all there is to do."""
    Driver(world, "w").settle()
    return lifecycle(world.control.reader().sync())


def machine_of(world: World) -> RoundMachine:
    """A fresh aggregator that has done all there is to do."""
    driver = Driver(world, "w")
    driver.settle()
    return driver.machine


def counted(record: object) -> list[tuple[str, int, float]]:
    """(client, version of its base, coefficient) of what counts in a round."""
    assert isinstance(record, Round)
    return sorted((a.client, a.base.version, a.coefficient) for a in record.accepted)


# ---------------------------------------------------------------- buffered
def buffered(**rules: Any) -> World:
    """Three clients, who have joined, and a buffer of two."""
    fields = {"mode": "buffered", "buffer": 2, "max_staleness": 1, "min_clients": 3, "rounds": 9}
    world = World.of(**(fields | rules))
    world.join("a", "b", "c")
    return world


def test_a_buffer_closes_and_late_updates_count_less() -> None:
    """The third client's update from version 0 counts in round 2, with its recorded weight."""
    world = buffered()
    first = world.control.head()
    world.update("a")
    world.update("b")
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "buffer"
    world.update("c", first)
    assert len(run(world)) == 2
    world.update("a")
    assert counted(run(world)[-1]) == [("a", 1, 5.0), ("c", 0, 5.0 * polynomial(1, 0.5))]


def test_one_update_for_each_client_and_base_for_ever() -> None:
    """The snapshot remembers the newest base that counted: repeats and what is older are refused, also after joins."""
    world = buffered(max_staleness=9)
    first = world.control.head()
    world.update("a")
    world.update("b")
    run(world)
    world.join("a", incarnation="2")
    world.update("a", first, incarnation="2")
    world.update("b")
    world.update("b", first)
    machine = machine_of(world)
    assert [(r.client, r.reason) for r in machine.round.refusals.named] == [
        ("a", Reason.DUPLICATE),
        ("b", Reason.DUPLICATE),
    ]
    assert [accepted.client for accepted, _ in machine.round.accepted] == ["b"]


def test_too_old_a_base_is_stale() -> None:
    """Beyond max_staleness commits an update is refused with the number."""
    world = buffered()
    first = world.control.head()
    for _ in range(2):
        world.update("a")
        world.update("b")
        run(world)
    world.update("c", first)
    (refused,) = machine_of(world).round.refusals.named
    assert refused.reason == Reason.STALE and "2 commits before the head; max_staleness is 1" in refused.detail


def test_a_client_may_count_twice_in_a_round_from_two_bases() -> None:
    """A late update and a fresh one of the same client are two."""
    world = buffered()
    first = world.control.head()
    world.update("a")
    world.update("b")
    run(world)
    world.update("c", first, weights=weights("e" * 64, 0, "c"))
    world.update("c", weights=weights("f" * 64, 0, "c"))
    assert [(c, v) for c, v, _ in counted(run(world)[-1])] == [("c", 0), ("c", 1)]


def test_a_deadline_with_a_quorum_closes_a_buffer() -> None:
    """Below the buffer's size, once the quorum is there."""
    world = buffered(buffer=3, quorum=1)
    world.update("a")
    assert len(run(world)) == 1
    world.pass_time(600_000)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "deadline" and len(round_.accepted) == 1


def test_a_buffer_that_nobody_can_fill_closes_when_all_have_answered() -> None:
    """Three clients do not wait for a tenth update."""
    world = buffered(buffer=10)
    for client in "abc":
        world.update(client)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "all"


def test_async_makes_a_version_of_every_update() -> None:
    """One update, one version; a restored aggregator is in the same state."""
    world = buffered(mode="async", max_staleness=2)
    first = world.control.head()
    for client in "abc":
        world.update(client, first)
    chain = run(world)
    assert [counted(r) for r in chain[1:]] == [[(c, 0, 5.0 * polynomial(i, 0.5))] for i, c in enumerate("abc")]
    driver = Driver(world, "w")
    driver.settle()
    assert state_of(driver.restored().machine) == state_of(driver.machine)


# ---------------------------------------------------------------- target
def test_a_target_closes_and_stragglers_are_told() -> None:
    """Two of three suffice; the third is refused as stale with a sentence."""
    world = World.of(min_clients=3, target=2, rounds=9)
    world.join("a", "b", "c")
    first = world.control.head()
    world.update("a")
    world.update("b")
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "target"
    world.update("c", first)
    (refused,) = machine_of(world).round.refusals.named
    assert (refused.client, refused.reason) == (
        "c",
        Reason.STALE,
    ) and "its round closed before it came" in refused.detail


# ---------------------------------------------------------------- selection
def selecting(name: str = "uniform", **rules: Any) -> World:
    """Four clients, who have joined; two are asked."""
    fields = {"min_clients": 4, "rounds": 9, "selection": Selection(name=name, params={"count": 2})}
    world = World.of(**(fields | rules))
    world.join("a", "b", "c", "d")
    return world


def asked(world: World) -> Head:
    """The head, once the round's clients are chosen."""
    run(world)
    head = world.control.head()
    assert head.selected is not None
    return head


def test_the_choice_stands_in_the_log() -> None:
    """A record names the clients of each round; two of them close it, and others' updates are refused."""
    world = selecting()
    for number in (1, 2, 3):
        head = asked(world)
        assert head.selected is not None and isinstance(head.link.record, Selected)
        assert (head.selected.round, len(head.selected.clients), head.selected.quorum) == (number, 2, 2)
        others = set("abcd") - set(head.selected.clients)
        for client in (*others, *head.selected.clients):
            world.update(client, head)
        round_ = run(world)[-2]
        assert isinstance(round_, Round) and round_.closed.by == "all"
        assert {a.client for a in round_.accepted} == set(head.selected.clients)
        assert {(r.client, r.reason) for r in round_.refused} == {(c, Reason.NOT_SELECTED) for c in others}


def test_nobody_counts_before_the_choice() -> None:
    """An update that came before anyone was asked is judged again once the choice is known, by every reader alike."""
    world = World.of(min_clients=2, rounds=1, selection=Selection(name="uniform", params={"count": 1}))
    world.join("a")
    world.update("a")
    assert [r.reason for r in machine_of(world).round.refusals.named] == [Reason.NOT_SELECTED]
    world.join("b")
    head = asked(world)
    assert head.selected is not None
    if head.selected.clients == ("a",):
        assert isinstance(run(world)[-1], Round)
    else:
        world.update("b", head)
        assert {a.client for a in _round(run(world)[-1]).accepted} == {"b"}


def test_a_choice_waits_until_it_can_meet_the_quorum() -> None:
    """With a quorum above min_clients nobody is asked before so many are there: a smaller choice could never commit."""
    world = World.of(min_clients=1, quorum=2, selection=Selection(name="uniform", params={"count": 1}))
    world.join("a")
    assert run(world)[1:] == []
    world.join("b")
    chosen = asked(world).selected
    assert chosen is not None and set(chosen.clients) == {"a", "b"}


def _round(record: object) -> Round:
    assert isinstance(record, Round)
    return record


def test_at_a_deadline_below_quorum_others_are_asked_in_addition() -> None:
    """Who was asked before may still answer; the number that suffices stays."""
    world = selecting()
    first = asked(world).selected
    assert first is not None
    world.update(first.clients[0])
    world.pass_time(600_000)
    more = asked(world).selected
    assert more is not None and more.clients[:2] == first.clients and set(more.clients) == set("abcd")
    assert more.quorum == 2
    world.update(more.clients[2])
    assert not isinstance(run(world)[-1], Round)
    world.pass_time(600_000)
    round_ = [r for r in run(world) if isinstance(r, Round)][-1]
    assert {a.client for a in round_.accepted} == {first.clients[0], more.clients[2]}


def test_a_run_whose_selected_clients_never_answer_ends() -> None:
    """When there is nobody else to ask, the wait limit fails it."""
    world = selecting(wait_limit_ms=1_000_000)
    for _ in range(4):
        world.pass_time(600_000)
        chain = run(world)
    assert [type(r) for r in chain[1:]] == [Selected, Selected, Failed]


def test_the_silent_are_asked_last() -> None:
    """A client without a sign of life for the heartbeat's time-out is not asked while enough others are there."""
    world = World.of(
        min_clients=5, rounds=9, heartbeat_timeout_ms=1000, selection=Selection(name="uniform", params={"count": 2})
    )
    world.join("a", "b", "c", "d")
    world.now_ms += 5000
    for client in "bd":
        world.send(Heartbeat(client=client, incarnation="1", phase="waiting"))
    world.join("e")
    world.send(Left(client="e", incarnation="1"))
    selected = asked(world).selected
    assert selected is not None and set(selected.clients) <= {"b", "d", "e"}


def test_a_resumed_round_asks_those_who_are_there() -> None:
    """The one whom the round asked has left and another took the place: the resumed run asks that one, and ends."""
    world = World.of(
        min_clients=1,
        max_clients=1,
        rounds=1,
        deadline_ms=100,
        below_quorum="fail",
        wait_limit_ms=1,
        selection=Selection(name="uniform", params={"count": 1}),
    )
    world.join("b")
    assert asked(world).selected is not None
    world.send(Left(client="b", incarnation="1"))
    world.join("c")
    world.pass_time(100)
    assert isinstance(run(world)[-1], Failed)
    world.now_ms += 10
    resume(world)
    assert isinstance(run(world)[-1], Resumed), "nobody chooses by what was before the resume"
    world.pass_time(1)
    head = asked(world)
    assert head.selected is not None and (head.selected.clients, head.selected.quorum) == (("b", "c"), 1)
    world.update("c", head)
    assert {a.client for a in _round(run(world)[-1]).accepted} == {"c"}


def test_a_resumed_round_keeps_its_choice_where_it_can_end() -> None:
    """Who was asked and is there again is enough; what had been accepted of one who left since counts."""
    world = selecting()
    first = asked(world).selected
    assert first is not None
    world.update(first.clients[0])
    run(world)
    world.control.append(Command(federation=FEDERATION, action="stop", id="1"), world.now_ms)
    run(world)
    world.send(Left(client=first.clients[0], incarnation="1"))
    world.join("e")
    resume(world)
    world.pass_time(1)
    assert asked(world).selected == first
    world.update(first.clients[1])
    assert {a.client for a in _round(run(world)[-2]).accepted} == set(first.clients)


def test_a_resumed_round_asks_in_the_place_of_the_silent() -> None:
    """One who is a member but has given no sign of life lately does not hold the resumed round up."""
    world = selecting(below_quorum="fail", wait_limit_ms=1, heartbeat_timeout_ms=1000, deadline_ms=5000)
    first = asked(world).selected
    assert first is not None
    alive = sorted(set("abcd") - {first.clients[1]})
    world.pass_time(5000)
    assert isinstance(run(world)[-1], Failed)
    for client in alive:
        world.send(Heartbeat(client=client, incarnation="1", phase="waiting"))
    resume(world)
    world.pass_time(1)
    more = asked(world).selected
    assert more is not None and len(more.clients) == 3 and more.clients[:2] == first.clients and more.quorum == 2


def resume(world: World) -> None:
    """A person resumes the run, and the aggregator does so."""
    world.control.append(Command(federation=FEDERATION, action="resume", id="r"), world.now_ms)
    run(world)


def test_speed_comes_from_the_reports_of_earlier_rounds() -> None:
    """Everyone is measured once, then the fastest are asked."""
    world = selecting("speed")
    seconds = {"a": 9.0, "b": 1.0, "c": 2.0, "d": 7.0}
    for _ in range(3):
        head = asked(world)
        assert head.selected is not None
        for client in head.selected.clients:
            world.update(client, head, report=Report(train_seconds=seconds[client]))
    final = asked(world)
    assert final.selected is not None and final.selected.clients == ("b", "c")
    assert {m.client: m.seconds for m in final.snapshot.members} == seconds


def test_who_was_asked_in_vain_counts_as_slow() -> None:
    """A client that beats but never answers is not asked for ever as one that was not measured yet."""
    world = selecting("speed", min_clients=3, quorum=1, heartbeat_timeout_ms=10**9)
    seconds = {"a": 2.0, "b": 1.0, "c": 3.0}
    for _ in range(4):
        head = asked(world)
        assert head.selected is not None
        for client in head.selected.clients:
            if client != "d":
                world.update(client, head, report=Report(train_seconds=seconds[client]))
        world.pass_time(600_000)
        run(world)
    final = asked(world)
    assert final.selected is not None and final.selected.clients == ("a", "b")
    assert {m.client: m.seconds for m in final.snapshot.members} == seconds | {"d": 600.0}


@pytest.mark.parametrize("name", ["uniform", "data_size", "label_coverage", "speed"])
def test_a_successor_follows_the_choice(name: str) -> None:
    """Two aggregators that race to choose give one choice, and each is in the state that the log says."""
    world = selecting(name)
    one, two = Driver(world, "one"), Driver(world, "two")
    for driver in (one, two):
        driver.sync()
    while one.step() or two.step():
        pass
    one.settle()
    two.settle()
    chain = lifecycle(world.control.reader().sync())
    assert [type(r) for r in chain[1:]] == [Selected]
    assert one.machine.head == two.machine.head and one.machine.round.accepted == two.machine.round.accepted == []
