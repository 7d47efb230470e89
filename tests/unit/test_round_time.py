"""Round time, where clocks are wrong: ahead, behind, set while a round is open, or a record's writer's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.aggregator.federation import Federation
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    ClientRecord,
    Failed,
    Heartbeat,
    Joined,
    Progress,
    Round,
    Rules,
    Selected,
    Selection,
    Tick,
    encode,
)
from mainstem.rounds import Seen
from mainstem.rounds.timing import RoundTime, longest_step
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import lifecycle
from tests.support.federations import open_federation
from tests.support.machines import Driver, World

HOUR = 3_600_000


def run(world: World) -> list[Any]:
    """The chain after a fresh aggregator has done all there is to do."""
    Driver(world, "w").settle()
    return lifecycle(world.control.reader().sync())


def at(world: World, ahead_ms: int, record: ClientRecord, *, appended: bool = True) -> None:
    """A record that is stamped so far ahead of the time."""
    stamp = world.now_ms + ahead_ms
    world.inbox.append(Seen(len(world.inbox), stamp, record, "", "", appended))


def beat(client: str) -> Heartbeat:
    """A sign of life."""
    return Heartbeat(client=client, incarnation="1", phase="training")


# ---------------------------------------------------------------- the rule
@pytest.mark.parametrize("appended", [True, False])
@pytest.mark.parametrize("hours", [2, -2])
@pytest.mark.parametrize("record", [beat("a"), Tick(writer="w", seq=0), Tick(writer="stranger")])
def test_one_wrong_stamp_takes_a_step_at_most(record: ClientRecord, hours: int, appended: bool) -> None:
    """Two hours ahead or behind, with one of two updates in: the round stays open, and its deadline comes in time."""
    world = World.of(min_clients=2, rounds=1, deadline_ms=15_000, below_quorum="fail", wait_limit_ms=HOUR)
    world.join("a", "b")
    world.update("a")
    world.start()
    at(world, hours * HOUR, record, appended=appended)
    world.pass_time(15_000 - longest_step(world.control.head().rules) - 1)
    assert len(run(world)) == 1
    world.pass_time(longest_step(world.control.head().rules) + 1)
    failed = run(world)[-1]
    assert isinstance(failed, Failed) and failed.detail.startswith("the round's deadline passed with 1 of 2 updates")


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_clock_that_is_set_freezes_no_deadline(ahead: int) -> None:
    """The run was opened, and its round is open, under a clock that is then put right: the deadline is kept."""
    world = World.of(min_clients=2, quorum=1, rounds=2, deadline_ms=15_000)
    world.now_ms += ahead
    world.join("a", "b")
    world.update("a")
    world.pass_time(5_000)
    world.now_ms -= ahead
    world.pass_time(15_000)
    round_ = run(world)[-1]
    assert isinstance(round_, Round) and round_.closed.by == "deadline"
    assert 15_000 <= round_.closed.time_ms - round_.opened_ms <= 15_000 + longest_step(Rules(deadline_ms=15_000))


def test_a_chain_stamped_ahead_freezes_no_deadline() -> None:
    """The head's own stamp lies an hour ahead of all that comes after it."""
    world = World.of(min_clients=2, quorum=1, rounds=1, deadline_ms=15_000)
    world.control.values = [(value, stamp + HOUR) for value, stamp in world.control.values]
    world.join("a", "b")
    world.update("a")
    world.pass_time(15_000)
    assert isinstance(run(world)[-1], Round)


def test_silence_counts_for_a_step() -> None:
    """An aggregator and clients that were all away for days go on where they were."""
    world = World.of(min_clients=2, rounds=1, deadline_ms=15_000, below_quorum="fail", wait_limit_ms=HOUR)
    world.join("a", "b")
    world.pass_time(2_000)
    world.now_ms += 48 * HOUR
    world.send(beat("a"))
    world.update("a")
    world.update("b")
    assert isinstance(run(world)[-1], Round)


def test_what_was_written_before_a_head_takes_nothing_of_its_time() -> None:
    """The next round's deadline counts from its own first tick, though clients wrote all along while it was folded."""
    world = World.of(min_clients=2, rounds=2, deadline_ms=15_000, below_quorum="fail", wait_limit_ms=HOUR)
    world.join("a", "b")
    world.update("a")
    world.update("b")
    for _ in range(60):
        world.now_ms += 1_000
        world.send(beat("a"))
    assert [type(r) for r in run(world)[1:]] == [Round]
    world.pass_time(14_000)
    assert not isinstance(run(world)[-1], Failed)
    world.pass_time(1_000)
    assert isinstance(run(world)[-1], Failed)


