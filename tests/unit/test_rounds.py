"""The round machine's rules, one by one, on a log in memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainstem.errors import ConfigError, ProtocolError
from mainstem.protocol.messages import (
    Base,
    Changed,
    ChunkRun,
    ClientFailed,
    Command,
    Failed,
    Finished,
    Heartbeat,
    Joined,
    Left,
    Metrics,
    Reason,
    Rejected,
    Report,
    Resumed,
    Round,
    Rules,
    Stopped,
    StrategyChoice,
    Tick,
)
from mainstem.rounds import (
    Checked,
    Commanded,
    Event,
    Followed,
    Phase,
    Reduced,
    Reject,
    RoundMachine,
    Seen,
    Unreducible,
    successor,
    weighted,
)
from mainstem.rounds.refusals import REFUSALS_KEPT
from tests.support.chains import Topic, lifecycle, opened, weights
from tests.support.machines import BAD, Driver, World, check_history, state_of
from tests.vectors.examples import FEDERATION


def run(world: World) -> list[Any]:
    """The chain after a fresh aggregator has done all there is to do."""
    Driver(world, "w").settle()
    check_history(world)
    return lifecycle(world.control.reader().sync())


def test_round_one_opens_with_enough_clients_and_closes_on_all_answers() -> None:
    """Below `min_clients` nothing commits; with them the round waits for every one."""
    world = World.of(min_clients=2, rounds=1)
    world.join("a")
    world.update("a")
    assert len(run(world)) == 1
    world.join("b")
    assert len(run(world)) == 1
    world.update("b")
    (_, round_) = run(world)
    assert isinstance(round_, Round) and round_.closed.by == "all" and round_.final
    assert sorted(a.client for a in round_.accepted) == ["a", "b"]
    assert [a.coefficient for a in round_.accepted] == [5.0, 5.0]


def test_the_first_record_at_the_deadline_closes() -> None:
    """Before it, all is open; at it, the round closes with the quorum, and that record is the next round's."""
    world = World.of(min_clients=2, quorum=1, rounds=2, deadline_ms=100)
    world.join("a", "b")
    world.update("a")
    world.pass_time(99)
    assert len(run(world)) == 1
    world.now_ms += 1
    late = world.update("b")
    (_, round_) = run(world)
    assert round_.closed.by == "deadline" and round_.closed.offset == late == round_.snapshot.position
    assert round_.closed.time_ms == round_.opened_ms + 100
    assert [a.client for a in round_.accepted] == ["a"]
    head = world.control.head()
    driver = Driver(world, "w")
    driver.settle()
    assert [r.reason for r in driver.machine.round.refusals.named] == [Reason.STALE]
    assert driver.machine.round.opened_ms == head.since_ms


@pytest.mark.parametrize("below", ["extend", "fail"])
def test_a_deadline_below_quorum(below: str) -> None:
    """The setting says whether the round goes on by whole deadlines or the run fails."""
    world = World.of(min_clients=2, rounds=1, deadline_ms=100, below_quorum=below, wait_limit_ms=10_000)
    world.join("a", "b")
    world.update("a")
    world.pass_time(350)
    chain = run(world)
    if below == "fail":
        assert isinstance(chain[-1], Failed) and "deadline passed with 1 of 2 updates; missing: b" in chain[-1].detail
        return
    driver = Driver(world, "w")
    driver.settle()
    assert driver.machine.round.deadline_ms == driver.machine.round.opened_ms + 400
    world.update("b")
    assert isinstance(run(world)[-1], Round)


def test_the_wait_limit_holds_before_the_first_deadline() -> None:
    """While nobody has joined no round is open, so no deadline stretches the wait."""
    world = World.of(min_clients=1, wait_limit_ms=20_000)
    driver = Driver(world, "w")
    driver.settle()
    assert driver.machine.wake_ms == world.now_ms + 20_000
    world.pass_time(20_000)
    failed = run(world)[-1]
    assert isinstance(failed, Failed) and failed.detail.startswith("it waited 20 s")


