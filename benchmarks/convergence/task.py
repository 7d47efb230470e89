"""What both systems train, in either environment: a small network in NumPy on scikit-learn's handwritten digits.

1,400 of the 1,797 images of 8 x 8 are dealt to ten clients by a Dirichlet distribution for each digit (Hsu et al.,
"Measuring the Effects of Non-Identical Data Distribution", 2019, arXiv:1909.06335), 397 are the test set. Training is
a pure function of (weights, seed, client, round): plain SGD, which keeps no state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

CLIENTS, ROUNDS, ALPHA = 10, 30, 0.3
EPOCHS, BATCH, RATE = 2, 32, 0.05
TRAINING_IMAGES, HIDDEN, CLASSES = 1400, 256, 10

Array = Any
Change = Callable[[Array, Array, Array, Array], Array]
"""(gradient, weight, weight at the round's start, constant) -> gradient, as `mainstem.aggregation.local` has it."""


@dataclass(frozen=True)
class Trained:
    """What a client's round comes to; `loss` is the mean cross-entropy of the model that it began with, on its data."""

    weights: list[Array]
    examples: int
    steps: int
    loss: float


@functools.cache
def images() -> tuple[Array, Array]:
    """(1797, 64) float32 in 0..1 and (1797,) int, in a fixed random order."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return (digits.data[order] / 16).astype(np.float32), digits.target[order]


@functools.cache
def shares(seed: int) -> list[Array]:
    """Each client's images, as ascending numbers; nobody has none."""
    _, labels = images()
    random = np.random.default_rng([seed, 1])
    parts: list[list[int]] = [[] for _ in range(CLIENTS)]
    for digit in range(CLASSES):
        numbers = np.flatnonzero(labels[:TRAINING_IMAGES] == digit)
        edges = (np.cumsum(random.dirichlet([ALPHA] * CLIENTS)) * len(numbers)).astype(int)[:-1]
        for part, share in zip(parts, np.split(numbers, edges), strict=True):
            part.extend(share)
    return [np.array(sorted(part) or [0]) for part in parts]


def first(seed: int) -> list[Array]:
    """Version 0: 64 x 256 x 10, He et al. 2015, 19,210 numbers."""
    random = np.random.default_rng([seed, 2])
    kernels = [(64, HIDDEN), (HIDDEN, CLASSES)]
    tensors: list[Array] = []
    for inputs, outputs in kernels:
        tensors += [(random.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32)]
        tensors += [np.zeros(outputs, np.float32)]
    return tensors


def batches(seed: int, client: int, round_: int) -> Iterator[tuple[Array, Array]]:
    """The images and labels of each step of a client's round."""
    x, y = images()
    share = shares(seed)[client]
    random = np.random.default_rng([seed, 3, client, round_])
    for _ in range(EPOCHS):
        order = random.permutation(share)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            yield x[batch], y[batch]


def train(
    weights: Sequence[Array],
    seed: int,
    client: int,
    round_: int,
    change: Change | None = None,
    constants: Sequence[Array] = (),
) -> Trained:
    """EPOCHS epochs over the client's images; each gradient passes `change` where there is one."""
    begin = [np.asarray(tensor) for tensor in weights]
    constants = constants or [np.zeros_like(tensor) for tensor in begin]
    now, steps = begin, 0
    for x, y in batches(seed, client, round_):
        gradients = gradient(now, x, y)
        if change is not None:
            gradients = [change(*terms) for terms in zip(gradients, now, begin, constants, strict=True)]
        now = [tensor - np.float32(RATE) * slope for tensor, slope in zip(now, gradients, strict=True)]
        steps += 1
    share = shares(seed)[client]
    return Trained(now, len(share), steps, loss(begin, share))


def gradient(weights: Sequence[Array], x: Array, y: Array) -> list[Array]:
    """Of the mean cross-entropy of a batch."""
    hidden, chances = forward(weights, x)
    error = chances
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = (error @ weights[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]


def forward(weights: Sequence[Array], x: Array) -> tuple[Array, Array]:
    """The hidden layer's outputs and the chance of each class."""
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    scores = hidden @ weights[2] + weights[3]
    chances = np.exp(scores - scores.max(1, keepdims=True))
    return hidden, chances / chances.sum(1, keepdims=True)


def loss(weights: Sequence[Array], numbers: Array) -> float:
    """The mean cross-entropy on these images."""
    x, y = images()
    chances = forward(weights, x[numbers])[1][np.arange(len(numbers)), y[numbers]]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def accuracy(weights: Sequence[Array]) -> float:
    """The part of the test images that it reads right."""
    x, y = images()
    return float((forward(weights, x[TRAINING_IMAGES:])[1].argmax(1) == y[TRAINING_IMAGES:]).mean())
