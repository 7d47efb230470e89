"""Whose records count in a run that names its sites: by key, by time, by client id, and as its rules change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.protocol.messages import (
    Admission,
    Changed,
    ClientFailed,
    Heartbeat,
    Joined,
    Left,
    Reason,
    Rejected,
    Round,
    SiteKey,
    Update,
)
from tests.support.machines import World, check_history
from tests.support.signers import enrolled, key_of
from tests.unit.test_rounds_members import joined, newest, order, settled, tick
from tests.vectors.examples import FEDERATION

A, B, STRANGER = (key_of(name).public for name in ("A", "B", "stranger"))


def world_of(admission: Admission, **rules: Any) -> World:
    """An enrolled federation that has just been opened."""
    return World.of(**({"min_clients": 2, "rounds": 3} | rules), admission=admission)


def update(world: World, client: str, signer: str, **changes: Any) -> None:
    """A client's update, signed with that key."""
    world.update(client, **changes)
    seen = world.inbox.pop()
    world.send(seen.record, signer)  # type: ignore[arg-type]


def reasons(world: World) -> list[tuple[str | None, str]]:
    """What a fresh aggregator refuses: whose, and why."""
    return [(refusal.client, refusal.reason) for refusal in settled(world).machine.round.refusals.named]


def words(world: World) -> str:
    """The sentence of its last refusal."""
    return settled(world).machine.round.refusals.named[-1].detail


# ---------------------------------------------------------------- who counts
def test_clients_of_the_sites_it_admits_make_the_rounds() -> None:
    world = world_of(enrolled("A", "B"))
    world.send(joined("a"), A)
    world.send(joined("b"), B)
    for client, key in (("a", A), ("b", B)):
        update(world, client, key)
    settled(world)
    record = newest(world)
    assert {accepted.client for accepted in record.accepted} == {"a", "b"}
    assert [(member.client, member.site) for member in record.snapshot.members] == [("a", "A"), ("b", "B")]


@pytest.mark.parametrize("signer", ["", STRANGER])
@pytest.mark.parametrize(
    "record",
    [
        joined("c"),
        Heartbeat(client="a", incarnation="1", phase="waiting"),
        ClientFailed(client="a", incarnation="1", detail="x"),
        Left(client="a", incarnation="1"),
    ],
)
def test_what_no_site_of_the_run_has_signed_counts_for_nothing(record: Any, signer: str) -> None:
    world = world_of(enrolled("A"), min_clients=1)
    world.send(joined("a"), A)
    world.send(record, signer)
    driver = settled(world)
    assert [refusal.reason for refusal in driver.machine.round.refusals.named] == [Reason.UNAUTHORISED]
    assert driver.machine.round.roster.active == {"a"}
    assert "MAINSTEM_SITE_KEY_FILE" in words(world)


def test_nobody_speaks_for_another_site_s_client() -> None:
    world = world_of(enrolled("A", "B"))
    world.send(joined("a"), A)
    world.send(joined("b"), B)
    world.send(joined("a", "2"), B)
    world.send(Left(client="a", incarnation="1"), B)
    update(world, "a", B)
    update(world, "b", B)
    assert reasons(world) == [("a", Reason.UNAUTHORISED)] * 3
    assert words(world) == "the client id is one of site A, and site B has signed this record"
    update(world, "a", A, incarnation="1")
    settled(world)
    assert {accepted.client for accepted in newest(world).accepted} == {"a", "b"}
    assert [refused.reason for refused in newest(world).refused] == [Reason.UNAUTHORISED] * 3


def test_a_key_that_has_expired() -> None:
    """By the log's time; who it was waited for is then gone, so that the round goes on."""
    world = world_of(enrolled("A", "B", B=3_000), deadline_ms=600_000, quorum=1)
    world.send(joined("a"), A)
    world.send(joined("b"), B)
    update(world, "a", A)
    assert len(settled(world).machine.round.accepted) == 1
    world.pass_time(5_000)
    driver = settled(world)
    assert [member.status for member in newest(world, Round).snapshot.members] == ["active", "removed"]
    world.send(Heartbeat(client="b", incarnation="1", phase="waiting"), B)
    assert words(world) == (
        "the key of site B was valid until 1970-01-01 00:00:03 UTC: a person must admit the site anew"
    )
    assert driver.machine.head is not None and driver.machine.head.round == 1


