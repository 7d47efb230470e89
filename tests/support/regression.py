"""Linear regression by plain NumPy in float64: clients of a federation that pass their gradients through its hook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.client.keep import State
from mainstem.client.participant import Assignment, Learner, Measured, Outcome
from mainstem.client.voice import Presence, UpdateClaim
from mainstem.protocol.messages import Metrics, Opened, Rules, StrategyChoice, Training
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, open_federation
from tests.support.runs import Ticking, aggregate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """One client's: x of shape (n, d), y of (n,); it makes so many steps of `size` samples in a round, in order."""

    x: Floats
    y: Floats
    size: int
    steps: int

    def batch(self, step: int) -> tuple[Floats, Floats]:
        """The samples of a step, from the first again after the last."""
        places = (np.arange(self.size) + step * self.size) % len(self.x)
        return self.x[places], self.y[places]

    def loss(self, weights: Sequence[Floats]) -> float:
        """Half the mean squared error over all of them."""
        return float(np.mean((self.x @ weights[0] + weights[1] - self.y) ** 2) / 2)

    def gradient(self, weights: Sequence[Floats], step: int) -> list[Floats]:
        """Of a step's loss, by kernel (d,) and bias ()."""
        x, y = self.batch(step)
        error = x @ weights[0] + weights[1] - y
        return [x.T @ error / len(x), np.asarray(error.mean())]


def sites(seed: int, clients: int, steps: Sequence[int], dimensions: int = 3) -> list[Samples]:
    """Clients whose data do not agree: each has a true model of its own."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(clients):
        n = int(random.integers(4, 12))
        x = random.normal(size=(n, dimensions))
        y = x @ random.normal(size=dimensions) + random.normal() + 0.1 * random.normal(size=n)
        found.append(Samples(x, y, 2, steps[number % len(steps)]))
    return found


@dataclass
class Regressor(LightClient):
    """A client with samples of its own."""

    samples: Samples | None = None
    learned: list[Assignment] = field(default_factory=list)

    def learner(self) -> Learner:
        """Itself in the place of a function."""
        return _Regression(self)


class _Regression:
    """Implements `participant.Learner`: SGD, perhaps with momentum, step by step."""

    frameworks = None

    def __init__(self, client: Regressor) -> None:
        assert client.samples is not None
        self._client, self._samples = client, client.samples
        self._model: Sequence[Tensor] = ()

    def presence(self, opened: Opened) -> Presence:
        """See `Learner`."""
        return Presence(len(self._samples.x))

    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """See `Learner`."""
        self._model = tensors

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """See `Learner`."""
        self._client.learned.append(assignment)
        hook, rate = assignment.hook, assignment.rate
        assert rate is not None
        optimizer: Any = opened.training.optimizer
        momentum = optimizer["config"]["momentum"] if isinstance(optimizer, dict) else 0.0
        start = [np.asarray(tensor) for tensor in self._model]
        constants = hook.constants if hook is not None and hook.constants else [np.zeros_like(t) for t in start]
        weights, velocity = [t.copy() for t in start], [np.zeros_like(t) for t in start]
        for step in range(self._samples.steps):
            gradients = self._samples.gradient(weights, step)
            if hook is not None:
                terms = zip(gradients, weights, start, constants, strict=True)
                gradients = [hook.change(*each) for each in terms]
            velocity = [momentum * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
            weights = [w + v for w, v in zip(weights, velocity, strict=True)]
        loss = self._samples.loss(start) if assignment.measure else None
        return Outcome(weights, UpdateClaim(len(self._samples.x), steps=self._samples.steps, loss=loss))

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """See `Learner`."""
        return Measured(Metrics(examples=1))

    def now(self, phase: str, base: int | None = None) -> None:
        """See `Learner`."""


MODEL: list[Tensor] = [np.array([0.3, -0.2, 0.1]), np.array(0.5)]
"""Version 0: kernel and bias."""


def federate(
    strategy: StrategyChoice, data: Sequence[Samples], training: Training, *, rounds: int = 3, **rules: Any
) -> tuple[MemoryLog, str, list[Regressor]]:
    """A finished run over a log in memory, its federation, and its clients `c0`, `c1`, ..."""
    log = MemoryLog(Ticking())
    limits = Rules(rounds=rounds, min_clients=len(data), max_clients=len(data), **rules)
    federation = open_federation(log, MODEL, limits, strategy, federation="regress1", training=training)
    clients = regressors(log, federation, data)
    aggregate(log, federation, clients)
    return log, federation, clients


def regressors(log: Any, federation: str, data: Sequence[Samples], incarnation: str = "1") -> list[Regressor]:
    """The clients that have these data."""
    return [
        Regressor(
            log, federation, f"c{n}", lambda tensors, _: list(tensors), len(samples.x), incarnation, samples=samples
        )
        for n, samples in enumerate(data)
    ]
