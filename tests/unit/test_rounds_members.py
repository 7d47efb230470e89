"""Who stays a member, who is waited for, and what a commit keeps of those who are gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mainstem.client.machine import superseded
from mainstem.protocol.messages import (
    Changed,
    ClientFailed,
    Command,
    Failed,
    Heartbeat,
    Joined,
    Left,
    Member,
    Metrics,
    Reason,
    Rejected,
    Round,
    Rules,
    Selection,
    Snapshot,
    encode,
)
from mainstem.rounds.membership import LABELS_BYTES, NOTES_BYTES, REMEMBERED_BYTES, Roster
from tests.support.machines import Driver, World, check_history
from tests.vectors.examples import FEDERATION

CROWD = 20_000
RECORD = 4_000
"""Bytes of a round's record with a member or two."""


def joined(client: str, incarnation: str = "1", **said: Any) -> Joined:
    """A client's first record."""
    return Joined(federation=FEDERATION, client=client, incarnation=incarnation, examples=5, **said)


def settled(world: World) -> Driver:
    """A fresh aggregator that has done all there is to do."""
    driver = Driver(world, "w")
    driver.settle()
    check_history(world)
    return driver


def newest(world: World, kind: type[Any] = Round) -> Any:
    """The newest record of that kind in the chain."""
    return [e.record for e in world.control.reader().sync() if e.link is not None and isinstance(e.record, kind)][-1]


def tick(world: World, ms: int) -> Driver:
    """Log time passes."""
    world.pass_time(ms)
    return settled(world)


def order(world: World, action: str, **fields: Any) -> int:
    """A person's command; its offset."""
    number = len(world.control.values)
    world.control.append(Command(federation=FEDERATION, action=action, id=str(number), **fields), world.now_ms)
    return number


# ---------------------------------------------------------------- those who are gone
def test_a_crowd_that_joins_and_leaves_is_forgotten() -> None:
    """Whoever comes and goes, the next records are as small as if they had never been there."""
    world = World.of(min_clients=1, rounds=3)
    world.join("a")
    for number in range(CROWD):
        client = f"visitor-{number}"
        world.send(joined(client, note="n" * 400, labels={str(label): 1 for label in range(10)}))
        end = (
            ClientFailed(client=client, incarnation="1", detail="x")
            if number % 2
            else Left(client=client, incarnation="1")
        )
        world.send(end)
    world.update("a")
    driver = Driver(world, "w")
    driver.settle()
    record = newest(world)
    assert [member.client for member in record.snapshot.members] == ["a"]
    assert len(encode(record)) < RECORD
    assert len(driver.machine.round.roster.members) == 1


@pytest.mark.parametrize("mode", ["buffered", "async"])
def test_who_left_is_known_while_its_update_might_come_again(mode: str) -> None:
    """An update that counted does not count again, also where its client left and came back; then it is forgotten."""
    world = World.of(min_clients=1, rounds=9, mode=mode, buffer=1, max_staleness=2)
    world.join("a", "b")
    first = world.control.head()
    world.update("a", first)
    settled(world)
    world.send(Left(client="a", incarnation="1"))
    world.update("b")
    settled(world)
    assert [(m.client, m.status) for m in newest(world).snapshot.members] == [("a", "left"), ("b", "active")]
    world.send(joined("a", "2"))
    world.update("a", first)
    assert settled(world).machine.round.refusals.named[-1].reason == Reason.DUPLICATE
    world.send(Left(client="a", incarnation="2"))
    world.update("b")
    settled(world)
    assert [member.client for member in newest(world).snapshot.members] == ["b"]
    assert newest(world).snapshot.forgotten == first.base.seq
    world.send(joined("a", "3"))
    world.update("a", first)
    assert settled(world).machine.round.refusals.named[-1].reason == Reason.STALE


