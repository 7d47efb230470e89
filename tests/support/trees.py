"""A light learner of trees: no XGBoost, no data, and yet sound tables that depend on the model and on who grows
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mainstem.jobs import forests as jobs_forests
from mainstem.jobs.forests import ForestParams
from mainstem.lineage import read_history
from mainstem.protocol import forests
from mainstem.protocol.messages import Forest, Opened, Rules, StrategyChoice, Training
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation
from tests.support.runs import Ticking, aggregate

FEATURES, DEPTH, ROWS, ROOM = 4, 2, 2, 40
FOREST = Forest(trees=ROWS, features=FEATURES)
BAGGING = StrategyChoice(name="bagging")


def start() -> list[Tensor]:
    """Version 0: no tree."""
    return forests.empty(ROOM, DEPTH)


def drawn(random: np.random.Generator, rows: int = ROWS, depth: int = DEPTH, features: int = FEATURES) -> list[Tensor]:
    """[feature, value] of trees of any form."""
    _, feature, value = forests.empty(rows, depth)
    for place in range(forests.places_of(depth)):
        reached = place == 0 or feature[:, (place - 1) // 2] > 0
        inner = place < forests.places_of(depth - 1)
        splits = reached & (random.random(rows) < 0.7) & inner
        feature[:, place] = np.where(splits, random.integers(1, features + 1, rows), 0)
        value[:, place] = np.where(reached, random.normal(0, 1, rows), 0)
    return [feature, value]


def growing(number: int) -> Callable[[Sequence[Tensor], int], list[Tensor]]:
    """What client `number` adds to a model."""

    def train(tensors: Sequence[Tensor], _: int) -> list[Tensor]:
        size = int(tensors[forests.TREES][0])
        weight = abs(int(tensors[forests.VALUE].sum(dtype=np.float64) * 1e6))
        return [tensors[forests.TREES], *drawn(np.random.default_rng([number, size, weight]))]

    return train


def opened_forest(params: ForestParams, training: Training) -> Opened:
    """The record that opens a run of it."""
    log = MemoryLog(Ticking())
    federation = open_federation(
        log,
        forests.empty(params.trees, params.depth),
        Rules(),
        BAGGING,
        names=[spec.name for spec in params.specs],
        input=jobs_forests.input_of(params),
        training=training,
        framework=jobs_forests.FRAMEWORK,
        architecture=jobs_forests.architecture_of(params),
        forest=jobs_forests.parts_of(params),
    )
    return read_history(log, federation).opened


def clients_of(log: MemoryLog, federation: str, count: int, incarnation: str = "1") -> list[LightClient]:
    """Clients `c0`, `c1`, ... with 10, 11, ... examples."""
    return [LightClient(log, federation, f"c{n}", growing(n), 10 + n, incarnation=incarnation) for n in range(count)]


def opened_run(count: int = 3, rounds: int = 3, quorum: int | None = None) -> tuple[MemoryLog, str]:
    """A federation of a forest that nobody has joined."""
    log = MemoryLog(Ticking())
    rules = Rules(rounds=rounds, min_clients=count, max_clients=count, quorum=quorum)
    federation = open_federation(
        log, start(), rules, BAGGING, federation="forest01", names=("trees", "feature", "value"), forest=FOREST
    )
    return log, federation


def finished_run(count: int = 3, rounds: int = 3) -> tuple[MemoryLog, str]:
    """The same, after its rounds."""
    log, federation = opened_run(count, rounds)
    aggregate(log, federation, clients_of(log, federation, count))
    return log, federation