def test_the_present_are_known_also_when_the_clock_went_back() -> None:
    """A selection asks who gave a sign of life lately, though the one who did not was last heard in the future."""
    rules = Rules(
        min_clients=3, rounds=3, heartbeat_timeout_ms=4_000, selection=Selection(name="uniform", params={"count": 2})
    )
    world = World.of(**{name: getattr(rules, name) for name in rules.__struct_fields__})
    world.now_ms += HOUR
    world.join("a", "b", "c")
    (first,) = [r for r in run(world) if isinstance(r, Selected)]
    gone = (set("abc") - set(first.clients)).pop()
    world.start()
    for _ in range(6):
        world.now_ms += 1_000
        for client in first.clients:
            world.send(beat(client))
    world.now_ms -= HOUR
    for client in first.clients:
        world.update(client)
    second = [r for r in run(world) if isinstance(r, Selected)][-1]
    assert second.round == 2 and gone not in second.clients


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1_000),
            st.sampled_from(["beat", "beat", "tick", "rival"]),
            st.none() | st.none() | st.integers(-2 * HOUR, 2 * HOUR),
            st.none() | st.none() | st.integers(-2 * HOUR, 2 * HOUR),
        ),
        max_size=60,
    )
)
def test_time_is_what_has_passed_but_for_what_was_set(steps: list[tuple[int, str, int | None, int | None]]) -> None:
    """Whatever the clock is set to and whatever single records are stamped with: each takes or gives one step."""
    time = RoundTime(seq=0, now_ms=500)
    time.see(Seen(0, 10**9, Tick(writer="w", seq=0)))
    passed, ahead, wrong = 0, 0, 0
    for offset, (ms, kind, set_to, stamped) in enumerate(steps, 1):
        before, passed = time.now_ms, passed + ms
        if set_to is not None:
            ahead, wrong = set_to, wrong + 1
        record = beat("a") if kind == "beat" else Tick(writer=kind, seq=0)
        stamp = 10**9 + passed + (ahead if stamped is None else stamped)
        wrong += 2 * (stamped is not None)
        time.see(Seen(offset, stamp, record))
        assert before <= time.now_ms <= before + time.step_ms
    assert abs(time.now_ms - 500 - passed) <= wrong * time.step_ms


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-2 * HOUR, 2 * HOUR)), max_size=40))
def test_stamps_that_writers_chose_tell_no_time(records: list[tuple[int, int]]) -> None:
    """On a topic that takes its writers' stamps, clients' clocks change nothing: the ticks tell what has passed."""
    time = RoundTime(seq=3, now_ms=0)
    time.see(Seen(0, 7, Tick(writer="w", seq=3), appended=False))
    passed = 0
    for offset, (ms, ahead) in enumerate(records, 1):
        passed += ms
        time.see(Seen(2 * offset, passed + ahead, beat("a"), appended=False))
        time.see(Seen(2 * offset + 1, 7 + passed, Tick(writer="w", seq=3), appended=False))
    assert time.now_ms == passed


# ---------------------------------------------------------------- an aggregator and its clocks
class Clocks:
    """Time that only the test moves, and a wall clock that it sets."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ms, self.ahead_ms = 1_000_000, ahead_ms

    def now_ms(self) -> int:
        """See `Clock`."""
        return self.ms + self.ahead_ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self.ms


class Own(Clocks):
    """The aggregator's: it elapses with the broker's, whatever either wall clock says."""

    def __init__(self, broker: Clocks, ahead_ms: int) -> None:
        super().__init__(ahead_ms)
        self._broker = broker

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._broker.ms + self.ahead_ms

    def elapsed_ms(self) -> int:
        """See `Clock`."""
        return self._broker.ms


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("broker_ahead", "own_ahead"), [(HOUR, 0), (-HOUR, 0), (0, HOUR), (0, -HOUR)])
def test_a_deadline_is_kept_by_any_clock(broker_ahead: int, own_ahead: int, restart: bool) -> None:
    """A broker's clock that is wrong and then set, an aggregator's that is wrong for good, also one that restarts: a
    deadline of 15 s comes after 15 s and little more."""
    broker = Clocks(broker_ahead)
    log, own = MemoryLog(broker), Own(broker, own_ahead)
    rules = Rules(min_clients=1, quorum=1, deadline_ms=15_000, below_quorum="fail", wait_limit_ms=HOUR)
    id_ = open_federation(log, [np.zeros(1, np.float32)], rules)
    joined = Joined(federation=id_, client="a", incarnation="1", examples=1)
    log.append(topics.aggregator_topic(id_), [Outgoing(encode(joined))])
    federation = Federation(log, id_, clock=own, writer="w")
    begun, said = broker.ms, set[str]()
    while federation.step(0):
        broker.ms += 50
        broker.ahead_ms = 0 if broker.ms > begun + 5_000 else broker_ahead
        if restart and (broker.ms - begun) % 4_000 == 0:
            federation = Federation(log, id_, clock=own, writer=f"w{broker.ms}")
        assert broker.ms < begun + 60_000, "it is open for ever"
        said |= {e.record.detail for e in ControlTopic(log, id_).sync() if isinstance(e.record, Progress)}
    assert 15_000 - longest_step(rules) <= broker.ms - begun <= 15_000 + 2 * longest_step(rules)
    assert any("Kafka's clock is 3600 s" in detail and "deadlines are kept" in detail for detail in said)


def test_quick_rounds_need_no_tick_and_quiet_ones_few() -> None:
    """Ticks start a head's time, and come where the silence would soon be longer than counts."""
    broker = Clocks()
    log = MemoryLog(broker)
    id_ = open_federation(log, [np.zeros(1, np.float32)], Rules(min_clients=1))
    federation = Federation(log, id_, clock=Own(broker, 0), writer="w")
    for _ in range(1200):
        federation.step(0)
        broker.ms += 50
    assert 16 <= log.bounds(topics.aggregator_topic(id_), 0)[1] <= 18
    told = federation.machine.round.time_ms - 1_000_000
    assert 60_000 - longest_step(Rules()) // 2 - 500 <= told <= 60_000