def test_the_wait_limit_fails_a_run_that_nobody_joins() -> None:
    """It names what it waited for; a resume begins a new wait."""
    world = World.of(min_clients=2, wait_limit_ms=1000, deadline_ms=100)
    world.join("a")
    world.pass_time(999)
    assert len(run(world)) == 1
    world.pass_time(1)
    failed = run(world)[-1]
    assert isinstance(failed, Failed) and "missing: 2 clients to join" in failed.detail
    world.control.append(Command(federation=FEDERATION, action="resume", id="1"), world.now_ms)
    run(world)
    assert world.control.head().state == "open"
    world.join("b")
    world.update("a")
    world.update("b")
    assert isinstance(run(world)[-1], Round)


def test_the_limit_never_throws_away_a_quorum() -> None:
    """An aggregator that was away past deadline and limit commits what had arrived in time."""
    world = World.of(min_clients=2, quorum=1, rounds=1, deadline_ms=100, wait_limit_ms=500)
    world.join("a", "b")
    world.update("a")
    world.pass_time(100_000)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "deadline" and len(round_.accepted) == 1


def test_the_limit_leaves_a_round_its_deadline() -> None:
    """Clients that come just before the wait limit have the whole deadline to answer."""
    world = World.of(min_clients=1, rounds=1, deadline_ms=400, wait_limit_ms=500)
    world.now_ms += 499
    world.join("a")
    world.pass_time(399)
    assert len(run(world)) == 1
    world.update("a")
    assert isinstance(run(world)[-1], Round)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client": "x"}, Reason.UNKNOWN_CLIENT),
        ({"base": Base(seq=7, version=7)}, Reason.UNKNOWN_BASE),
        ({"base": Base(seq=0, version=1)}, Reason.UNKNOWN_BASE),
        ({"number": 1}, Reason.DUPLICATE),
        ({"examples": 0}, Reason.EXAMPLES),
        ({"examples": 1 << 41}, Reason.EXAMPLES),
        ({"weights": weights(writer="a", update=BAD)}, Reason.CHECKSUM),
        ({"weights": weights(first=10**6, writer="a")}, Reason.MISSING_CHUNKS),
        ({"weights": weights(writer="b")}, Reason.MALFORMED),
    ],
)
def test_refused_updates(changes: dict[str, Any], reason: str) -> None:
    """Each is refused with its reason and a sentence in the round's record, and the good one still counts."""
    world = World.of(min_clients=1, rounds=1)
    world.join("a")
    offset = world.update(**({"client": "a"} | changes))
    world.update("a")
    round_ = run(world)[-1]
    assert isinstance(round_, Round)
    assert [(r.offset, r.reason) for r in round_.refused] == [(offset, reason)]
    assert round_.refused[0].detail
    assert [a.client for a in round_.accepted] == ["a"]


def test_other_models_and_claims_are_refused_without_reading() -> None:
    """Wrong tensors and a 10 GB claim never lead to a `Check`."""
    world = World.of(min_clients=1, rounds=1, max_update_bytes=1 << 30)
    world.join("a")
    good = weights(writer="a")
    for changes in (
        {"nbytes": 12},
        {"chunks": (), "nbytes": 20},
        {"nbytes": 10 * 10**9},
        {"chunks": (ChunkRun(0, 0, 1 << 60),)},
    ):
        fields = {name: getattr(good, name) for name in good.__struct_fields__}
        world.update("a", weights=type(good)(**(fields | changes)))
    driver = Driver(world, "w")
    driver.sync()
    while driver.next is not None:
        assert driver.machine.handle(driver.next) == []
    assert [r.reason for r in driver.machine.round.refusals.named] == [
        "shape",
        "shape",
        "too_large",
        "missing_chunks",
    ]


def test_duplicates_count_once_and_the_first_valid_one_counts() -> None:
    """A broken update may be sent again; a good one counts once however often it comes."""
    world = World.of(min_clients=2, rounds=1)
    world.join("a", "b")
    world.update("a", weights=weights(writer="a", update=BAD))
    first = world.update("a")
    world.update("a")
    world.update("a", examples=900)
    world.update("b")
    round_ = run(world)[-1]
    assert isinstance(round_, Round)
    assert {a.client: a.offset for a in round_.accepted}["a"] == first
    assert [r.reason for r in round_.refused] == ["checksum", "duplicate", "duplicate"]


def test_one_client_is_no_quorum() -> None:
    """A client that numbers its updates does not stand for two."""
    world = World.of(min_clients=2, quorum=2, rounds=1, deadline_ms=100, below_quorum="fail")
    world.join("a", "b")
    for number in range(3):
        world.update("a", number=number)
    world.pass_time(100)
    assert isinstance(run(world)[-1], Failed)


