"""What holds of every simulated run that has ended, whatever happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mainstem.lineage import verify
from mainstem.protocol import topics
from mainstem.protocol.chain import Head
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.control import ControlTopic, Entry
from mainstem.protocol.messages import Base, Changed, Joined, Opened, Round, Selected, Tick, Update
from mainstem.protocol.packing import decode
from mainstem.rounds.timing import longest_step
from tests.simulation.weathers import Weather
from tests.simulation.world import World, thrift
from tests.support.sent import is_update

LIMIT = 60_000
"""Port calls of a run: one that needs more hangs."""


def undisturbed(weather: Weather) -> str:
    """The final sha256 of a run in which nothing happens; empty where runs may end otherwise."""
    if not weather.exact:
        return ""
    world = World(0, replace(weather, crash=0, lost_before=0, lost_after=0, freeze=0, jump=0, restored=0))
    with thrift():
        world.run(LIMIT)
    return head_of(world).weights.sha256


def head_of(world: World) -> Head:
    """Where the run stands."""
    control = ControlTopic(world.log, world.federation)
    control.sync()
    assert control.head is not None
    return control.head


def run(seed: int, weather: Weather, expected: str = "") -> World:
    """One seed's run, with what holds of every run checked; and its final sha256 where one is expected."""
    with thrift():
        world = World(seed, weather)
        world.run(LIMIT)
        check(world)
    if expected:
        assert head_of(world).weights.sha256 == expected, f"other bytes than undisturbed: {world.faults}"
    return world


def check(world: World) -> None:
    """That the run has ended, and all that holds of every such run."""
    weather = world.weather
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


def check_updates(world: World, rounds: Sequence[Round]) -> None:
    """No update counts twice, in one round or in two, and none is dropped without a word."""
    counted = [(a.client, a.base.seq) for r in rounds for a in r.accepted]
    assert len(counted) == len(set(counted)), "no update counts twice"
    topic = topics.aggregator_topic(world.federation)
    position = 0
    for r in rounds:
        read = world.log.read(topic, 0, position, r.snapshot.position)
        sent = {record.offset for record in read if is_update(record)}
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
        said = None if is_chunk(record.headers) else decode(record)
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
        client = getattr(None if is_chunk(record.headers) else decode(record), "client", "")
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
    """Who was removed is in a later commit only as a process that joined after that.

    A removal takes effect at the first tick after it, at the latest with its round's commit.
    """
    topic = topics.aggregator_topic(world.federation)
    removed: dict[str, int] = {}
    pending: dict[str, int] = {}
    first, end = world.log.bounds(topic, 0)
    read = world.log.read(topic, 0, first, end)
    said = {record.offset: decode(record) for record in read if not is_chunk(record.headers)}
    for entry in (e for e in entries if e.link is not None):
        match entry.record:
            case Changed(removed=str(client), seq=seq):
                ticks = [offset for offset, record in said.items() if isinstance(record, Tick) and record.seq == seq]
                pending[client] = min(ticks, default=end)
            case Round() as r:
                removed |= {client: min(tick, r.snapshot.position) for client, tick in pending.items()}
                pending.clear()
                for member in r.snapshot.members:
                    in_again = member.status == "active" and member.joined < removed.get(member.client, 0)
                    assert not in_again, f"{member.client} was removed and is in again"


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
