"""Simulated runs over many seeds: whatever crashes, freezes or is lost, the run ends, and with the right bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from mainstem import topics
from mainstem.control import ControlTopic, Entry
from mainstem.lineage import verify
from mainstem.messages import Base, Changed, Joined, Opened, Round, Rules, Selected, Selection, Update, decode_client
from mainstem.rounds.timing import longest_step
from mainstem.strategies import make
from mainstem.weights import Tensor, digest, is_chunk, specs_of
from tests.simulation.world import Weather, World, train

RUNS = int(os.environ.get("MAINSTEM_SIMULATED_RUNS", "150"))
FIRST = int(os.environ.get("MAINSTEM_SIMULATED_SEED", "0"))
LIMIT = 60_000
START: list[Tensor] = [np.linspace(-2, 2, 24), np.array([1.0, -2.0], np.float32), np.array(3, np.int32)]

ALL_REQUIRED = Weather()
SEVERAL_PARTITIONS = Weather(partitions=3, aggregators=3, crash=0.02)
SHORT_DEADLINES = Weather(deadline_ms=400, quorum=1, jump=0.01)
BUFFERED = Weather(clients=5, rounds=6, deadline_ms=4000, rules=Rules(mode="buffered", buffer=3, max_staleness=2))
ASYNC = Weather(clients=4, rounds=10, partitions=2, rules=Rules(mode="async", max_staleness=3, staleness_exponent=0.7))
TARGET = Weather(clients=5, rules=Rules(target=3))
SELECTED = Weather(
    clients=5,
    deadline_ms=4000,
    rules=Rules(heartbeat_timeout_ms=1_000_000, selection=Selection(name="uniform", params={"count": 2})),
)
FASTEST = Weather(
    clients=4, deadline_ms=2000, jump=0.01, rules=Rules(selection=Selection(name="speed", params={"fraction": 0.5}))
)
MUTE = Weather(clients=3, mutes=1, deadline_ms=1000, quorum=2)
BUFFERED_MUTE = Weather(
    clients=3, mutes=1, quorum=2, deadline_ms=1000, rounds=4, rules=Rules(mode="buffered", buffer=4, max_staleness=3)
)
FASTEST_MUTE = Weather(
    clients=4, mutes=1, deadline_ms=2000, rules=Rules(selection=Selection(name="speed", params={"count": 2}))
)
CLOCKS = Weather(clients=2, mutes=1, rounds=2, quorum=2, deadline_ms=4000, jump=0.001)
TWINS = Weather(clients=3, twins=2, rounds=4)
SILENT = Weather(clients=2, mutes=1, deadline_ms=400, quorum=1, rounds=6, rules=Rules(missed_limit=2))
CHURN = Weather(clients=3, visitors=2, least=2, quorum=2, deadline_ms=2000, rounds=4)
BUFFERED_CHURN = Weather(
    clients=4, visitors=1, least=2, rounds=6, deadline_ms=2000, rules=Rules(mode="buffered", buffer=3, max_staleness=2)
)
REMOVED = Weather(clients=3, mutes=1, least=2, quorum=2, deadline_ms=4000, rounds=4, removals=("mute-0", "client-0"))
OLDER_COPY = Weather(restored=0.0015, crash=0.003, freeze=0.03)
OLDER_COPY_OF_PARTS = Weather(restored=0.0015, crash=0.003, freeze=0.03, partitions=3)
OLDER_COPIES = {"one partition": OLDER_COPY, "three partitions": OLDER_COPY_OF_PARTS}
MODES = {
    "buffered": BUFFERED,
    "async": ASYNC,
    "target": TARGET,
    "selected": SELECTED,
    "fastest": FASTEST,
    "a mute client": MUTE,
    "a buffer and a mute client": BUFFERED_MUTE,
    "the fastest and a mute client": FASTEST_MUTE,
    "two processes of one client": TWINS,
    "clocks that are set": CLOCKS,
}
MEMBERS = {
    "a silent client is given up": SILENT,
    "clients come and go": CHURN,
    "clients of a buffer come and go": BUFFERED_CHURN,
    "an operator removes a client": REMOVED,
}


def undisturbed(tensors: Sequence[Tensor], weather: Weather) -> str:
    """The final sha256 of a run in which everyone's update counts in every round, computed without the engine."""
    specs = specs_of((f"t{i}", t) for i, t in enumerate(tensors))
    current = list(tensors)
    for round_ in range(weather.rounds):
        made = [(train(current, round_, n), float(10 + n)) for n in range(weather.clients)]
        made.sort(key=lambda pair: digest(specs, pair[0]))
        total = make("fedavg", {}).start(current)
        for update, examples in made:
            total.add(update, examples)
        current = [np.empty(t.shape, t.dtype) for t in current]
        total.finish(current)
    return digest(specs, current)