def test_who_is_forgotten_cannot_be_counted_twice_after_a_rollback() -> None:
    """A rollback brings bases within reach again from which a client that was forgotten has counted."""
    world = World.of(min_clients=1, rounds=9, mode="buffered", buffer=1, max_staleness=1)
    world.join("a", "b")
    first = world.control.head()
    world.update("a", first)
    settled(world)
    world.send(Left(client="a", incarnation="1"))
    for _ in range(3):
        world.update("b")
        settled(world)
    assert [member.client for member in newest(world).snapshot.members] == ["b"]
    order(world, "rollback", version=0)
    settled(world)
    assert world.control.head().base.version == 0
    world.send(joined("a", "2"))
    world.update("a", first)
    assert settled(world).machine.round.refusals.named[-1].reason == Reason.DUPLICATE


def test_the_largest_snapshot() -> None:
    """At most twice `max_clients` members of at most 3,000 bytes each, and what all of them say together."""
    largest = 40
    rules = Rules(max_clients=largest, selection=Selection(name="label_coverage", params={"count": 1}))
    roster = Roster((), rules)
    evil = "\x01"  # six bytes of JSON each
    labels = {f"{number:03}" + evil * 125: (1 << 53) - 1 for number in range(1000)}
    for client in range(3 * largest):
        name = f"{client:064}"
        for number in range(10):
            said = joined(name, evil * 127 + str(number), note=evil * 400, labels=labels if client < 2 else {})
            roster.join(said, (1 << 53) - 1, (1 << 53) - 1)
        if client >= largest:
            roster.remove(name)
    for client in range(largest):
        member = roster.get(f"{client:064}")
        assert member is not None
        assert sum(len(msgspec.json.encode(name)) for name in member.superseded) <= REMEMBERED_BYTES
    snapshot = roster.snapshot(1, 1, None)
    assert len(snapshot.members) == 2 * largest
    told = sum(len(msgspec.json.encode(member.labels)) for member in snapshot.members)
    assert told <= LABELS_BYTES // largest * 2 + 1000
    assert len(msgspec.json.encode(snapshot)) < 2 * largest * 3000 + told + NOTES_BYTES


def test_labels_are_kept_where_the_selection_asks_for_them() -> None:
    """A commit of a run that asks everyone says nothing of labels."""
    everyone = Roster()
    everyone.join(joined("a", labels={"0": 3}), 0, 0)
    chosen = Roster((), Rules(selection=Selection(name="label_coverage", params={"count": 1})))
    chosen.join(joined("a", labels={"0": 3}), 0, 0)
    assert [m.labels for roster in (everyone, chosen) for m in roster.members] == [{}, {"0": 3}]


def test_evaluations_of_a_crowd_are_bounded() -> None:
    """Those who join after the last round, tell an evaluation and leave do not swell the last record."""
    world = World.of(min_clients=1, max_clients=3, rounds=1)
    world.join("a")
    world.update("a")
    settled(world)
    measured = Metrics(examples=1, values={"loss": 0.5})
    for number in range(50):
        world.send(joined(f"visitor-{number}"))
        world.send(Left(client=f"visitor-{number}", incarnation="1", version=1, evaluation=measured))
    driver = settled(world)
    assert len(driver.machine.round.evaluations) == 3


# ---------------------------------------------------------------- those who say nothing
def deadlines(world: World, number: int) -> Driver:
    """So many rounds of two clients that answer, each as long as the round is open."""
    for _ in range(number):
        world.update("a")
        world.update("b")
        driver = tick(world, 100)
    return driver


def test_a_member_that_misses_deadlines_is_waited_for_no_longer() -> None:
    """After `missed_limit` of them rounds close on the others' answers; its next word brings it back at once."""
    world = World.of(min_clients=3, quorum=2, rounds=9, deadline_ms=100)
    world.join("a", "b", "mute")
    deadlines(world, 3)
    assert newest(world).closed.by == "deadline" and newest(world).version == 3
    assert [m.missed for m in newest(world).snapshot.members] == [0, 0, 3]
    driver = settled(world)
    assert driver.machine.round.roster.awaited == {"a", "b"}
    world.update("a")
    world.update("b")
    settled(world)
    assert newest(world).closed.by == "all" and newest(world).version == 4
    world.update("a")
    world.send(Heartbeat(client="mute", incarnation="1", phase="training"))
    world.update("b")
    driver = settled(world)
    assert newest(world).version == 4 and driver.machine.round.roster.awaited == {"mute"}
    tick(world, 100)
    assert newest(world).closed.by == "deadline" and newest(world).snapshot.members[2].missed == 1


