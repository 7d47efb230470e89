"""Simulated runs over a few seeds each: whatever crashes, freezes or is lost, the run ends, and with the right bytes.

`python -m tests.simulation.campaign` runs thousands.
"""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.aggregation.blocks import reader
from mainstem.aggregation.local import LocalStart
from mainstem.aggregation.reduction import Counted, Reduction, reduce
from mainstem.aggregation.strategies import Claim, make
from mainstem.client.keep import State
from mainstem.lineage import read_history
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import Rules
from mainstem.protocol.weights import digest
from mainstem.swarm.client import one_step
from mainstem.testing.memory_log import MemoryLog
from tests.simulation.campaign import cases
from tests.simulation.checks import LIMIT, run, undisturbed
from tests.simulation.weathers import (
    ALL_REQUIRED,
    BUFFERED,
    ENCODED,
    FORESTS,
    KEPT,
    SITES,
    STRATEGIES,
    WEATHERS,
    Weather,
)
from tests.simulation.world import SimClock, World, train, version_0
from tests.support import trees
from tests.support.federations import open_federation


def run_all(weather: Weather, runs: int) -> None:
    """So many seeds; what goes wrong names its own."""
    expected = undisturbed(weather)
    for seed in range(runs):
        try:
            run(seed, weather, expected)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("weather", WEATHERS)
def test_every_weather_keeps_the_rules(weather: str) -> None:
    """Modes, members and faults of every kind: nothing is lost, doubled, too stale or waits for ever.

    Where everyone is required, no fault changes a bit of the result.
    """
    run_all(WEATHERS[weather], 60 if WEATHERS[weather] == ALL_REQUIRED else 12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies(strategy: str) -> None:
    """With state between rounds, with a sort, with a choice: whoever is killed, the bytes are the undisturbed run's."""
    run_all(STRATEGIES[strategy], 3)


@pytest.mark.parametrize("way", ENCODED)
def test_encodings(way: str) -> None:
    """Killed anywhere: what an encoding leaves over is never lost, and never counts twice."""
    run_all(ENCODED[way], 4)


@pytest.mark.parametrize("shape", KEPT)
def test_an_older_copy_of_kafka_finds_what_a_client_kept_then(shape: str) -> None:
    """As far back as Kafka goes: what an encoding left over, and tensors that stay at their sites."""
    run_all(KEPT[shape], 4)


def test_a_version_whose_offsets_hold_another_by_now_is_asked_for_again() -> None:
    """A client knows a version of before the older copy, and what stands there since is none of its chunks."""
    (case,) = (case for case in cases() if case.name == "an older copy, personal sites / bulyan / raw")
    case.run(5)


def test_late_updates_are_changes_of_what_they_began_with() -> None:
    """Every version of a buffered run is proved."""
    run_all(BUFFERED.travelling("int8 both ways"), 4)


@pytest.mark.parametrize("sites", SITES)
def test_sites_of_their_own(sites: str) -> None:
    """Tensors that stay at their sites, and models that differ: whoever is killed, the bytes are the undisturbed
    run's."""
    run_all(SITES[sites], 6)


@pytest.mark.parametrize("forest", FORESTS)
def test_forests(forest: str) -> None:
    """Trees are put behind trees: no fault loses, doubles or changes one."""
    run_all(FORESTS[forest], 6)


@pytest.mark.parametrize("name", [*STRATEGIES, *SITES, "a forest"])
def test_undisturbed_runs_are_what_the_reducer_makes(name: str) -> None:
    """The bytes that disturbed runs are compared with, computed without aggregator, clients and log."""
    weather = {**STRATEGIES, **SITES, **FORESTS}[name]
    assert undisturbed(weather) == reduced(weather)


def reduced(weather: Weather) -> str:
    """The final sha256 of a run in which everyone's update counts in every round, computed without the engine."""
    log = MemoryLog(SimClock())
    forest = trees.FOREST if weather.forest else None
    federation = open_federation(
        log, version_0(weather), Rules(), weather.strategy, adaptation=weather.adaptation, forest=forest
    )
    opened = read_history(log, federation).opened
    specs, strategy = exchange(opened), make(weather.strategy.name, weather.strategy.params)
    made = Reduction(
        version_0(weather), {g.name: [np.zeros(s.shape, s.dtype) for s in g.tensors] for g in specs.state}, ()
    )
    own = [{g.name: [np.zeros(s.shape) for s in g.tensors] for g in specs.up} for _ in range(weather.clients)]
    sites = [weather.sites[n % len(weather.sites)](opened) for n in range(weather.clients)]
    kept: list[State] = [{} for _ in sites]
    for round_ in range(weather.rounds):
        sent = []
        for n, (sums, site) in enumerate(zip(own, sites, strict=True)):
            mine = {g.name: [t.astype(s.dtype) for t, s in zip(sums[g.name], g.tensors, strict=True)] for g in specs.up}
            start = LocalStart(1.0, [made.tensors[number] for number in specs.trained], made.state, mine)
            base, hook = site.down(made.tensors, kept[n]), strategy.asks.hook(start)
            trained = train(base, round_, n, weather.forest)
            kept[n], update = site.staying(trained), site.up(trained)
            update = update if hook is None else one_step(site.exchange, site.up(base), update, hook, 1.0)
            carried = strategy.asks.carried(start, [update[number] for number in specs.trained], 1)
            for name, changes in carried.items():
                sums[name] = [total + change for total, change in zip(sums[name], changes, strict=True)]
            extra = [tensor for group in specs.up for tensor in carried[group.name]]
            sha256 = digest(site.exchange.payloads[0], [update[number] for number in site.exchange.carried])
            sent.append((sha256, 10 + n, [*update, *extra], site.exchange if site.exchange.narrowed else None))
        sent.sort(key=lambda each: each[0])
        counted = [
            Counted(Claim(str(n), examples, way=1.0, loss=1.0, rate=1.0), reader(update), None, narrowed)
            for n, (_, examples, update, narrowed) in enumerate(sent)
        ]
        made = reduce(strategy, specs, made.tensors, counted, made.state, round_ + 1, clients=weather.clients)
    return digest(specs.model, made.tensors)


def test_a_seed_repeats_exactly() -> None:
    """The same seed gives the same log, record by record."""
    a, b = World(7, ALL_REQUIRED), World(7, ALL_REQUIRED)
    a.run(LIMIT)
    b.run(LIMIT)
    assert (a.steps, a.faults, a.clock.ms) == (b.steps, b.faults, b.clock.ms)
