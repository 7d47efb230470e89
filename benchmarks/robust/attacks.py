"""What hostile clients send. Attackers know everything: the honest clients' changes of the round, and each other's.

An attack answers each attacker's change from the round's base, given the honest ones. None needs the rule's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Changes = NDArray[np.float64]
"""A row a client, a column an element of the model."""

SIGMA = 4.0
"""Sign flip: how many times its own change an attacker sends back."""
EPSILON = 0.5
"""Inner product manipulation: the part of the honest mean that is sent back."""
Z = 1.5
"""A little is enough: how many standard deviations from the honest mean."""
NOISE = 1.0
"""Noise: its standard deviation in every element."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A round before the attackers send: honest changes, and what the attackers' own training made."""

    honest: Changes
    own: Changes
    random: np.random.Generator


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent, and whether attackers train on flipped labels."""

    send: Callable[[Scene], Changes]
    flips: bool = False


def label_flip(scene: Scene) -> Changes:
    """What training made of labels y that became 9 - y (Fang et al., USENIX Security 2020, as others)."""
    return scene.own


def sign_flip(scene: Scene) -> Changes:
    """-SIGMA times its own change: Li et al., "RSA", AAAI 2019 (arXiv:1811.03761), with their 4."""
    return -SIGMA * scene.own


def inner_product(scene: Scene) -> Changes:
    """-EPSILON times the honest mean, all alike: Xie et al., "Fall of Empires", UAI 2019 (arXiv:1903.03936)."""
    return np.tile(-EPSILON * scene.honest.mean(axis=0), (len(scene.own), 1))


def little(scene: Scene) -> Changes:
    """Mean less Z deviations, all alike: Baruch et al., "A Little Is Enough", NeurIPS 2019 (arXiv:1902.06156)."""
    sent = scene.honest.mean(axis=0) - Z * scene.honest.std(axis=0)
    return np.tile(sent, (len(scene.own), 1))


def noise(scene: Scene) -> Changes:
    """Its own change, and normal noise of deviation NOISE upon every element."""
    return scene.own + scene.random.normal(0.0, NOISE, scene.own.shape)


def largest_z(clients: int, attackers: int) -> float:
    """The most by which that paper (algorithm 3) lets attackers go, so that enough honest clients lie beyond them.

    Below zero where honest clients are so many that no such step is safe: 0.18 for 3 of 10, 0 for 2.
    """
    supporters = math.floor(clients / 2 + 1) - attackers
    honest = clients - attackers
    return NormalDist().inv_cdf((honest - supporters) / honest)


ATTACKS: Mapping[str, Attack] = {
    "label flip": Attack(label_flip, flips=True),
    "sign flip": Attack(sign_flip),
    "IPM": Attack(inner_product),
    "ALIE": Attack(little),
    "noise": Attack(noise),
}
