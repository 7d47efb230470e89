"""How large an update's change may be, one file each."""

from collections.abc import Mapping

from mainstem.aggregation.strategies.bound.clip import Clip
from mainstem.aggregation.strategies.bound.none import Unbounded
from mainstem.aggregation.strategies.choice import Bound

BOUNDS: Mapping[str, type[Bound]] = {kind.name: kind for kind in (Unbounded, Clip)}