def test_a_full_federation() -> None:
    """Beyond `max_clients` nobody comes in; a known client may come back while there is room."""
    world = World.of(min_clients=1, max_clients=2, rounds=2)
    world.join("a", "b", "c")
    world.send(Left(client="a", incarnation="1"))
    world.join("c", "a")
    driver = Driver(world, "w")
    driver.settle()
    assert [(r.client, r.reason) for r in driver.machine.round.refusals.named] == [("c", "full"), ("a", "full")]
    assert driver.machine.round.roster.active == {"b", "c"}


def test_who_left_or_failed_is_not_waited_for() -> None:
    """The round closes when all others have answered; what an earlier incarnation says of its end does not count."""
    world = World.of(min_clients=3, quorum=1, rounds=1)
    world.join("a", "b", "c")
    world.update("a")
    world.send(Left(client="b", incarnation="0"))
    world.send(ClientFailed(client="c", incarnation="1", detail="no data"))
    assert len(run(world)) == 1
    world.send(Left(client="b", incarnation="1"))
    assert isinstance(run(world)[-1], Round)


def test_a_client_that_comes_back_is_waited_for_again() -> None:
    """It rejoins with a new incarnation and answers; nothing is lost."""
    world = World.of(min_clients=2, quorum=1, rounds=1)
    world.join("a", "b")
    world.send(ClientFailed(client="b", incarnation="1", detail="killed"))
    world.join("b", incarnation="2")
    world.update("a")
    assert len(run(world)) == 1
    world.update("b", incarnation="2")
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and len(round_.accepted) == 2


def test_two_processes_under_one_client_id() -> None:
    """The one that joins later takes over for good: nothing of the earlier one counts, and each kind is named once."""
    world = World.of(min_clients=1, rounds=1)
    world.join("a", incarnation="first")
    world.join("a", incarnation="second")
    late = world.update("a", incarnation="first")
    beats = [world.send(Heartbeat(client="a", incarnation="first", phase="waiting")) for _ in range(3)]
    again = world.send(Joined(federation=FEDERATION, client="a", incarnation="first", examples=320))
    world.send(ClientFailed(client="a", incarnation="first", detail="another process has joined as a"))
    world.update("a", incarnation="second")
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and len(round_.accepted) == 1
    assert [(r.client, r.offset, r.reason) for r in round_.refused] == [
        ("a", offset, Reason.SUPERSEDED) for offset in (late, beats[0], again)
    ]
    assert "two data sets need two client ids" in round_.refused[0].detail
    assert round_.refused_more == {Reason.SUPERSEDED: 2}
    (member,) = round_.snapshot.members
    assert (member.incarnation, member.status, member.superseded) == ("second", "active", ("first",))


def test_a_process_that_comes_back_after_a_commit_is_known_as_the_earlier_one() -> None:
    """Who was superseded stands in the snapshot: a successor of the aggregator refuses it too."""
    world = World.of(min_clients=1, rounds=2)
    world.join("a", incarnation="first")
    world.join("a", incarnation="second")
    world.update("a", incarnation="second")
    assert len(run(world)) == 2
    world.update("a", incarnation="first")
    world.update("a", incarnation="second")
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and [r.reason for r in round_.refused] == [Reason.SUPERSEDED]


def test_an_update_of_another_data_set_is_refused() -> None:
    """It says other examples than its client joined with; said again with `joined` they count."""
    world = World.of(min_clients=1, rounds=1)
    world.join("a")
    offset = world.update("a", examples=7)
    world.send(Joined(federation=FEDERATION, client="a", incarnation="1", examples=9))
    world.update("a", examples=9)
    round_ = run(world)[-1]
    assert isinstance(round_, Round)
    assert [(r.offset, r.reason) for r in round_.refused] == [(offset, Reason.EXAMPLES)]
    assert [a.examples for a in round_.accepted] == [9] == [m.examples for m in round_.snapshot.members]


def test_a_growing_stream_s_examples_grow() -> None:
    """Its updates say ever more, and so does the member; one that says fewer is refused."""
    world = World.of(min_clients=1, rounds=2)
    world.send(Joined(federation=FEDERATION, client="a", incarnation="1", examples=5, growing=True))
    world.update("a", examples=8)
    assert len(run(world)) == 2
    world.update("a", examples=7)
    world.update("a", examples=8)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and [r.reason for r in round_.refused] == [Reason.EXAMPLES]
    assert [m.examples for m in round_.snapshot.members] == [8]


