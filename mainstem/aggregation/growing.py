"""From accepted updates to the next version of a forest: their trees, put behind those that it has.

Boosting adds trees up (Chen, Guestrin, "XGBoost", KDD 2016, arXiv:1603.02754). Of several sites that boosted the same
forest each by itself, the mean of what they would add is bagging: so each site's leaves are multiplied by its share of
the round. How many took part changes nothing of how far a round goes, and no site goes further than its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mainstem.aggregation.blocks import Reader, tensors
from mainstem.aggregation.strategies import Claim, Strategy, Weighed
from mainstem.errors import AggregationError
from mainstem.protocol import forests
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.weights import Tensor

FULL = "the forest has no room for its trees"


def grown(
    strategy: Strategy, specs: Exchange, model: Sequence[Tensor], updates: Sequence[tuple[Claim, Reader]]
) -> tuple[list[Tensor], list[Weighed]]:
    """What a round makes of `model`, a forest, with these updates in this order, and what it decides about each.

    Memory is the forest and one update. Who finds no room is left out. Raises what the readers raise, and
    AggregationError.
    """
    assert specs.forest is not None
    weighing = list(strategy.weigh([claim for claim, _ in updates], None))
    room = (len(model[forests.FEATURE]) - int(model[forests.TREES][0])) // specs.forest.trees
    weighing[room:] = [replace(weighed, coefficient=0.0, left_out=FULL) for weighed in weighing[room:]]
    whole = sum(weighed.coefficient for weighed in weighing)
    if room and not whole > 0:
        raise AggregationError("the accepted updates have no examples to weigh them by")
    result = [tensor.copy() for tensor in model]
    for (_, read), weighed in zip(updates, weighing, strict=True):
        if not weighed.left_out:
            forests.grow(result, tensors(read, specs.change), weighed.coefficient / whole)
    return result, weighing