@pytest.mark.parametrize("word", ["joined", "update", "heartbeat"])
def test_any_word_starts_the_count_anew(word: str) -> None:
    """A member is given up only after deadlines in a row; an update that is refused is a word too."""
    world = World.of(min_clients=3, quorum=2, rounds=9, deadline_ms=100, missed_limit=2)
    world.join("a", "b", "slow")
    deadlines(world, 1)
    if word == "joined":
        world.join("slow")
    elif word == "update":
        world.update("slow", number=1)
    else:
        world.send(Heartbeat(client="slow", incarnation="1", phase="training"))
    deadlines(world, 1)
    assert newest(world).snapshot.members[2].missed == 1
    assert "slow" in settled(world).machine.round.roster.awaited


def test_no_limit_waits_for_ever() -> None:
    """`missed_limit` 0: every round waits for its deadline."""
    world = World.of(min_clients=3, quorum=2, rounds=9, deadline_ms=100, missed_limit=0)
    world.join("a", "b", "mute")
    deadlines(world, 6)
    assert newest(world).snapshot.members[2].missed == 6 and settled(world).machine.round.roster.awaited == {
        "a",
        "b",
        "mute",
    }


def test_a_round_below_its_quorum_counts_its_deadlines_and_still_says_who_is_missing() -> None:
    """Each extension is one, however many deadlines passed at once while nobody could write."""
    world = World.of(min_clients=2, rounds=1, deadline_ms=100, wait_limit_ms=5000)
    world.join("a", "b")
    world.update("a")
    tick(world, 1000)
    driver = tick(world, 100)
    assert [m.missed for m in driver.machine.round.roster.members] == [
        0,
        2,
    ] and driver.machine.round.roster.awaited == {"b"}
    tick(world, 100)
    tick(world, 5000)
    assert newest(world, Failed).detail.endswith("with 1 of 2 updates; missing: b")


def test_the_end_does_not_wait_for_the_evaluation_of_a_mute_member() -> None:
    """Whom no round waits for is not waited for after the last one either."""
    world = World.of(min_clients=2, quorum=1, rounds=2, deadline_ms=100, missed_limit=1, final_wait_ms=10**9)
    world.join("a", "mute")
    world.update("a")
    tick(world, 100)
    world.update("a")
    settled(world)
    world.send(Left(client="a", incarnation="1", version=2, evaluation=Metrics(examples=1)))
    settled(world)
    assert world.control.head().state == "finished"


def test_a_choice_leaves_out_whoever_missed_deadlines() -> None:
    """They are asked again once they say something, or where the others are fewer than the quorum."""
    everyone = Selection(name="uniform", params={"fraction": 1.0})
    world = World.of(min_clients=3, quorum=1, rounds=9, deadline_ms=100, missed_limit=1, selection=everyone)
    world.join("a", "b", "mute")
    settled(world)
    world.update("a")
    world.update("b")
    tick(world, 100)
    assert asked(world) == ("a", "b"), "it does not ask the mute one"
    world.send(Heartbeat(client="mute", incarnation="1", phase="waiting"))
    world.update("a")
    world.update("b")
    settled(world)
    assert asked(world) == ("a", "b", "mute")
    for client in ("a", "b"):
        world.send(Left(client=client, incarnation="1"))
    tick(world, 100)
    assert asked(world) == ("a", "b", "mute"), "nobody else is there"


def asked(world: World) -> tuple[str, ...]:
    """Whom the open round asks."""
    selected = world.control.head().selected
    assert selected is not None
    return selected.clients


