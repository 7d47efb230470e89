"""A forest's tables as the JSON that XGBoost loads, and the trees of such JSON, which our own XGBoost wrote, as rows.

The layout is XGBoost's schema of version 3 (its documentation's "Introduction to Model IO"). A node's number is its
place among those that a sample can come to, from the root down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from mainstem.jobs.forests.params import NUMBER, SEVERAL, TWO, ForestParams
from mainstem.protocol.forests import FEATURE, TREES, VALUE, places_of
from mainstem.protocol.weights import Tensor

_ROOT: Final = (1 << 31) - 1
"""XGBoost's word for a parent that there is not."""


def xgboost_model(params: ForestParams, tensors: Sequence[Tensor]) -> dict[str, Any]:
    """The JSON of a sound forest."""
    count, width = int(tensors[TREES][0]), params.width
    trees = [_tree(params, number, tensors[FEATURE][number], tensors[VALUE][number]) for number in range(count)]
    several = params.objective == SEVERAL
    loss = (
        {"softmax_multiclass_param": {"num_class": str(width)}}
        if several
        else {"reg_loss_param": {"scale_pos_weight": "1"}}
    )
    return {
        "version": [3, 2, 0],
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "name": "gbtree",
                "model": {
                    "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
                    "iteration_indptr": list(range(0, count + 1, width)),
                    "tree_info": [number % width for number in range(count)],
                    "trees": trees,
                },
            },
            "learner_model_param": {
                "base_score": f"[{','.join([repr(_base(params))] * width)}]",
                "boost_from_average": "1",
                "num_class": str(width if several else 0),
                "num_feature": str(params.features),
                "num_target": "1",
            },
            "objective": {"name": params.objective, **loss},
        },
    }


def _base(params: ForestParams) -> float:
    """What XGBoost has in the place of no tree, in the terms of its outputs."""
    return {TWO: 0.5, SEVERAL: 0.0, NUMBER: float(params.start)}[params.objective]


def _tree(params: ForestParams, number: int, feature: Tensor, value: Tensor) -> dict[str, Any]:
    order, parents, left = [0], [_ROOT], []
    for at, place in enumerate(order):  # which grows meanwhile
        left.append(len(order) if feature[place] else -1)
        if feature[place]:
            order += [2 * place + 1, 2 * place + 2]
            parents += [at, at]
    size, values = len(order), [float(value[place]) for place in order]
    nothing: list[int] = []
    return {
        "base_weights": [0.0 if feature[place] else float(value[place]) for place in order],
        "categories": nothing,
        "categories_nodes": nothing,
        "categories_segments": nothing,
        "categories_sizes": nothing,
        "default_left": [0] * size,
        "id": number,
        "left_children": left,
        "loss_changes": [0.0] * size,
        "parents": parents,
        "right_children": [-1 if child < 0 else child + 1 for child in left],
        "split_conditions": values,
        "split_indices": [max(int(feature[place]) - 1, 0) for place in order],
        "split_type": [0] * size,
        "sum_hessian": [0.0] * size,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(params.features),
            "num_nodes": str(size),
            "size_leaf_vector": "1",
        },
    }


def rows_in(model: Mapping[str, Any], depth: int) -> tuple[Tensor, Tensor]:
    """The trees of XGBoost's JSON, as rows [feature, value] of a forest of that depth, which they keep within."""
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    feature = np.zeros((len(trees), places_of(depth)), np.int32)
    value = np.zeros((len(trees), places_of(depth)), np.float32)
    for row, tree in enumerate(trees):
        ahead = [(0, 0)]
        while ahead:
            node, place = ahead.pop()
            value[row, place] = tree["split_conditions"][node]
            first, second = tree["left_children"][node], tree["right_children"][node]
            if first >= 0:
                feature[row, place] = tree["split_indices"][node] + 1
                ahead += [(first, 2 * place + 1), (second, 2 * place + 2)]
    return feature, value
