"""Which engine trains which framework; each is imported only where it is asked for, since that takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from federated_training.engines.engine import Engine
from mainstem.errors import ConfigError
from mainstem.jobs.forests import FRAMEWORK as XGBOOST
from mainstem.protocol.messages import Opened

KERAS: Final = frozenset(("tf", "tensorflow", "keras"))

FRAMEWORKS: Final = KERAS | {XGBOOST}
"""What `opened` may name."""


def engine_of(opened: Opened, threads: int, ready: Callable[[], None]) -> Engine:
    """The engine of a run; `ready` is called before the first use of Keras.

    Raises TrainingError where the run's model cannot be built here, ConfigError where its library is not installed.
    """
    if opened.framework.lower() in KERAS:
        ready()
        from federated_training.engines.keras.engine import KafkaModelEngine

        return KafkaModelEngine(opened)
    try:
        from federated_training.engines.forest.engine import ForestEngine
    except ImportError as error:
        raise ConfigError(
            "this federation trains a forest, and XGBoost is not installed here: "
            f"install the extra `forest` of mainstem (requirements/training.txt has it) ({error})"
        ) from error
    return ForestEngine(opened, threads)
