"""One version under the glass: its proof, and how far and which way each of its updates went."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.blocks import BLOCK, tensors
from mainstem.aggregation.slices import leading
from mainstem.errors import ConfigError, DecodeError, RefusedError, UnreadableError
from mainstem.lineage.history import read_history
from mainstem.lineage.proving import Proof, prove
from mainstem.lineage.reading import RunReader
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Accepted, Round
from mainstem.protocol.weights import Tensor


@dataclass(frozen=True, slots=True)
class Measure:
    """An update's step from its base over the tensors that updates carry: its Euclidean norm, and the cosine of its
    angle to the version's own step. None where there is no such number: the update is gone from the log, a step is
    zero, or the model is a forest, whose trees are put beside one another and step nowhere."""

    client: str
    offset: int
    norm: float | None
    cosine: float | None


@dataclass(frozen=True, slots=True)
class VersionReport:
    """What there is to know of a version. `norm` is that of the version's own step from the model before it."""

    proof: Proof
    norm: float | None
    measures: tuple[Measure, ...]


def examine(log: MessageLog, federation: str, version: int) -> VersionReport:
    """Prove one version made by a round, and measure its updates one after the other: memory is a few models.

    Raises ConfigError where no round made that version, LogError where the log cannot be read.
    """
    history = read_history(log, federation)
    steps = ((head, step) for head, step in history.steps() if isinstance(step, Round) and step.version == version)
    head, record = next(steps, (None, None))
    if head is None or record is None:
        raise ConfigError(f"no round of federation {federation} made version {version}")
    stray = next((stray for stray in history.strays if stray.version == version), None)
    with RunReader(log, history, lambda each: each is record) as run:
        run.begin(record)
        proof = prove(run, head, record) if stray is None else Proof(version, stray.sha256, "differs", stray.detail)
        return VersionReport(proof, *_measures(run, head, record))


def _measures(run: RunReader, head: Head, record: Round) -> tuple[float | None, tuple[Measure, ...]]:
    specs = exchange(head.opened)
    carried = specs.carried
    if specs.forest is not None:
        return None, tuple(Measure(item.client, item.offset, None, None) for item in record.accepted)
    try:
        to, start = run.tensors(record.weights), run.tensors(head.weights)
        step = {number: to[number] - start[number] for number in carried}
    except (RefusedError, UnreadableError, DecodeError):
        return None, tuple(Measure(item.client, item.offset, None, None) for item in record.accepted)
    length = _norm(step.values())
    return length, tuple(_measure(run, head, item, step, length) for item in record.accepted)


def _measure(run: RunReader, head: Head, item: Accepted, step: Mapping[int, Tensor], length: float) -> Measure:
    try:
        weights = head.model(item.base.version)
        if weights is None:
            raise UnreadableError(f"version {item.base.version} is no longer part of the run")
        (read,) = run.updates(head, [item])
        start, specs = run.tensors(weights), run.sent(item) or exchange(head.opened)
        sent = tensors(read, {number: specs.model[number] for number in specs.carried})
        parts = {number: leading(specs.model[number].shape) for number in specs.carried}
        taken = [tensor - start[number][parts[number]] for number, tensor in zip(parts, sent, strict=True)]
        along = [step[number][part] for number, part in parts.items()]
    except (RefusedError, UnreadableError, DecodeError):
        return Measure(item.client, item.offset, None, None)
    norm = _norm(taken)
    whole = norm * length
    return Measure(item.client, item.offset, norm, _dot(taken, along) / whole if whole > 0 else None)


def _norm(step: Collection[NDArray[Any]]) -> float:
    return math.sqrt(_dot(step, step))


def _dot(one: Collection[NDArray[Any]], other: Collection[NDArray[Any]]) -> float:
    """Their inner product, in float64."""
    total = 0.0
    for a, b in zip(one, other, strict=True):
        flat, against = a.reshape(-1), b.reshape(-1)
        for at in range(0, flat.size, BLOCK):
            x = flat[at : at + BLOCK].astype(np.float64)
            total += float(x @ against[at : at + BLOCK].astype(np.float64))
    return total