def final_sha256(world: World) -> str:
    """The head's model."""
    control = ControlTopic(world.log, world.federation)
    control.sync()
    assert control.head is not None
    return control.head.weights.sha256


def run(seed: int, weather: Weather) -> World:
    """One seed's run, with what holds of every run checked."""
    world = World(seed, weather)
    world.run(LIMIT)
    control = ControlTopic(world.log, world.federation)
    entries = control.sync()
    head = control.head
    assert head is not None and head.state == "finished" and head.round == weather.rounds
    rounds = [e.record for e in entries if e.link is not None and isinstance(e.record, Round)]
    assert [r.version for r in rounds] == list(range(1, weather.rounds + 1)), "one winner a version"
    check_updates(world, rounds)
    check_speakers(world, rounds)
    check_staleness(weather, head.lineage, rounds)
    check_deadlines(world, entries)
    check_selection(entries)
    check_snapshots(weather, head.lineage, rounds)
    check_given_up(world, rounds)
    check_removals(world, entries)
    assert set(world.ended_on.values()) == {head.base.version}, "every client ends on the head"
    assert [p.state for p in verify(world.log, world.federation)] == ["proved"] * (weather.rounds + 1)
    return world


def check_updates(world: World, rounds: Sequence[Round]) -> None:
    """No update counts twice, in one round or in two, and none is dropped without a word."""
    counted = [(a.client, a.base.seq) for r in rounds for a in r.accepted]
    assert len(counted) == len(set(counted)), "no update counts twice"
    topic = topics.aggregator_topic(world.federation)
    position = 0
    for r in rounds:
        read = world.log.read(topic, 0, position, r.snapshot.position)
        sent = {record.offset for record in read if not is_chunk(record.headers) and is_update(record.value)}
        named = {a.offset for a in r.accepted} | {refused.offset for refused in r.refused}
        silent = sent - named
        assert len(silent) <= sum(r.refused_more.values()), f"dropped without a word: {silent}"
        assert {a.offset for a in r.accepted} <= sent
        position = r.snapshot.position


def check_speakers(world: World, rounds: Sequence[Round]) -> None:
    """Whatever counts comes from the process that joined last, with the examples that it said."""
    topic = topics.aggregator_topic(world.federation)
    speaking: dict[str, tuple[str, int]] = {}
    counted = {a.offset for r in rounds for a in r.accepted}
    for record in world.log.read(topic, 0, *world.log.bounds(topic, 0)):
        said = None if is_chunk(record.headers) else decode_client(record.value)
        if isinstance(said, Joined):
            speaking[said.client] = (said.incarnation, said.examples)
        elif isinstance(said, Update) and record.offset in counted:
            assert speaking[said.client] == (said.incarnation, said.examples), "a superseded process counts"


def check_deadlines(world: World, entries: Sequence[Entry]) -> None:
    """No round is cut off before its deadline, but for what each setting of the clocks may take from it."""
    control, inbox = topics.control_topic(world.federation), topics.aggregator_topic(world.federation)
    before = 0
    for entry in (e for e in entries if e.link is not None):
        record, rules = entry.record, world.rules
        if isinstance(record, Round) and record.closed.by == "deadline":
            opened, closed = world.written.get((control, 0, before), 0), world.written[inbox, 0, record.closed.offset]
            set_ = sum(opened <= ms <= closed for ms in world.clocks_set)
            assert closed - opened >= rules.deadline_ms - set_ * longest_step(rules), "closed before its deadline"
        before = entry.offset


def check_snapshots(weather: Weather, lineage: Sequence[Base], rounds: Sequence[Round]) -> None:
    """A commit names nobody who is gone, but whom the next rounds must tell from a stranger."""
    reach = 0 if weather.rules.mode == "sync" else weather.rules.max_staleness
    for r in rounds:
        place = lineage.index(r.base) + 1  # of the version that it makes
        within = {base.seq for base in lineage[max(0, place - reach) : place]}
        for member in r.snapshot.members:
            needed = member.status in ("active", "removed") or member.counted in within
            assert needed, f"version {r.version} still names {member.client}, who {member.status}"


def check_given_up(world: World, rounds: Sequence[Round]) -> None:
    """After so many deadlines a client that says nothing costs no round its deadline."""
    said: dict[str, int] = {}
    topic = topics.aggregator_topic(world.federation)
    for record in world.log.read(topic, 0, *world.log.bounds(topic, 0)):
        client = getattr(None if is_chunk(record.headers) else decode_client(record.value), "client", "")
        said[client] = record.offset
    limit = world.weather.rules.missed_limit
    for name in (f"mute-{n}" for n in range(world.weather.mutes)):
        missed, position = 0, 0
        for r in rounds:
            if r.closed.by == "deadline" and position > said[name]:
                answered = {a.client for a in r.accepted if a.base == r.base}
                others = {m.client for m in r.snapshot.members if m.status == "active"} - answered - {name}
                assert others or missed < limit, f"round {r.round} waited for {name} after {missed} deadlines"
                missed += 1
            position = r.snapshot.position


