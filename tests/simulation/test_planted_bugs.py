"""The simulation can fail: each of these planted bugs is found within a minute."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from mainstem.aggregation.reduction import reduce
from mainstem.aggregation.strategies import Strategy
from mainstem.aggregator import versions
from mainstem.aggregator.federation import Federation
from mainstem.client.machine import ClientMachine
from mainstem.errors import MainstemError, UnreadableError
from mainstem.protocol import chain, updates
from mainstem.protocol.chain import Head, Link
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.log import Record
from mainstem.protocol.messages import LARGEST_INTEGER, Lifecycle, Member, Metrics, Rules, Update
from mainstem.rounds import Seen, judging, machine, making, membership, modes, steps, timing
from mainstem.rounds.membership import Roster
from mainstem.rounds.policy import Policy
from mainstem.testing.memory_log import MemoryLog
from tests.simulation import checks, weathers
from tests.simulation.weathers import DEFAULT, Weather


def found(weather: Weather, seconds: float = 60) -> bool:
    """Whether some seed's run violates an invariant; `seconds` of the processor."""
    until = time.process_time() + seconds
    try:
        expected, seed = checks.undisturbed(weather), 0
        while time.process_time() < until:
            seed += 1
            checks.run(seed, weather, expected)
    except (AssertionError, MainstemError, KeyError):
        return True
    return False


