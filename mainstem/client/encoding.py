"""The pipeline's stage that encodes a change; what the encoding leaves over is added to the next one that is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mainstem.client.keep import State
from mainstem.protocol.encodings import Elements, difference, seed_of
from mainstem.protocol.exchange import CODE
from mainstem.protocol.weights import Tensor

if TYPE_CHECKING:
    from mainstem.client.pipeline import Origin, Stage

NAME = "encode"
"""Under it is kept what is left over, float32, and the error that the last encoding made."""

STRIDE = 1 << 16


def encode(origin: Origin) -> Stage | None:
    """From the trained tensors to those of the update's payload (`Exchange.change`); None where the run sends them as
    they are."""
    specs, encoding = origin.specs, origin.specs.encoding
    if encoding is None:
        return None
    seed = seed_of(origin.opened.training.seed, origin.client, origin.base.version)

    def stage(tensors: Sequence[Tensor], state: State) -> tuple[Sequence[Tensor], State]:
        left = difference(specs.trained, tensors, origin.model, specs.elements)
        if NAME in state:
            np.add(left, state[NAME][0], out=left)
        sent = _squared(left)
        payload = encoding.feedback(left, seed)
        lost = _squared(left)
        if np.isfinite(lost):  # else the update is refused, and what was left over before stays
            error = np.array(np.sqrt(lost / sent) if sent > 0 else 0.0)
            state = {**state, NAME: [left, error]}
        return [payload if number == CODE else tensors[number] for number in specs.change], state

    return stage


def error_of(state: State) -> float | None:
    """The error of the encoding that left this state: the L2 norm of what it did not send, as a part of the whole."""
    return float(state[NAME][1]) if NAME in state else None


def _squared(elements: Elements) -> float:
    """The sum of the squares, for people: its last digits may differ from machine to machine."""
    with np.errstate(over="ignore", invalid="ignore"):
        return sum(
            float(np.einsum("i,i->", piece, piece))
            for piece in np.split(elements, range(STRIDE, elements.size, STRIDE))
        )