def test_why_a_stranger_gives_up_is_no_refusal() -> None:
    """A client that cannot join may say so; its sentence is for people, and no record of the chain depends on it."""
    worlds = [World.of(min_clients=1, rounds=1) for _ in range(2)]
    for world, detail in zip(worlds, ("DATA_TOPIC has 5 records", "x" * 2000), strict=True):
        world.send(ClientFailed(client="stranger", incarnation="1", detail=detail))
        world.join("a")
        world.update("a")
    rounds = [run(world)[-1] for world in worlds]
    assert isinstance(rounds[0], Round) and rounds[0].refused == () and rounds[0] == rounds[1]


def test_a_zombies_round_changes_nothing() -> None:
    """Two aggregators close one round: the first record counts, both go on from it, and the other is superseded."""
    world = World.of(min_clients=1, rounds=2)
    world.join("a")
    world.update("a")
    drivers = [Driver(world, "one"), Driver(world, "two")]
    for driver in drivers:
        driver.sync()
        while driver.machine.phase is not Phase.REDUCING:
            driver.step()
        driver.effect()  # the model is reduced, the record not yet appended
    for driver in drivers:
        driver.settle()
    assert [type(r).__name__ for r in lifecycle(world.control.reader().sync())] == ["Opened", "Round"]
    assert state_of(drivers[0].machine) | {"_writer": ""} == state_of(drivers[1].machine) | {"_writer": ""}


def test_final_evaluation() -> None:
    """After the last round the run waits for what the clients measure, then finishes with their weighted mean."""
    world = World.of(min_clients=2, rounds=1, final_wait_ms=1000)
    world.join("a", "b")
    world.update("a")
    world.update("b")
    run(world)
    for client, examples, accuracy in (("a", 30, 0.5), ("b", 10, 0.9)):
        assert not isinstance(run(world)[-1], Finished)
        metrics = Metrics(examples=examples, values={"accuracy": accuracy})
        world.send(Left(client=client, incarnation="1", version=1, evaluation=metrics))
    finished = run(world)[-1]
    assert isinstance(finished, Finished)
    assert finished.evaluation == Metrics(examples=40, values={"accuracy": pytest.approx(0.6)})  # type: ignore[dict-item]
    assert sorted(finished.evaluations) == ["a", "b"]
    assert finished.sha256 == world.control.head().weights.sha256


def test_the_final_wait_ends() -> None:
    """A client that stays silent at the end does not hold up the run; a late update is refused as closed."""
    world = World.of(min_clients=1, rounds=1, final_wait_ms=1000)
    world.join("a")
    world.update("a")
    run(world)
    world.update("a")
    driver = Driver(world, "w")
    driver.settle()
    assert [r.reason for r in driver.machine.round.refusals.named] == [Reason.CLOSED]
    world.pass_time(1000)
    assert isinstance(run(world)[-1], Finished)


def test_commands() -> None:
    """Stop keeps what was accepted, resume goes on with it, a new deadline holds at once; the rest is rejected."""
    world = World.of(min_clients=2, rounds=1, deadline_ms=100_000)
    world.join("a", "b")
    world.update("a")

    def command(action: str, **fields: Any) -> str:
        world.control.append(Command(federation=FEDERATION, action=action, id="1", **fields), world.now_ms)
        run(world)
        record = world.control.reader().sync()[-1].record
        return f"{type(record).__name__}: {getattr(record, 'detail', '')}"

    assert command("resume") == "Rejected: the run is open; only a stopped or failed one can be resumed"
    assert command("deadline", deadline_ms=10) == "Rejected: deadline_ms must be at least 1000"
    assert command("dance") == "Rejected: the action 'dance' is not known"
    assert command("stop").startswith("Stopped")
    assert command("stop") == "Rejected: the run is stopped already"
    assert command("deadline", deadline_ms=5000) == "Rejected: the run is stopped"
    world.update("b")
    assert len(lifecycle(world.control.reader().sync())) == 2
    world.control.append(Command(federation=FEDERATION, action="resume", id="1"), world.now_ms)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and len(round_.accepted) == 2


