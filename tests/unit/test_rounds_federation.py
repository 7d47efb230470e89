"""The driver of the round machine over a log in memory: rivals under one name, restarts, and old commands."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.aggregator.federation import Federation
from mainstem.protocol import topics
from mainstem.protocol.control import ControlReader, ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    Command,
    Failed,
    Metrics,
    Opened,
    Progress,
    Reason,
    Rejected,
    Rules,
    Stopped,
    Tick,
    encode,
)
from mainstem.protocol.weights import Tensor
from mainstem.rounds import machine as rounds_machine
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of


class HandClock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        """See `Clock`."""
        return self.ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.now_ms()


START: list[Tensor] = [np.zeros(5, np.float32), np.array(3, np.int64)]


def step_of(seed: int) -> list[Tensor]:
    """What a client adds to the model."""
    return [np.random.default_rng(seed).normal(size=5).astype(np.float32), np.array(0, np.int64)]


def make(rounds: int = 3, **rules: object) -> tuple[MemoryLog, HandClock, str, list[LightClient]]:
    """An open federation with three clients."""
    clock = HandClock()
    log = MemoryLog(clock)
    federation = open_federation(log, START, Rules(rounds=rounds, min_clients=3, **rules))  # type: ignore[arg-type]

    def client(number: int) -> LightClient:
        def train(tensors: Sequence[Tensor], _: int) -> list[Tensor]:
            return [a + b for a, b in zip(tensors, step_of(number), strict=True)]

        return LightClient(log, federation, f"c{number}", train, examples=number + 1)

    clients = [client(number) for number in range(3)]
    return log, clock, federation, clients


def turn_of(client: LightClient) -> None:
    """One turn of a client that is still there."""
    if not client.gone:
        client.step()


def end(log: MemoryLog, federation: str) -> str:
    """The run's state."""
    control = ControlTopic(log, federation)
    control.sync()
    assert control.head is not None
    return control.head.state


@pytest.fixture(scope="module")
def undisturbed() -> str:
    """The final digest of a run without any disturbance."""
    log, clock, federation, clients = make()
    driver = Federation(log, federation, clock=clock, writer="w")
    for _ in range(100):
        driver.step(0)
        for client in clients:
            turn_of(client)
    assert end(log, federation) == "finished"
    return rounds_of(log, federation)[-1].weights.sha256


@settings(max_examples=40)
@given(st.data())
def test_any_interleaving_of_rivals_restarts_and_clients(undisturbed: str, data: st.DataObject) -> None:
    """Two drivers under one name and three clients take turns in any order, drivers and clients are killed between
    turns: the run ends with the digest of the undisturbed run."""
    log, clock, federation, clients = make()

    def fresh(retain: int) -> Federation:
        return Federation(log, federation, clock=clock, writer="w", retain=retain)

    drivers = [fresh(1 << 20), fresh(0)]
    incarnation = 1
    for turn in range(400):
        if end(log, federation) == "finished":
            break
        clock.ms += 10
        # forty turns of chaos, then fair ones, so that every run ends
        what = data.draw(st.integers(0, 9)) if turn < 40 else turn % 5
        if what < 2:
            drivers[what].step(0)
        elif what < 5:
            turn_of(clients[what - 2])
        elif what < 7:
            drivers[what - 5] = fresh((what - 5) << 20)
        else:
            old, incarnation = clients[what - 7], incarnation + 1
            if not old.gone:
                clients[what - 7] = LightClient(
                    log, federation, old.client, old.train, old.examples, incarnation=f"r{incarnation}"
                )
    assert end(log, federation) == "finished"
    rounds = rounds_of(log, federation)
    assert [len(r.accepted) for r in rounds] == [3, 3, 3]
    assert rounds[-1].weights.sha256 == undisturbed
    assert head_tensors(log, federation)[1] == 3


def test_rejected_commands_stay_rejected() -> None:
    """However often a worker restarts, each command has one answer, and an old rejection is never carried out."""
    log, clock, federation, _ = make(wait_limit_ms=1000, deadline_ms=1000)
    control = ControlTopic(log, federation)
    for action in ("resume", "dance"):
        control.append(Command(federation=federation, action=action, id=action))
    Federation(log, federation, clock=clock, writer="w").step(0)
    for _ in range(2):
        log.append(topics.aggregator_topic(federation), [Outgoing(encode(Tick(writer="w", seq=0)))])
        clock.ms += 1000
    log.append(topics.aggregator_topic(federation), [Outgoing(encode(Tick(writer="w", seq=0)))])
    for _ in range(3):
        Federation(log, federation, clock=clock, writer="w").step(0)
    assert end(log, federation) == "failed"
    answers = [e.record for e in ControlTopic(log, federation).sync() if isinstance(e.record, Rejected)]
    assert sorted(a.command for a in answers) == [1, 2]


def test_a_stop_wakes_nobody_and_a_resume_goes_on() -> None:
    """A stopped run ends its driver; a new one that finds a resume goes on with what had been accepted."""
    log, clock, federation, clients = make(rounds=1)
    driver = Federation(log, federation, clock=clock, writer="w")
    for client in clients[:2]:
        client.step()
    driver.step(0)
    control = ControlTopic(log, federation)
    control.append(Command(federation=federation, action="stop", id="1"))
    assert driver.step(0) is False or driver.step(0) is False
    assert any(isinstance(e.record, Stopped) for e in control.sync())
    control.append(Command(federation=federation, action="resume", id="2"))
    driver = Federation(log, federation, clock=clock, writer="w2")
    for _ in range(6):
        driver.step(0)
        turn_of(clients[2])
    (round_,) = rounds_of(log, federation)
    assert sorted(a.client for a in round_.accepted) == ["c0", "c1", "c2"]


