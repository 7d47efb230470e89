"""A version of a forest as a function from samples to outputs: from its tables alone, without XGBoost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from federated_training.serving.version import Predict
from mainstem.errors import ConfigError, RefusedError
from mainstem.jobs import forests
from mainstem.protocol.forests import check_forest
from mainstem.protocol.messages import Opened
from mainstem.protocol.weights import Tensor


def predictor(opened: Opened, tensors: Sequence[Tensor]) -> Predict:
    """What the forest answers; raises ConfigError where its tables are not sound."""
    params = forests.params_of(opened.architecture)
    try:
        check_forest(tensors, params.features)
    except RefusedError as error:
        raise ConfigError(f"the version cannot be used: {error.detail}") from error

    def predict(x: NDArray[Any]) -> NDArray[Any]:
        return forests.outputs(params, forests.margins(params, tensors, x))

    return predict