def test_a_changed_deadline() -> None:
    """It counts from the record that changed it."""
    world = World.of(min_clients=2, quorum=1, rounds=1, deadline_ms=100_000)
    world.join("a", "b")
    world.update("a")
    world.now_ms += 5000
    world.control.append(Command(federation=FEDERATION, action="deadline", id="1", deadline_ms=1000), world.now_ms)
    run(world)
    world.pass_time(999)
    assert not isinstance(run(world)[-1], Round)
    world.pass_time(1)
    assert isinstance(run(world)[-1], Round)


def test_a_rejected_command_is_not_carried_out_later() -> None:
    """A resume that was rejected while the run was open does not wake it when it has failed and a worker restarts."""
    world = World.of(min_clients=1, wait_limit_ms=1000, deadline_ms=100)
    world.control.append(Command(federation=FEDERATION, action="resume", id="1"), world.now_ms)
    run(world)
    world.pass_time(5000)
    run(world)
    for _ in range(2):
        run(world)
    assert world.control.head().state == "failed"
    answers = [e for e in world.control.reader().sync() if isinstance(e.record, Rejected)]
    assert len(answers) == 1


@pytest.mark.parametrize("first", ["answer", "command"])
def test_a_rejected_command_is_never_answered_again(first: str) -> None:
    """In whatever order a worker is told of a command and its answer, and however often."""
    world = World.of(min_clients=1)
    machine = RoundMachine("w")
    dance = Commanded(1, Command(federation=FEDERATION, action="dance", id="1"))
    rejected = Rejected(federation=FEDERATION, command=1, detail="the action 'dance' is not known")
    order: list[Event] = [rejected, dance] if first == "answer" else [dance, rejected]
    for event in [*order, dance, Followed(world.control.head()), dance]:
        assert machine.handle(event) == []
    (reject,) = machine.handle(Commanded(2, dance.command))
    assert isinstance(reject, Reject) and reject.record.command == 2
    assert machine.handle(Commanded(2, dance.command)) == []


def test_a_command_survives_a_lost_race() -> None:
    """A stop whose record was superseded by a competitor's round is carried out on the new head."""
    world = World.of(min_clients=1, rounds=2)
    world.join("a")
    world.update("a")
    slow, quick = Driver(world, "slow"), Driver(world, "quick")
    slow.sync()
    stop = Command(federation=FEDERATION, action="stop", id="1")
    slow.queue.feed([Commanded(world.control.append(stop), stop)])
    quick.machine.handle(Followed(world.control.head()))
    while not isinstance(lifecycle(world.control.reader().sync())[-1], Round):
        assert quick.step()
    slow.settle()
    assert world.control.head().state == "stopped" and world.control.head().round == 1


def test_refusals_are_capped_then_counted() -> None:
    """A flood of bad records neither swells the round's record nor is forgotten."""
    world = World.of(min_clients=1, rounds=1)
    world.join("a")
    for _ in range(REFUSALS_KEPT + 50):
        world.send(None)
    world.update("x")
    world.update("a")
    round_ = run(world)[-1]
    assert isinstance(round_, Round)
    assert len(round_.refused) == REFUSALS_KEPT
    assert round_.refused_more == {Reason.MALFORMED: 50, Reason.UNKNOWN_CLIENT: 1}


def test_an_unreducible_round_fails_the_run() -> None:
    """The sentence stands in the chain; nothing else can follow from the lost plan."""
    world = World.of(min_clients=1, rounds=1)
    world.join("a")
    world.update("a")
    driver = Driver(world, "w")
    driver.sync()
    while driver.machine.phase is not Phase.REDUCING:
        driver.step()
    (append,) = driver.machine.handle(Unreducible("the mean does not fit into float16"))
    assert append.record.detail == "the mean does not fit into float16"  # type: ignore[union-attr]
    with pytest.raises(ProtocolError):
        driver.machine.handle(Unreducible("again"))


@pytest.mark.parametrize("changes", [{"rules": Rules(mode="chaotic")}, {"strategy": StrategyChoice(name="magic")}])
def test_unknown_modes_and_strategies_change_nothing(changes: dict[str, Any]) -> None:
    """A head that this version cannot run raises ConfigError and leaves the machine as it was."""
    machine, topic = RoundMachine("w"), Topic()
    topic.append(msgspec.structs.replace(opened(), **changes))
    before = state_of(machine)
    with pytest.raises(ConfigError, match="is not known"):
        machine.handle(Followed(topic.head()))
    assert state_of(machine) == before


