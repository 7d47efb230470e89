"""A forest as tensors: every tree a row of a table of nodes, and how many rows are trees.

A tree of depth d is a complete binary tree of 2**(d + 1) - 1 places: the children of place i are 2 i + 1 and 2 i + 2,
so that no table can hold a circle, or a child that does not exist. Zeros are an empty tree.

`trees`, int64 (1,): how many of the rows are trees; `feature`, int32 (capacity, places): 0 at a leaf, else the number
of the feature, from 1, by which the node splits; `value`, float32 (capacity, places): of a leaf what it adds, else the
threshold below which a sample goes to the first child. An update carries so many rows of the last two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from mainstem.errors import ConfigError, RefusedError
from mainstem.protocol.messages import Reason, TensorSpec
from mainstem.protocol.weights import Tensor

TREES, FEATURE, VALUE = 0, 1, 2
"""The numbers of a forest's tensors."""

CARRIED: Final = (FEATURE, VALUE)
"""Those of which an update carries rows."""

DEEPEST: Final = 10
"""Levels of splits in a tree at most."""

LARGEST_LEAF: Final = 1e12
"""Beyond it the sum of many leaves may leave the numbers of float32."""


def places_of(depth: int) -> int:
    """How many nodes a tree of that depth has at most."""
    return (1 << depth + 1) - 1


def empty(capacity: int, depth: int) -> list[Tensor]:
    """The tensors of a forest without a tree."""
    shape = (capacity, places_of(depth))
    return [np.zeros(1, np.int64), np.zeros(shape, np.int32), np.zeros(shape, np.float32)]


def forest_specs(capacity: int, depth: int) -> tuple[TensorSpec, ...]:
    """The specs of its tensors."""
    tables = (("feature", "int32"), ("value", "float32"))
    shape = (capacity, places_of(depth))
    return (
        TensorSpec(name="trees", dtype="int64", shape=(1,)),
        *(TensorSpec(name=name, dtype=dtype, shape=shape) for name, dtype in tables),
    )


def check_specs(specs: Sequence[TensorSpec]) -> None:
    """Refuse tensors that are no forest's, whatever their names; raises ConfigError."""
    shape = specs[FEATURE].shape if len(specs) > FEATURE else ()
    depths = {places_of(depth): depth for depth in range(1, DEEPEST + 1)}
    depth = depths.get(shape[1]) if len(shape) == 2 else None
    due = () if depth is None else forest_specs(shape[0], depth)
    if not due or [(spec.dtype, spec.shape) for spec in specs] != [(spec.dtype, spec.shape) for spec in due]:
        raise ConfigError("tensors are not those of a forest, which the run says that its model is")


def rows_of(spec: TensorSpec, rows: int) -> TensorSpec:
    """The spec of so many rows of a table."""
    return msgspec.structs.replace(spec, shape=(rows, *spec.shape[1:]))


def check_trees(feature: Tensor, value: Tensor, features: int) -> None:
    """Judge rows (trees, places) for a model of so many features; raises RefusedError.

    `value` holds finite numbers only. A node below a leaf is nothing that any sample reaches, so it must be zeros: then
    a tree has one table, and none carries what nobody sees.
    """
    split = feature > 0
    if feature.size and not 0 <= feature.min() <= feature.max() <= features:
        wrong = feature[(feature < 0) | (feature > features)][0]
        raise _refused(f"it splits by feature {int(wrong) - 1}; the model's are 0 to {features - 1}")
    inner = feature.shape[1] // 2
    if split[:, inner:].any():
        raise _refused(f"a node of its last level splits, beyond the depth of {(inner + 1).bit_length() - 1}")
    reached = np.ones(feature.shape, bool)
    reached[:, 1:] = np.repeat(split[:, :inner], 2, axis=1)
    if split[~reached].any() or value[~reached].any():
        raise _refused("a node that no sample reaches, below a leaf, is not empty")
    leaves = np.abs(value[reached & ~split])
    if leaves.size and leaves.max() > LARGEST_LEAF:
        raise _refused(f"a leaf adds {leaves.max():g}; up to {LARGEST_LEAF:g} is taken")


def check_forest(tensors: Sequence[Tensor], features: int) -> None:
    """Judge a whole forest; raises RefusedError."""
    trees, feature, value = tensors
    if not 0 <= trees[0] <= len(feature):
        raise _refused(f"it says that it has {trees[0]} trees, and has room for {len(feature)}")
    check_trees(feature, value, features)


def grow(forest: Sequence[Tensor], rows: Sequence[Tensor], share: float) -> bool:
    """Put trees, [feature, value], behind those of a forest, in place, each leaf times `share` (0 to 1).

    False where it has no room for all of them: then it takes none. The product is float64's, cast once.
    """
    trees, feature, value = forest
    first = int(trees[0])
    last = first + len(rows[0])
    if last > len(feature):
        return False
    feature[first:last] = rows[0]
    value[first:last] = np.where(rows[0] > 0, rows[1], np.multiply(rows[1], share, dtype=np.float64))
    trees[0] = last
    return True


def _refused(why: str) -> RefusedError:
    return RefusedError(Reason.TREES, f"its trees are not sound: {why}")
