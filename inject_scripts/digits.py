"""Real handwritten digits for a first run, divided among clients.

The set is scikit-learn's copy of the "Optical Recognition of Handwritten Digits" test set (Alpaydin
and Kaynak, UCI, 1998): 1,797 digits of 43 writers, 8x8 counts of 0..16. They are enlarged to 28x28
by bilinear interpolation, which adds no detail: the result has MNIST's shape, not its data.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError

CLASSES = 10
SIDE = 28
TOTAL = 1797
FILE = "digits.csv.gz"
"""A row a digit: 64 counts and the class."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One client's samples, train first and test last: x (n, 784) float32 in 0..1, y (n,) class indices."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    test: int


def load() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All 1,797 digits: x (1797, 784) float32 in 0..1, y (1797,) class indices; raises ConfigError."""
    rows = np.loadtxt(_file(), delimiter=",")
    images, classes = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    return enlarge(images / 16.0), classes.astype(np.int64)


def _file() -> Path:
    """scikit-learn's file of them: the container images have it without the package, which need not be imported."""
    found = find_spec("sklearn")
    package = [Path(place) / "datasets" / "data" for place in found.submodule_search_locations or ()] if found else []
    for folder in (Path(__file__).parent, *package):
        if (folder / FILE).is_file():
            return folder / FILE
    raise ConfigError("scikit-learn has the digits: pip install 'mainstem[inject]'")


def enlarge(images: NDArray[np.float64], side: int = SIDE) -> NDArray[np.float32]:
    """(n, h, w) in 0..1 -> (n, side * side) float32 in 0..1, bilinear between pixel centres, edges held.

    Only elementwise arithmetic, so every machine gives the same bytes.
    """
    for axis in (1, 2):
        size = images.shape[axis]
        centre = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
        low = np.minimum(np.floor(centre).astype(int), size - 2)
        part = (centre - low).reshape([-1 if a == axis else 1 for a in range(3)])
        images = images.take(low, axis) * (1 - part) + images.take(low + 1, axis) * part
    return np.clip(images, 0, 1).reshape(len(images), -1).astype(np.float32)


def shard_sizes(clients: int, train: int, test: int) -> tuple[int, int, bool]:
    """(train, test) for each client, and whether the set was too small, so that it is split evenly.

    An even split keeps the asked proportion of test samples; raises ConfigError where nothing is left.
    """
    if clients * (train + test) <= TOTAL:
        return train, test, False
    each = TOTAL // clients
    tests = max(1, round(each * test / (train + test))) if test else 0
    if each - tests < 1:
        raise ConfigError(f"{clients} clients are too many for the {TOTAL} digits of the set")
    return each - tests, tests, True


def shards(clients: int, train: int, test: int, *, alpha: float | None, seed: int) -> list[Shard]:
    """`clients` disjoint shards, the same for the same seed.

    Without `alpha` they are identically distributed. With it each client draws its class proportions
    from Dirichlet(alpha) and its samples without replacement by them, until a class is used up
    (Hsu, Qi and Brown, arXiv:1909.06335): a small alpha gives each client few classes.
    """
    x, y = load()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    size = train + test
    if alpha is None:
        picks = [order[i * size : (i + 1) * size] for i in range(clients)]
    else:
        pools = [list(order[y[order] == c]) for c in range(CLASSES)]
        picks = [_skewed(pools, size, alpha, rng) for _ in range(clients)]
    return [Shard(x[pick], y[pick], test) for pick in picks]


def _skewed(pools: list[list[int]], size: int, alpha: float, rng: np.random.Generator) -> NDArray[Any]:
    """One client's samples, taken out of `pools` (a list of samples for each class)."""
    # The floor keeps the proportions of a tiny alpha from vanishing to 0/0.
    wanted = rng.dirichlet(np.full(len(pools), alpha)) + 1e-12
    pick = []
    for _ in range(size):
        left = np.where([bool(pool) for pool in pools], wanted, 0.0)
        pick.append(pools[rng.choice(len(pools), p=left / left.sum())].pop())
    return np.array(pick)