def check_removals(world: World, entries: Sequence[Entry]) -> None:
    """Who was removed is in a later commit only as a process that joined after it."""
    control, inbox = topics.control_topic(world.federation), topics.aggregator_topic(world.federation)
    removed: dict[str, int] = {}
    for entry in (e for e in entries if e.link is not None):
        match entry.record:
            case Changed(removed=str(client)):
                removed[client] = world.written[control, 0, entry.offset]
            case Round() as r:
                for member in r.snapshot.members:
                    since = removed.get(member.client) if member.status == "active" else None
                    in_again = since is not None and world.written[inbox, 0, member.joined] < since
                    assert not in_again, f"{member.client} was removed and is in again"


def is_update(value: bytes | None) -> bool:
    """Whether a record is an update's manifest."""
    return isinstance(decode_client(value), Update)


def check_staleness(weather: Weather, lineage: Sequence[Base], rounds: Sequence[Round]) -> None:
    """No update counts from further back than the rules say, and no round from fewer than they say."""
    rules = weather.rules
    limit = 0 if rules.mode == "sync" else rules.max_staleness
    for r in rounds:
        assert all(lineage.index(r.base) - lineage.index(a.base) <= limit for a in r.accepted), "too stale"
        assert len(r.accepted) >= (weather.quorum or least(weather))


def least(weather: Weather) -> int:
    """The fewest updates that may make a round."""
    rules = weather.rules
    if rules.mode == "async" or rules.selection.name != "all":
        return 1
    clients = weather.least or weather.clients
    return min(clients, rules.buffer if rules.mode == "buffered" else rules.target or clients)


def check_selection(entries: Sequence[Entry]) -> None:
    """Whoever counts in a round was asked, where the federation chooses."""
    chain = [e.record for e in entries if e.link is not None]
    asked: set[str] | None = None
    opened = chain[0]
    assert isinstance(opened, Opened)
    for record in chain:
        match record:
            case Selected():
                asked = set(record.clients)
            case Round():
                if opened.rules.selection.name != "all":
                    assert asked is not None and {a.client for a in record.accepted} <= asked
                asked = None


@pytest.mark.parametrize("weather", [ALL_REQUIRED, SEVERAL_PARTITIONS], ids=["one partition", "three partitions"])
def test_disturbed_runs_end_with_the_undisturbed_bytes(weather: Weather) -> None:
    """Everyone required and patient: no fault changes a bit of the result."""
    expected = undisturbed(START, weather)
    for seed in range(FIRST, FIRST + RUNS):
        world = run(seed, weather)
        assert final_sha256(world) == expected, f"seed {seed}: {world.faults}"


@pytest.mark.parametrize("partitions", OLDER_COPIES)
def test_a_log_that_goes_back_gives_the_same_bytes(partitions: str) -> None:
    """Kafka is put back to older copies of its data: whoever read what is gone begins from what there is."""
    weather = OLDER_COPIES[partitions]
    expected = undisturbed(START, weather)
    for seed in range(FIRST, FIRST + RUNS // 10):
        world = run(seed, weather)
        assert final_sha256(world) == expected, f"seed {seed}: {world.faults}"


def test_runs_with_stragglers_prove_every_version() -> None:
    """Deadlines that cut clients off: each version equals its re-derivation from the log."""
    for seed in range(FIRST, FIRST + RUNS):
        run(seed, SHORT_DEADLINES)


def run_all(weather: Weather, runs: int) -> None:
    """So many seeds; what goes wrong names its own."""
    for seed in range(FIRST, FIRST + max(1, runs)):
        try:
            run(seed, weather)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_keeps_its_rules(mode: str) -> None:
    """Buffers, targets and selections under every fault: nothing is lost, doubled, too stale or waits for ever."""
    run_all(MODES[mode], RUNS // 3)


@pytest.mark.parametrize("members", MEMBERS)
def test_who_comes_goes_or_says_nothing_holds_nobody_up(members: str) -> None:
    """Commits stay small, whoever is silent is given up, and whoever was removed stays out."""
    run_all(MEMBERS[members], RUNS // 10)


def test_a_seed_repeats_exactly() -> None:
    """The same seed gives the same log, record by record."""
    a, b = World(7, ALL_REQUIRED), World(7, ALL_REQUIRED)
    a.run(LIMIT)
    b.run(LIMIT)
    assert (a.steps, a.faults, a.clock.ms) == (b.steps, b.faults, b.clock.ms)
