"""One version under the glass: its proof, and how far and which way each of its updates went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem import updates
from mainstem.chain import Head
from mainstem.errors import ConfigError, DecodeError, RefusedError, UnreadableError
from mainstem.lineage.history import read_history
from mainstem.lineage.proving import Proof, prove, read_update
from mainstem.messages import Accepted, Base, Round
from mainstem.ports import MessageLog
from mainstem.weights import Tensor

BLOCK = 1 << 18
"""Elements at a time: the float64 differences take a few megabytes, whatever the model's size."""


@dataclass(frozen=True, slots=True)
class Measure:
    """An update's step from its base over all float tensors: its Euclidean norm, and the cosine of its angle to the
    version's own step. None where there is no such number: the update is gone from the log, or a step is zero."""

    client: str
    offset: int
    norm: float | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Examination:
    """What there is to know of a version. `norm` is that of the version's own step from the model before it."""

    proof: Proof
    norm: float | None
    measures: tuple[Measure, ...]


def examine(log: MessageLog, federation: str, version: int) -> Examination:
    """Prove one version made by a round, and measure its updates one after the other: memory is a few models.

    Raises ConfigError where no round made that version, LogError where the log cannot be read.
    """
    history = read_history(log, federation)
    found = [(head, step) for head, step in history.steps() if isinstance(step, Round) and step.version == version]
    if not found:
        raise ConfigError(f"no round of federation {federation} made version {version}")
    head, record = found[0]
    stray = next((stray for stray in history.strays if stray.version == version), None)
    proof = prove(log, head, record) if stray is None else Proof(version, stray.sha256, "differs", stray.detail)
    topic = head.opened.topics.data
    try:
        before = updates.read(log, topic, head.weights)
        step = _step(updates.read(log, topic, record.weights), before)
    except (RefusedError, UnreadableError, DecodeError):
        return Examination(proof, None, tuple(Measure(a.client, a.offset, None, None) for a in record.accepted))
    length = _norm(step)
    origins = {head.base: before}
    measures = tuple(_measure(log, head, item, origins, step, length) for item in record.accepted)
    return Examination(proof, length, measures)


def _measure(
    log: MessageLog, head: Head, item: Accepted, origins: dict[Base, list[Tensor]], step: list[Tensor], length: float
) -> Measure:
    try:
        origin = _origin(log, head, item.base, origins)
        taken = _step(read_update(log, head, item), origin)
    except (RefusedError, UnreadableError, DecodeError):
        return Measure(item.client, item.offset, None, None)
    norm = _norm(taken)
    whole = norm * length
    return Measure(item.client, item.offset, norm, _dot(taken, step) / whole if whole > 0 else None)


def _origin(log: MessageLog, head: Head, base: Base, origins: dict[Base, list[Tensor]]) -> list[Tensor]:
    """The model that an update started from; two are kept, since updates mostly come from the newest."""
    if base not in origins:
        weights = head.model(base.version)
        if weights is None:
            raise UnreadableError(f"version {base.version} is no longer part of the run")
        for other in [known for known in origins if known != head.base]:
            del origins[other]
        origins[base] = updates.read(log, head.opened.topics.data, weights)
    return origins[base]


def _step(to: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """The difference of the float tensors, in their own precision."""
    return [a - b for a, b in zip(to, start, strict=True) if a.dtype.kind == "f"]


def _norm(step: Sequence[NDArray[Any]]) -> float:
    return math.sqrt(_dot(step, step))


def _dot(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> float:
    """Their inner product, in float64."""
    total = 0.0
    for a, b in zip(one, other, strict=True):
        flat, against = a.reshape(-1), b.reshape(-1)
        for at in range(0, flat.size, BLOCK):
            x = flat[at : at + BLOCK].astype(np.float64)
            total += float(x @ against[at : at + BLOCK].astype(np.float64))
    return total
