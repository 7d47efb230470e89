"""How much each update counts, one file each."""

from collections.abc import Mapping

from mainstem.aggregation.strategies.choice import Weigh
from mainstem.aggregation.strategies.weigh.equal import Equal
from mainstem.aggregation.strategies.weigh.examples import Examples
from mainstem.aggregation.strategies.weigh.loss import Loss
from mainstem.aggregation.strategies.weigh.steps import Steps

WEIGHS: Mapping[str, type[Weigh]] = {kind.name: kind for kind in (Examples, Equal, Steps, Loss)}