# ---------------------------------------------------------------- those whom an operator removes
def test_a_removed_member_is_gone_and_its_process_stays_out() -> None:
    """It is not waited for, what it sent counts, what it sends is refused; a new process of it may join."""
    world = World.of(min_clients=3, quorum=2, rounds=9, deadline_ms=10**6)
    world.join("a", "b", "mute")
    world.update("a")
    world.update("b")
    settled(world)
    assert world.control.head().round == 0
    world.now_ms += 10
    order(world, "remove", client="mute", by="op")
    driver = Driver(world, "w")
    driver.settle()
    assert newest(world, Changed).removed == "mute"
    assert not driver.machine.round.time.started, "it wants a tick"
    tick(world, 1)
    record = newest(world)
    assert record.closed.by == "all" and record.version == 1
    assert [(m.client, m.status) for m in record.snapshot.members][2] == ("mute", "removed")
    assert world.control.head().removals == ()
    assert "removed from the run by an operator" in (superseded(world.control.head(), "mute", "1") or "")
    assert superseded(world.control.head(), "mute", "2") is None
    world.send(joined("mute", "1"))
    world.update("mute", incarnation="1")
    driver = settled(world)
    assert [r.reason for r in driver.machine.round.refusals.named] == [Reason.REMOVED] * 2
    assert "start the client anew" in driver.machine.round.refusals.named[0].detail
    world.send(joined("mute", "2"))
    driver = settled(world)
    assert driver.machine.round.roster.active == {"a", "b", "mute"}
    world.send(joined("mute", "1"))
    assert settled(world).machine.round.refusals.named[-1].reason == Reason.SUPERSEDED


def test_what_a_removed_member_had_sent_counts() -> None:
    """Until round time reaches the removal it takes part like any other."""
    world = World.of(min_clients=2, rounds=9)
    world.join("a", "b")
    world.update("b")
    settled(world)
    world.now_ms += 10
    order(world, "remove", client="b")
    settled(world)
    world.update("a")
    settled(world)
    assert {a.client for a in newest(world).accepted} == {"a", "b"}


def test_a_removal_holds_at_the_latest_with_the_commit() -> None:
    """A round that is over before any tick: the next snapshot has it all the same."""
    world = World.of(min_clients=2, rounds=9)
    world.join("a", "b")
    order(world, "remove", client="b")
    settled(world)
    assert world.control.head().removals == (("b", 1),)
    world.update("a")
    world.update("b")
    settled(world)
    assert {a.client for a in newest(world).accepted} == {"a", "b"}
    assert [m.status for m in newest(world).snapshot.members] == ["active", "removed"]
    assert world.control.head().removals == ()


def test_a_removal_takes_place_where_it_did_whatever_follows_it() -> None:
    """The tick that showed it stays where it is: a process that joined after it is in, also under later heads."""
    world = World.of(min_clients=3, quorum=3, rounds=9)
    world.join("a", "b", "c")
    order(world, "remove", client="b")
    settled(world)
    tick(world, 1)
    world.join("b", incarnation="2")
    order(world, "deadline", deadline_ms=5_000)
    tick(world, 1)
    assert settled(world).machine.round.roster.active == {"a", "b", "c"}


def test_removals_that_cannot_be() -> None:
    """A removal names its client, and a run that is over has none; whoever is no member changes nothing."""
    world = World.of(min_clients=1, rounds=9)
    world.join("a")
    order(world, "remove")
    order(world, "remove", client="nobody")
    driver = tick(world, 1)
    rejected = [e.record.detail for e in world.control.reader().sync() if isinstance(e.record, Rejected)]
    assert rejected == ["a removal names the client that is to go"]
    assert [m.client for m in driver.machine.round.roster.members] == ["a"]
    order(world, "stop")
    order(world, "remove", client="a")
    settled(world)
    rejected = [e.record.detail for e in world.control.reader().sync() if isinstance(e.record, Rejected)]
    assert rejected[1:] == ["the run is stopped"]


def test_of_the_removed_the_newest_are_remembered() -> None:
    """So that no number of removals makes a record grow."""
    rules = Rules(max_clients=3)
    members = [Member(client=c, incarnation="1", joined=0, status="removed", last_ms=n) for n, c in enumerate("fedcba")]
    assert [m.client for m in Roster(members, rules).snapshot(1, 1, None).members] == ["a", "b", "c"]
    assert Roster((), rules, 7).snapshot(1, 1, None) == Snapshot(position=1, time_ms=1, forgotten=7)
