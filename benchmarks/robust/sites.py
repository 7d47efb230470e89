"""Real digits cut among sites, and a small network in NumPy that each site trains.

scikit-learn's 1,797 handwritten digits of 8 x 8 (UCI, Alpaydin and Kaynak): 1,400 to train, 397 to test.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from mainstem.aggregation.local import GradientHook
from mainstem.protocol.exchange import Exchange, exchange_of
from mainstem.protocol.weights import Tensor, specs_of

TRAINING = 1400
CLASSES = 10
HIDDEN = 64
EPOCHS, BATCH, RATE = 2, 32, 0.1
ALPHA = 0.3
"""Of the Dirichlet split: the smaller, the fewer classes a site has most of its samples from."""
NAMES = ("hidden/kernel", "hidden/bias", "digits/kernel", "digits/bias")
SPLITS = ("IID", "Dirichlet")

Indices = NDArray[np.int64]


@cache
def digits() -> tuple[Tensor, NDArray[np.int64]]:
    """Images float32 (1797, 64) from 0 to 1, and labels, in a fixed shuffled order."""
    told = load_digits()
    order = np.random.default_rng(0).permutation(len(told.target))
    return (told.data[order] / 16).astype(np.float32), told.target[order].astype(np.int64)


def split(name: str, clients: int, seed: int) -> list[Indices]:
    """The training samples of each client: alike, or each class cut by a Dirichlet draw; one at least."""
    random = np.random.default_rng([seed, 1])
    if name == "IID":
        return [np.sort(part) for part in np.array_split(random.permutation(TRAINING), clients)]
    labels = digits()[1][:TRAINING]
    parts: list[list[int]] = [[] for _ in range(clients)]
    for label in range(CLASSES):
        found = np.flatnonzero(labels == label)
        cuts = (np.cumsum(random.dirichlet([ALPHA] * clients)) * len(found)).astype(int)[:-1]
        for part, taken in zip(parts, np.split(found, cuts), strict=True):
            part.extend(taken)
    return [np.sort(np.array(part or [0])) for part in parts]


def first_model(seed: int) -> list[Tensor]:
    """He-initialised weights of 64 -> HIDDEN -> 10."""
    random = np.random.default_rng([seed, 2])
    shapes = ((64, HIDDEN), (HIDDEN, CLASSES))
    kernels = [(random.standard_normal(s) * np.sqrt(2 / s[0])).astype(np.float32) for s in shapes]
    return [kernels[0], np.zeros(HIDDEN, np.float32), kernels[1], np.zeros(CLASSES, np.float32)]


def specs() -> Exchange:
    """Of that model."""
    return exchange_of(specs_of(zip(NAMES, first_model(0), strict=True)))


def train(
    model: Sequence[Tensor],
    samples: Indices,
    seed: Sequence[int],
    flipped: bool = False,
    hook: GradientHook | None = None,
) -> list[Tensor]:
    """EPOCHS of plain SGD on cross-entropy; `flipped`: every label y as 9 - y. `hook` may change gradients."""
    images, labels = digits()
    weights, random = [tensor.copy() for tensor in model], np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = random.permutation(samples)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            hidden, error = _forward(weights, images[batch])
            wanted = CLASSES - 1 - labels[batch] if flipped else labels[batch]
            error[np.arange(len(batch)), wanted] -= 1
            error /= len(batch)
            back = (error @ weights[2].T) * (hidden > 0)
            gradients = (images[batch].T @ back, back.sum(0), hidden.T @ error, error.sum(0))
            for tensor, gradient, begin in zip(weights, gradients, model, strict=True):
                changed = gradient if hook is None else hook.change(gradient, tensor, begin, 0)
                np.subtract(tensor, RATE * changed, out=tensor)
    return weights


def accuracy(model: Sequence[Tensor]) -> float:
    """On the test images, which no site has."""
    images, labels = digits()
    _, said = _forward(model, images[TRAINING:])
    return float((said.argmax(1) == labels[TRAINING:]).mean())


def loss(model: Sequence[Tensor], samples: Indices) -> float:
    """The mean cross-entropy on a site's samples."""
    images, labels = digits()
    _, said = _forward(model, images[samples])
    return float(-np.log(said[np.arange(len(samples)), labels[samples]] + 1e-7).mean())


def _forward(model: Sequence[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    hidden = np.maximum(images @ model[0] + model[1], 0)
    said = hidden @ model[2] + model[3]
    said = np.exp(said - said.max(1, keepdims=True))
    return hidden, said / said.sum(1, keepdims=True)