def test_skipped_first_wins_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain in which the last writer wins."""
    right = chain.follow

    def wrong(head: Head, link: Link) -> Head | None:
        record = msgspec.structs.replace(link.record, prev=head.link.hash)
        if record.seq == head.link.record.seq:
            record = msgspec.structs.replace(record, seq=record.seq + 1)
        return right(head, Link(link.offset, link.timestamp_ms, link.hash, record))

    monkeypatch.setattr(chain, "follow", wrong)
    assert found(weathers.SEVERAL_PARTITIONS)


def test_position_dropped_from_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose snapshot says that the topic is read to its end."""
    right = making.successor

    def wrong(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
        if "snapshot" in fields:
            snapshot = fields["snapshot"]
            fields["snapshot"] = msgspec.structs.replace(snapshot, position=snapshot.position + 1)  # type: ignore[attr-defined, type-var]
        return right(head, kind, fields)

    monkeypatch.setattr(machine, "successor", wrong)
    assert found(weathers.ALL_REQUIRED)


def test_folding_in_arrival_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum whose order is that of the network."""
    monkeypatch.setattr(
        steps, "sorted", lambda values, key=None: list(values) if key else sorted(values), raising=False
    )
    assert found(weathers.ALL_REQUIRED)


def test_ignored_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update counts as often as it is sent."""
    monkeypatch.setattr(Roster, "has_counted", lambda self, client, base: False)
    assert found(weathers.ALL_REQUIRED)


def test_a_superseded_process_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the client's id speaks for it."""
    monkeypatch.setattr(Roster, "listen", lambda self, client, incarnation: None)
    monkeypatch.setattr(Roster, "measure", lambda self, update: None)
    assert found(weathers.TWINS)


def test_duplicates_forgotten_at_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffered round takes what an earlier one has counted."""
    right = Roster.__init__

    def wrong(self: Roster, members: Iterable[Member] = (), rules: Rules = DEFAULT, _: int | None = None) -> None:
        right(self, [msgspec.structs.replace(member, counted=None) for member in members], rules)

    monkeypatch.setattr(Roster, "__init__", wrong)
    assert found(weathers.BUFFERED)


def test_commits_that_name_who_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes and goes stays in every later record."""
    monkeypatch.setattr(membership, "_counts_from", lambda member, oldest: True)
    assert found(weathers.CHURN)


def test_silent_clients_that_are_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round waits for its deadline, for a client that is gone."""
    monkeypatch.setattr(Roster, "is_given_up", lambda self, member: False)
    assert found(weathers.SILENT)


def test_a_removal_that_a_commit_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's removal has no effect."""
    monkeypatch.setattr(Roster, "remove", lambda self, client: None)
    assert found(weathers.REMOVED)


def test_accepted_stale_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update from an earlier version counts."""
    monkeypatch.setattr(modes.Sync, "admit", lambda self, head, base: 0)
    assert found(weathers.SHORT_DEADLINES)


def test_no_limit_of_staleness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffered round takes an update however old its base is."""
    monkeypatch.setattr(modes.Buffered, "admit", lambda self, head, base: modes.staleness_of(head, base))
    assert found(weathers.ASYNC)


def test_everyone_counts_though_not_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients train and count whether they are asked or not."""
    monkeypatch.setattr(ClientMachine, "_asked", lambda self, head: True)
    right = judging.judge

    def wrong(head: Head, policy: Policy, roster: Roster, offset: int, update: Update) -> None:
        right(dataclasses.replace(head, steps=()), dataclasses.replace(policy, chooser=None), roster, offset, update)

    monkeypatch.setattr(steps, "judge", wrong)
    assert found(weathers.SELECTED)


def test_late_updates_that_weigh_like_fresh_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffered round that forgets the staleness weight is not what `verify` derives."""
    right = reduce

    def wrong(strategy: Strategy, specs: Exchange, model: Any, updates: Any, *others: Any) -> Any:
        fresh = [dataclasses.replace(u, claim=dataclasses.replace(u.claim, discount=1.0)) for u in updates]
        return right(strategy, specs, model, fresh, *others)

    monkeypatch.setattr(versions, "reduce", wrong)
    assert found(weathers.BUFFERED)


def test_round_time_that_follows_the_newest_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back freezes every deadline, and one that is set ahead cuts it off."""

    def wrong(self: timing.RoundTime, seen: Seen) -> None:
        self.now_ms, self.started = max(self.now_ms, seen.time_ms), True

    monkeypatch.setattr(timing.RoundTime, "see", wrong)
    assert found(weathers.CLOCKS)


def test_steps_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stamp takes a whole deadline."""
    monkeypatch.setattr(timing, "longest_step", lambda rules: 10**12)
    assert found(weathers.CLOCKS)


def ended_by_another_version(*which: Any, read: Callable[..., Any] = updates.read, **how: Any) -> Any:
    """`updates.read` for which offsets that hold another version are no log that went back."""
    try:
        return read(*which, **how)
    except UnreadableError as error:
        raise error.__cause__ or error from None


def test_a_head_of_another_history_that_nobody_looks_back_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that went back and has grown over the reader's place: what follows there does not follow its head.

    Nor do the clients tell it by a version whose offsets hold another one, which alone would save them.
    """
    monkeypatch.setattr(updates, "read", ended_by_another_version)
    monkeypatch.setattr(ControlTopic, "_look_back", lambda topic: None)
    assert found(weathers.OLDER_COPY)


def test_a_reader_behind_the_end_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is shorter than what was read of it, and a reader that waits for more.

    Nor do the clients tell it by a version whose offsets hold another one, which alone would save them.
    """
    monkeypatch.setattr(updates, "read", ended_by_another_version)
    right = MemoryLog.wait

    def wrong(log: MemoryLog, topic: str, partition: int, position: int, timeout: float, limit: int) -> list[Record]:
        try:
            return right(log, topic, partition, position, timeout, limit)
        except UnreadableError:
            return []

    monkeypatch.setattr(MemoryLog, "wait", wrong)
    assert found(weathers.OLDER_COPY)


def test_sums_that_leave_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that no reader takes, written without a look at it."""
    monkeypatch.setattr(Federation, "_writable", lambda federation, record: record)
    monkeypatch.setattr(machine, "weighted", lambda metrics: Metrics(examples=LARGEST_INTEGER + 1))
    monkeypatch.setattr(checks, "LIMIT", 5_000)
    assert found(weathers.ALL_REQUIRED)
