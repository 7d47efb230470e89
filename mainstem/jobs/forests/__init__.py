"""Forests of boosted trees as data: what there is to choose, what their tables answer, and XGBoost's JSON of them.

Nothing here knows XGBoost. `protocol.forests` says what their tensors are.
"""

from mainstem.jobs.forests.answers import losses, margins, outputs
from mainstem.jobs.forests.params import (
    FRAMEWORK,
    NUMBER,
    SEVERAL,
    TWO,
    ForestParams,
    architecture_of,
    check_capacity,
    checked_params,
    input_of,
    params_of,
    parts_of,
    room_for,
    training_of,
)
from mainstem.jobs.forests.xgboost_json import rows_in, xgboost_model

__all__ = [
    "FRAMEWORK",
    "NUMBER",
    "SEVERAL",
    "TWO",
    "ForestParams",
    "architecture_of",
    "check_capacity",
    "checked_params",
    "input_of",
    "losses",
    "margins",
    "outputs",
    "params_of",
    "parts_of",
    "room_for",
    "rows_in",
    "training_of",
    "xgboost_model",
]
