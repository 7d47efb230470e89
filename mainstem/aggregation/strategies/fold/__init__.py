"""How many updates become one, one file each."""

from collections.abc import Mapping

from mainstem.aggregation.strategies.choice import Fold
from mainstem.aggregation.strategies.fold.bulyan import Bulyan
from mainstem.aggregation.strategies.fold.centred_clipping import CentredClipping
from mainstem.aggregation.strategies.fold.concatenate import Concatenate
from mainstem.aggregation.strategies.fold.geometric_median import GeometricMedian
from mainstem.aggregation.strategies.fold.krum import Krum
from mainstem.aggregation.strategies.fold.mean import Mean
from mainstem.aggregation.strategies.fold.median import Median
from mainstem.aggregation.strategies.fold.multi_krum import MultiKrum
from mainstem.aggregation.strategies.fold.sum import Sum
from mainstem.aggregation.strategies.fold.trimmed_mean import TrimmedMean

FOLDS: Mapping[str, type[Fold]] = {
    kind.name: kind
    for kind in (Mean, Sum, Median, TrimmedMean, Krum, MultiKrum, Bulyan, GeometricMedian, CentredClipping, Concatenate)
}
