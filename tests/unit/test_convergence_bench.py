"""The benchmark of convergence: its rounds are the federation's, its gradients right, its table and picture whole."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np

from benchmarks.convergence import drawing, table, task
from benchmarks.convergence.federation import run
from benchmarks.convergence.sides import SIDES, STRATEGY_SIDES, parameters
from mainstem.aggregation.strategies import OF_NUMBERS
from mainstem.protocol.messages import Rules, StrategyChoice


def test_a_round_is_the_mean_of_what_clients_trained() -> None:
    """The run's first accuracy is that of NumPy's weighted mean."""
    (accuracy,) = run(1, StrategyChoice(), Rules(), 1)["accuracies"]
    sent = [task.train(task.first(1), 1, client, 1) for client in range(task.CLIENTS)]
    examples = [trained.examples for trained in sent]
    mean = [np.average(rows, axis=0, weights=examples) for rows in zip(*(one.weights for one in sent), strict=True)]
    assert accuracy == 100 * task.accuracy(mean)


def test_gradients_are_the_slopes_of_the_loss() -> None:
    """By small steps, in float64."""
    random = np.random.default_rng(3)
    weights = [tensor.astype(np.float64) for tensor in task.first(3)]
    numbers = np.arange(40)
    x, y = (part[:40] for part in task.images())
    for tensor, slope in zip(weights, task.gradient(weights, x.astype(np.float64), y), strict=True):
        place = tuple(int(random.integers(size)) for size in tensor.shape)
        before, step = task.loss(weights, numbers), 1e-6
        tensor[place] += step
        assert abs((task.loss(weights, numbers) - before) / step - slope[place]) < 1e-4
        tensor[place] -= step


def test_every_strategy_of_the_registry_is_there() -> None:
    """By itself, with all its parameters told to Flower's side."""
    assert set(STRATEGY_SIDES) == set(OF_NUMBERS) - {"custom"}
    assert parameters("fedadam").keys() >= {"server_learning_rate", "beta_1", "beta_2", "tau"}
    assert all(isinstance(side.opened_rules, Rules) for side in SIDES.values())


def test_tables_and_picture() -> None:
    """Ours, Flower's, an encoding and Keras; the picture is XML with a line each."""

    def kept(last: float, **more: Any) -> list[dict[str, Any]]:
        return [{"accuracies": [50.0, last + seed], "last": last + seed, "late": last, **more} for seed in range(3)]

    runs = {"fedavg": kept(90.0, up=77.0), "krum": kept(60.0, up=77.0), "fedavg, int8 up": kept(89.5, up=20.0)}
    runs |= {table.KERAS: kept(90.0)[:1], table.FLOWER + "fedavg": kept(90.0)}
    told = {"flower": "1.0", "rounds": 2, "runs": runs}
    made = table.made(told)
    assert "| `fedavg` | 50.0 | 91.0 (90.0 to 92.0) |" in made
    assert "| fedavg | 91.0 (90.0 to 92.0) | 91.0 (90.0 to 92.0) | +0.0 (+0.0 to +0.0) |" in made
    assert "| int8 up | 90.5 (89.5 to 91.5) | -0.5 (-0.5 to -0.5) | 20.0 |" in made
    assert "no round more than 0.0 points" in made.replace("\n", " ")
    picture = ElementTree.fromstring(drawing.drawn(told))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 5
