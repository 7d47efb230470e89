"""Simulated runs over many seeds: whatever crashes, freezes or is lost, the run ends, and with the right bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from mainstem.control import ControlTopic
from mainstem.lineage import verify
from mainstem.messages import Round
from mainstem.strategies import make
from mainstem.weights import Tensor, digest, specs_of
from tests.simulation.world import Weather, World, train

RUNS = int(os.environ.get("MAINSTEM_SIMULATED_RUNS", "150"))
FIRST = int(os.environ.get("MAINSTEM_SIMULATED_SEED", "0"))
LIMIT = 60_000
START: list[Tensor] = [np.linspace(-2, 2, 24), np.array([1.0, -2.0], np.float32), np.array(3, np.int32)]

ALL_REQUIRED = Weather()
SEVERAL_PARTITIONS = Weather(partitions=3, aggregators=3, crash=0.02)
SHORT_DEADLINES = Weather(deadline_ms=400, quorum=1, jump=0.01)


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
        current = total.finish()
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
    for r in rounds:
        assert all(a.base == r.base for a in r.accepted), "no stale update counts"
        counted = [(a.client, a.base) for a in r.accepted]
        assert len(counted) == len(set(counted)), "no update counts twice"
        assert len(counted) >= (weather.quorum or weather.clients)
    assert [p.state for p in verify(world.log, world.federation)] == ["proved"] * (weather.rounds + 1)
    return world


@pytest.mark.parametrize("weather", [ALL_REQUIRED, SEVERAL_PARTITIONS], ids=["one partition", "three partitions"])
def test_disturbed_runs_end_with_the_undisturbed_bytes(weather: Weather) -> None:
    """Everyone required and patient: no fault changes a bit of the result."""
    expected = undisturbed(START, weather)
    for seed in range(FIRST, FIRST + RUNS):
        world = run(seed, weather)
        assert final_sha256(world) == expected, f"seed {seed}: {world.faults}"


def test_runs_with_stragglers_prove_every_version() -> None:
    """Deadlines that cut clients off: each version equals its re-derivation from the log."""
    for seed in range(FIRST, FIRST + RUNS):
        run(seed, SHORT_DEADLINES)


def test_a_seed_repeats_exactly() -> None:
    """The same seed gives the same log, record by record."""
    a, b = World(7, ALL_REQUIRED), World(7, ALL_REQUIRED)
    a.run(LIMIT)
    b.run(LIMIT)
    assert (a.steps, a.faults, a.clock.ms) == (b.steps, b.faults, b.clock.ms)