# ---------------------------------------------------------------- as the rules change
def test_a_site_is_revoked_in_mid_run_and_admitted_again() -> None:
    world = world_of(enrolled("A", "B"), min_clients=1)
    world.send(joined("a"), A)
    world.send(joined("b"), B)
    update(world, "b", B)
    order(world, "admission", admission=enrolled("A"))
    driver = settled(world)
    assert newest(world, Changed).rules.admission == enrolled("A")
    assert driver.machine.round.roster.active == {"a"}
    assert not driver.machine.round.accepted  # what no round has counted yet is judged by the rules as they are
    world.start()
    update(world, "a", A)
    settled(world)
    assert [accepted.client for accepted in newest(world).accepted] == ["a"]
    assert {refused.reason for refused in newest(world).refused} == {Reason.UNAUTHORISED}
    order(world, "admission", admission=enrolled("A", "B"))
    settled(world)
    world.send(joined("b", "2"), B)
    assert settled(world).machine.round.roster.active == {"a", "b"}


def test_an_open_run_becomes_one_of_its_sites() -> None:
    world = World.of(min_clients=1, rounds=3)
    world.join("a")
    update(world, "a", "")
    settled(world)
    order(world, "admission", admission=enrolled("A"))
    driver = settled(world)
    assert not driver.machine.round.roster.active
    world.send(joined("a"), A)
    world.send(joined("a", "2"), A)  # the process that began without a key is not taken back
    driver = settled(world)
    assert [refusal.reason for refusal in driver.machine.round.refusals.named] == [Reason.REMOVED]
    assert driver.machine.round.roster.active == {"a"}


def test_an_admission_that_no_run_can_have() -> None:
    world = World.of(min_clients=1)
    twice = Admission(mode="enrolled", sites=(SiteKey(name="A", key=A), SiteKey(name="B", key=A)))
    none = Admission(mode="enrolled", sites=(SiteKey(name="A", key="x" * 43),))
    for admission, detail in (
        (None, "an admission says which sites' clients may take part"),
        (twice, "sites A and B have the same key: each makes its own"),
        (none, f"site A: '{'x' * 43}' is no public key: one has 43 characters of base64url"),
    ):
        order(world, "admission", admission=admission)
        settled(world)
        said = [e.record for e in world.control.reader().sync() if isinstance(e.record, Rejected)]
        assert said[-1].detail == detail


# ---------------------------------------------------------------- whatever is written
@settings(max_examples=150, deadline=None)
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(["joined", "update", "left", "heartbeat", "failed", "tick"]),
            st.sampled_from(["a", "b"]),
            st.sampled_from([A, B, STRANGER, ""]),
        ),
        max_size=25,
    ),
    revoked_at=st.none() | st.integers(0, 25),
)
def test_only_who_holds_a_client_s_key_moves_it(said: list[tuple[str, str, str]], revoked_at: int | None) -> None:
    """`a` is A's and `b` is B's: of what others write in their names nothing is left, in whatever order it comes."""
    owner = {"a": A, "b": B}
    world, honest = (world_of(enrolled("A", "B"), rounds=50, min_clients=1) for _ in range(2))
    for each in (world, honest):
        each.send(joined("a"), A)
        each.send(joined("b"), B)
    gone: set[str] = set()
    for number, (kind, client, signer) in enumerate(said):
        if client in gone and signer != owner[client]:
            continue  # a commit forgets who has left, and then its id is free
        if kind in ("left", "failed") and signer == owner[client]:
            gone.add(client)
        if client == "b" and signer == A and revoked_at is not None:
            continue  # the id of a site that is no longer admitted is free: A may take it
        for each in (world, honest):
            if number == revoked_at:
                settled(each)
                order(each, "admission", admission=enrolled("A"))
                settled(each)
                each.start()
            record = {
                "joined": joined(client),
                "left": Left(client=client, incarnation="1"),
                "heartbeat": Heartbeat(client=client, incarnation="1", phase="waiting"),
                "failed": ClientFailed(client=client, incarnation="1", detail="x"),
            }.get(kind)
            theirs = signer == owner[client]
            if kind == "tick":
                each.start()
            elif each is honest and not theirs:
                each.send(Heartbeat(client="nobody", incarnation="1", phase="waiting"), A)  # to keep the offsets
            elif kind == "update":
                update(each, client, signer)
            elif record is not None:
                each.send(record, signer)  # type: ignore[arg-type]
    drivers = [settled(each) for each in (world, honest)]
    found = [driver.machine for driver in drivers]
    assert found[0].round.roster.active == found[1].round.roster.active
    assert [a for a, _ in found[0].round.accepted] == [a for a, _ in found[1].round.accepted]
    heads = [machine.head for machine in found]
    assert heads[0] is not None and heads[1] is not None
    assert (heads[0].round, heads[0].weights) == (heads[1].round, heads[1].weights)
    for each in (world, honest):
        check_history(each)


def test_an_open_run_asks_nobody() -> None:
    world = World.of(min_clients=1)
    world.send(Joined(federation=FEDERATION, client="a", incarnation="1", examples=5))
    world.update("a")
    settled(world)
    assert newest(world).snapshot.members[0].site == ""
    assert isinstance(world.inbox[1].record, Update)
    tick(world, 1000)