def test_illegal_events_in_every_phase() -> None:
    """While an update is read, while a round is reduced, and after a head has voided both, only the answer is taken."""
    world = World.of(min_clients=1, rounds=2)
    world.join("a")
    world.update("a")
    driver = Driver(world, "w")
    driver.sync()
    machine = driver.machine

    def refuses(*events: Event) -> None:
        for event in events:
            before = state_of(machine)
            with pytest.raises(ProtocolError):
                machine.handle(event)
            assert state_of(machine) == before

    record = Seen(9, 10**9, Tick(writer="w"))
    refuses(
        Checked(1, None),
        Reduced(weights(), (), {}),
        Unreducible("x"),
        Seen(-1, 0, None),
        Followed(world.control.head()),
    )
    while machine.phase is not Phase.CHECKING:
        driver.step()
    refuses(record, Checked(0, None), Checked(2, None), Reduced(weights(), (), {}), Unreducible("x"))
    driver.effect()
    assert driver.machine.phase is Phase.REDUCING
    refuses(record, Checked(1, None))
    lost = driver.pending
    stopped = successor(world.control.head(), Stopped, {"command": 1})
    world.control.append(stopped)
    driver.sync()
    assert lost and not driver.pending
    refuses(record, Reduced(weights(), (), {}), Unreducible("x"))
    world.control.append(successor(world.control.head(), Resumed, {"command": 2}))
    driver.sync()
    driver.settle_until(Phase.CHECKING)
    world.control.append(successor(world.control.head(), Changed, {"command": 3, "rules": Rules(rounds=2)}))
    driver.sync()
    refuses(Checked(1, None))


def test_seen_before_birth() -> None:
    """Without a head there is no round."""
    machine = RoundMachine("w")
    with pytest.raises(ProtocolError):
        machine.handle(Seen(0, 0, None))
    assert machine.wake_ms is None


def test_weighted_metrics() -> None:
    """The mean by examples over those who have a value, the others counted; None where nobody measured."""
    assert weighted([]) is None
    assert weighted([Metrics(examples=0, values={"a": 1.0})]) is None
    both = [Metrics(examples=1, values={"a": 1.0, "b": 5.0}), Metrics(examples=3, values={"a": 5.0})]
    assert weighted(both) == Metrics(examples=4, values={"a": 4.0, "b": 5.0}, undefined={"b": 1})
    auc = [
        Metrics(examples=100, values={"auc": 0.9}),
        Metrics(examples=50, undefined={"auc": 1}),  # samples of one class
        Metrics(examples=300, values={"auc": 0.92}),
    ]
    assert weighted(auc) == Metrics(examples=450, values={"auc": 0.915}, undefined={"auc": 1})
    assert weighted(auc[1:2]) == Metrics(examples=50, undefined={"auc": 1})


@given(
    st.lists(
        st.builds(
            Metrics,
            examples=st.integers(0, (1 << 53) - 1),
            values=st.fixed_dictionaries({"loss": st.floats(-1e200, 1e200) | st.sampled_from([-1e200, 1e200])}),
            undefined=st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, (1 << 53) - 1), max_size=3),
        ),
        max_size=5,
    )
)
@example([Metrics(examples=(1 << 53) - 1, values={"loss": 1.0}), Metrics(examples=50, values={"loss": 1.0})])
@example([Metrics(examples=3, values={"loss": 1e200})] * 3)
@example([Metrics(examples=1, values={f"{client}/{i}": 0.0 for i in range(256)}) for client in range(3)])
def test_what_is_folded_from_reports_is_a_report(metrics: list[Metrics]) -> None:
    """Whatever clients say within the bounds of a record, their mean is within them too."""
    mean = weighted(metrics)
    assert mean is None or msgspec.convert(msgspec.to_builtins(mean), Metrics) == mean


def test_evaluations_of_the_base_are_the_rounds() -> None:
    """What clients measured of the model that they started from is averaged into the round's record."""
    world = World.of(min_clients=2, rounds=1)
    world.join("a", "b")
    for client, examples, loss in (("a", 1, 1.0), ("b", 3, 5.0)):
        report = Report(evaluation=Metrics(examples=examples, values={"loss": loss}))
        world.update(client, report=report)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.evaluation == Metrics(examples=4, values={"loss": 4.0})
