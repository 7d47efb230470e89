"""The simulation can fail: each of these planted bugs is found within a minute."""

from __future__ import annotations

import time

import msgspec
import pytest

from mainstem import chain, modes
from mainstem.chain import Head, Link
from mainstem.errors import MainstemError, RefusedError
from mainstem.messages import Base, Lifecycle, Update
from mainstem.rounds import Effect, RoundMachine, Seen, machine, making
from tests.simulation import test_simulation as simulation
from tests.simulation.world import Weather


def found(weather: Weather, seconds: float = 60) -> bool:
    """Whether some seed's run violates an invariant."""
    expected = simulation.undisturbed(simulation.START, weather)
    until = time.monotonic() + seconds
    seed = 0
    while time.monotonic() < until:
        seed += 1
        try:
            world = simulation.run(seed, weather)
            if weather.quorum is None:
                assert simulation.final_sha256(world) == expected
        except (AssertionError, MainstemError, KeyError):
            return True
    return False


def admit_any_number(self: modes.Sync, head: Head, base: Base, number: int) -> None:
    """Sync mode without its rule of one update a client."""
    if base != head.base:
        raise RefusedError("stale", "")


def test_skipped_first_wins_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain in which the last writer wins."""
    right = chain.follow

    def wrong(head: Head, link: Link) -> Head | None:
        record = msgspec.structs.replace(link.record, prev=head.link.hash)
        if record.seq == head.link.record.seq:
            record = msgspec.structs.replace(record, seq=record.seq + 1)
        return right(head, Link(link.offset, link.timestamp_ms, link.hash, record))

    monkeypatch.setattr(chain, "follow", wrong)
    assert found(simulation.SEVERAL_PARTITIONS)


def test_position_dropped_from_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit whose snapshot says that the topic is read to its end."""
    right = making.successor

    def wrong(head: Head, kind: type[Lifecycle], fields: dict[str, object]) -> Lifecycle:
        if "snapshot" in fields:
            snapshot = fields["snapshot"]
            fields["snapshot"] = msgspec.structs.replace(snapshot, position=snapshot.position + 1)  # type: ignore[attr-defined, type-var]
        return right(head, kind, fields)

    monkeypatch.setattr(machine, "successor", wrong)
    assert found(simulation.ALL_REQUIRED)


def test_folding_in_arrival_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum whose order is that of the network."""
    monkeypatch.setattr(
        machine, "sorted", lambda values, key=None: list(values) if key else sorted(values), raising=False
    )
    assert found(simulation.ALL_REQUIRED)


def test_ignored_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update counts as often as it is sent."""
    right = RoundMachine._examine

    def wrong(self: RoundMachine, seen: Seen, update: Update) -> list[Effect]:
        return right(self, seen, msgspec.structs.replace(update, number=seen.offset))

    monkeypatch.setattr(RoundMachine, "_examine", wrong)
    monkeypatch.setattr(modes.Sync, "admit", admit_any_number)
    assert found(simulation.ALL_REQUIRED)


def test_accepted_stale_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update from an earlier version counts."""

    def wrong(self: modes.Sync, head: Head, base: Base, number: int) -> None:
        return None

    monkeypatch.setattr(modes.Sync, "admit", wrong)
    assert found(simulation.SHORT_DEADLINES)
