"""What people see between commits."""

from __future__ import annotations

from mainstem.protocol.messages import ClientFailed, Failure, Joined, Left, Progress, encode
from mainstem.protocol.topics import CONTROL_RECORD_LIMIT
from mainstem.rounds import RoundMachine
from mainstem.rounds.progress import FAILURES, LONGEST, SHOWN, Failures
from mainstem.rounds.progress import progress_of as told
from tests.support.machines import Driver, World
from tests.vectors.examples import FEDERATION


def progress_of(machine: RoundMachine, now_ms: int) -> Progress:
    """What is told of a machine whose clients have said nothing of their end."""
    return told(machine, now_ms, Failures())


def test_members_and_their_states() -> None:
    """Each member's part in the open round, and what was refused."""
    world = World.of(min_clients=3, rounds=2, heartbeat_timeout_ms=1000)
    world.join("a", "b", "c")
    world.pass_time(5000)
    world.update("a")
    world.join("d", "e")
    world.send(Left(client="e", incarnation="1"))
    world.send(None)
    driver = Driver(world, "w")
    driver.settle()
    said = progress_of(driver.machine, world.now_ms)
    assert {m.client: m.state for m in said.members} == {
        "a": "accepted",
        "b": "silent",
        "c": "silent",
        "d": "waiting",
        "e": "left",
    }
    assert {m.client for m in said.members if m.awaited} == {"b", "c"}
    assert (said.phase, said.round, said.needed) == ("open", 1, 3)
    assert said.refused_counts == {"malformed": 1}
    assert {m.client: m.state for m in progress_of(driver.machine, 1500).members}["b"] == "training"


def test_whom_it_waits_for_before_round_one() -> None:
    """While clients are missing, `needed` is how many must join."""
    driver = Driver(World.of(min_clients=4, quorum=2), "w")
    driver.settle()
    said = progress_of(driver.machine, 0)
    assert (said.phase, said.needed, said.deadline_ms, said.members) == ("waiting", 4, None, ())


def test_signs_of_life_alone_make_no_new_record() -> None:
    """Within ten seconds nothing is different."""
    world = World.of(min_clients=2)
    world.now_ms = 20_000
    world.join("a")
    driver = Driver(world, "w")
    driver.settle()
    before = progress_of(driver.machine, 20_000)
    world.now_ms = 29_000
    world.join("a")
    driver.settle()
    assert progress_of(driver.machine, 29_000) == before


def test_a_crowd_fits_into_one_record() -> None:
    """Beyond the shown members and refusals the record grows no more."""
    world = World.of(min_clients=1, max_clients=10**6)
    for i in range(SHOWN + 200):
        world.join(f"{i:064d}")
    for _ in range(300):
        world.update("nobody" * 10)
    driver = Driver(world, "w")
    driver.settle()
    said = progress_of(driver.machine, world.now_ms)
    assert len(said.members) == SHOWN
    assert sum(said.refused_counts.values()) == 300
    assert len(encode(said)) < CONTROL_RECORD_LIMIT


def test_why_clients_gave_up() -> None:
    """A member's sentence stands at the member, anybody else's beside; it goes when the client comes back."""
    world = World.of(min_clients=2, rounds=1)
    world.join("a", "b")
    world.send(ClientFailed(client="a", incarnation="1", detail="the loss became nan"))
    world.send(ClientFailed(client="new", incarnation="1", detail="DATA_TOPIC has 5 records"))
    world.join("b", incarnation="2")
    world.send(ClientFailed(client="b", incarnation="1", detail="another process has joined as b"))
    driver, failures = Driver(world, "w"), Failures()
    driver.settle()
    for _ in range(2):  # what is read again changes nothing
        for seen in world.inbox:
            failures.hear(seen.offset, seen.record, driver.machine.round.roster)
    said = told(driver.machine, world.now_ms, failures)
    assert {m.client: (m.state, m.detail) for m in said.members} == {
        "a": ("failed", "the loss became nan"),
        "b": ("training", ""),
    }
    assert said.failures == (
        Failure(client="new", detail="DATA_TOPIC has 5 records"),
        Failure(client="b", detail="another process has joined as b"),
    )
    world.join("a", "new", incarnation="2")
    driver.settle()
    for seen in world.inbox:
        failures.hear(seen.offset, seen.record, driver.machine.round.roster)
    said = told(driver.machine, world.now_ms, failures)
    assert [m.detail for m in said.members] == ["", "", ""] and [f.client for f in said.failures] == ["b"]


def test_a_crowd_that_gives_up_neither_swells_the_record_nor_silences_a_member() -> None:
    """Of strangers only the newest are told, and each in a few words, whatever they wrote."""
    world = World.of(min_clients=2, rounds=1, max_clients=2000)
    world.send(Joined(federation=FEDERATION, client="site", incarnation="1", examples=5))
    world.send(ClientFailed(client="site", incarnation="1", detail="no data"))
    for number in range(3 * FAILURES):
        world.send(ClientFailed(client=f"{number:064d}", incarnation="1", detail="\0" * 100_000))
    world.join(*(f"m{number:063d}" for number in range(SHOWN)))
    driver, failures = Driver(world, "w"), Failures()
    driver.settle()
    for seen in world.inbox:
        failures.hear(seen.offset, seen.record, driver.machine.round.roster)
    said = told(driver.machine, world.now_ms, failures)
    assert [f.client for f in said.failures] == [f"{n:064d}" for n in range(2 * FAILURES + 1, 3 * FAILURES)]
    assert {len(f.detail) for f in said.failures} == {LONGEST}
    assert failures.of(driver.machine.round.roster.members[-1]) == "no data"
    assert driver.machine.round.refusals.named == [] and len(encode(said)) < CONTROL_RECORD_LIMIT


def test_what_clients_leave_out_is_told_with_them() -> None:
    """The note of `joined` stands beside its client, before and after a round; a crowd of long ones stays small."""
    world = World.of(min_clients=1, rounds=2)
    note = "2 of 502 records are left out: 2 because the label is 77"
    world.send(Joined(federation=FEDERATION, client="a", incarnation="1", examples=5, note=note))
    driver = Driver(world, "w")
    driver.settle()
    assert [member.detail for member in progress_of(driver.machine, 0).members] == [note]
    crowd = World.of(min_clients=SHOWN + 1)
    for number in range(SHOWN):
        crowd.send(
            Joined(federation=FEDERATION, client=f"c{number}", incarnation="1", examples=5, note="\N{SNOWMAN}" * 400)
        )
    driver = Driver(crowd, "w")
    driver.settle()
    said = progress_of(driver.machine, 0)
    assert said.members[0].detail and not said.members[-1].detail and len(encode(said)) < CONTROL_RECORD_LIMIT // 2
