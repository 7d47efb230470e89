"""What takes the place of training. Each is a pure function of (base tensors, base sequence, the client's number)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mainstem.errors import ConfigError
from mainstem.protocol.weights import Tensor
from mainstem.swarm.client import TrainFunction

Training = Callable[[Sequence[Tensor], int, int], list[Tensor]]
"""(global tensors, base sequence, number of the client) -> the client's tensors."""


def noop(tensors: Sequence[Tensor], base: int, number: int) -> list[Tensor]:
    """The global tensors themselves."""
    return list(tensors)


def noise(tensors: Sequence[Tensor], base: int, number: int) -> list[Tensor]:
    """Normal noise (deviation 0.01) on every float, another for each client and base, the same each time."""
    random = np.random.default_rng([number, base])
    return [_noisy(random, tensor) for tensor in tensors]


def shift(tensors: Sequence[Tensor], base: int, number: int) -> list[Tensor]:
    """Every float plus the client's number (1 to 7): other bytes for other clients at little cost."""
    return [t + t.dtype.type(1 + number % 7) if t.dtype.kind == "f" else t for t in tensors]


TRAININGS: Mapping[str, Training] = {"noop": noop, "noise": noise, "shift": shift}


def make(name: str, number: int, seconds: float = 0.0) -> TrainFunction:
    """The training of client `number`, which takes at least `seconds`; raises ConfigError for an unknown name."""
    if name not in TRAININGS:
        raise ConfigError(f"training {name!r} is not known; choose one of {', '.join(sorted(TRAININGS))}")
    training = TRAININGS[name]

    def train(tensors: Sequence[Tensor], base: int) -> list[Tensor]:
        if seconds:
            time.sleep(seconds)
        return training(tensors, base, number)

    return train


def _noisy(random: np.random.Generator, tensor: Tensor) -> Tensor:
    if tensor.dtype.kind != "f":
        return tensor
    noisy: Tensor = tensor + (0.01 * random.standard_normal(tensor.shape)).astype(tensor.dtype)
    return noisy
