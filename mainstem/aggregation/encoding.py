"""A round's version made one that travels as a change: what is committed is what the change decodes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mainstem.aggregation.reduction import Reduction
from mainstem.errors import AggregationError
from mainstem.protocol.chain import Head
from mainstem.protocol.changes import applied
from mainstem.protocol.encodings import difference, seed_of
from mainstem.protocol.exchange import CODE, RESIDUAL, SERVER, Exchange, like_trained
from mainstem.protocol.weights import Tensor


def encoded(
    made: Reduction,
    specs: Exchange,
    model: Sequence[Tensor],
    state: Mapping[str, Sequence[Tensor]],
    head: Head,
) -> Reduction:
    """The round's result as it is committed, where versions travel as changes: of `model`, the head's, with what the
    version before left over added from `state`.

    The same bits for everyone: chance is that of the run's seed and the base. Raises AggregationError where an element
    is no number.
    """
    if specs.down is None:
        return made
    wanted, at = difference(specs.trained, made.tensors, model, specs.elements), 0
    for left in state.get(RESIDUAL, ()):
        piece = wanted[at : (at := at + left.size)]
        np.add(piece, left.reshape(-1), out=piece, casting="same_kind")
    code = specs.down.feedback(wanted, seed_of(head.opened.training.seed, "", head.base.version))
    carried = {number: code if number == CODE else made.tensors[number] for number in specs.coded(specs.down)}
    version = applied(specs, specs.down, model, carried)
    for number in specs.trained:
        if not np.isfinite(version[number]).all():
            spec = specs.model[number]
            raise AggregationError(f"tensor {spec.name!r}, as it is encoded, leaves the numbers of {spec.dtype}")
    residual, at = [], 0
    for spec, number in zip(like_trained(specs, RESIDUAL, SERVER).tensors, specs.trained, strict=True):
        piece = wanted[at : (at := at + model[number].size)]
        residual.append(piece.reshape(spec.shape).astype(spec.dtype, copy=False))
    return replace(made, tensors=version, carried=list(carried.values()), state={**made.state, RESIDUAL: residual})