def test_a_commit_that_no_reader_would_take_fails_the_run_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An aggregator judges its own record as readers will: the run says what is wrong, instead of trying for ever."""
    log, clock, federation, clients = make(rounds=1)
    outside = Metrics(examples=1, values={"loss": 1e201})
    monkeypatch.setattr(rounds_machine, "weighted", lambda metrics: outside)
    driver = Federation(log, federation, clock=clock, writer="w")
    for _ in range(6):
        for client in clients:
            turn_of(client)
        if not driver.step(0):
            break
    assert end(log, federation) == "failed"
    (failed,) = [e.record for e in ControlTopic(log, federation).sync() if isinstance(e.record, Failed)]
    assert failed.detail.startswith("round 1 cannot be committed: ") and "evaluation" in failed.detail
    _, written = log.bounds(topics.data_topic(federation), 0)
    assert not Federation(log, federation, clock=clock, writer="x").step(0)
    assert log.bounds(topics.data_topic(federation), 0)[1] == written


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_late_update_that_cannot_be_moved_is_refused(dtype: str) -> None:
    """The largest number as version 1, then twice its opposite from there: that is refused, and the run goes on."""
    clock = HandClock()
    log = MemoryLog(clock)
    most = 1e290 if dtype == "float64" else np.finfo(dtype).max
    rules = Rules(mode="async", rounds=3, min_clients=1, max_staleness=5)
    federation = open_federation(log, [np.zeros(3, dtype)], rules)
    sent = iter([most, -most, -most, 1.0])

    def train(tensors: Sequence[Tensor], _: int) -> list[Tensor]:
        return [np.full_like(tensors[0], next(sent))]

    clients = [LightClient(log, federation, name, train, examples=1) for name in ("a", "b")]
    driver = Federation(log, federation, clock=clock, writer="w")
    clients[0].step()
    driver.step(0)
    for client in clients:
        client.step()
    for _ in range(30):
        clock.ms += 5_000
        driver.step(0)
        turn_of(clients[0])
    assert end(log, federation) == "finished"
    rounds = rounds_of(log, federation)
    assert [[a.client for a in round_.accepted] for round_ in rounds] == [["a"]] * 3
    (refused,) = rounds[2].refused
    assert (refused.client, refused.reason) == ("b", Reason.NOT_FINITE)
    assert refused.detail == "tensor 't0', moved from version 1 to version 2, leaves the numbers of " + dtype


def test_records_of_unknown_types_change_nothing(undisturbed: str) -> None:
    """What a later version may say in either topic is read past: nothing is refused, and the bytes are the same."""
    log, clock, federation, clients = make()
    driver = Federation(log, federation, clock=clock, writer="w")
    for _ in range(100):
        for topic in (topics.aggregator_topic(federation), topics.control_topic(federation)):
            log.append(topic, [Outgoing(b'{"schema":1,"type":"praise","client":"c0"}')])
        driver.step(0)
        for client in clients:
            turn_of(client)
    assert end(log, federation) == "finished"
    rounds = rounds_of(log, federation)
    assert rounds[-1].weights.sha256 == undisturbed
    assert [(round_.refused, round_.refused_more) for round_ in rounds] == [((), {})] * 3


def test_topics_follow_from_the_federation() -> None:
    """An `opened` record that names other topics opens nothing: nobody reads, writes or prunes what it names."""
    log, _, federation, _ = make()
    (entry,) = ControlTopic(log, federation).sync()
    assert isinstance(entry.record, Opened) and entry.link is not None
    other = topics.new_federation_id()
    entry = ControlReader(other).feed(0, 0, encode(msgspec.structs.replace(entry.record, federation=other)))
    assert entry.link is None and entry.problem == f"its topics are not those of {other}"


def test_rounds_wait_for_room_and_lose_nothing(undisturbed: str) -> None:
    """While the disk is full no round is committed, which the log says; a command is answered. What came
    meanwhile counts as if the worker had been away: the same bytes in the end."""
    log, clock, federation, clients = make()
    full = [""]
    driver = Federation(log, federation, clock=clock, writer="w", waits=lambda: full[0])

    def turn() -> None:
        driver.step(0)
        for client in clients:
            turn_of(client)
        clock.ms += 1_500

    while not rounds_of(log, federation):
        turn()
    full[0] = "the disk of Kafka is almost full"
    before = len(rounds_of(log, federation))
    for _ in range(20):
        turn()
    assert len(rounds_of(log, federation)) == before
    assert details(log, federation)[-1] == "the disk of Kafka is almost full"
    assert details(log, federation).count("the disk of Kafka is almost full") <= 3, "it takes room itself"
    full[0] = ""
    for _ in range(100):
        turn()
    assert details(log, federation)[-1] == ""
    assert end(log, federation) == "finished"
    assert rounds_of(log, federation)[-1].weights.sha256 == undisturbed


def test_a_run_that_waits_for_room_can_be_stopped() -> None:
    """Stopping is how a person makes room."""
    log, clock, federation, _ = make()
    driver = Federation(log, federation, clock=clock, writer="w", waits=lambda: "the disk is full")
    driver.step(0)
    ControlTopic(log, federation).append(Command(federation=federation, action="stop", id="1"))
    driver.step(0)
    assert end(log, federation) == "stopped"


def details(log: MemoryLog, federation: str) -> list[str]:
    """What the aggregator told of its troubles, in order."""
    return [entry.record.detail for entry in ControlTopic(log, federation).sync() if isinstance(entry.record, Progress)]
