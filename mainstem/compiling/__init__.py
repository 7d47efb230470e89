"""What a model may be compiled with, as data: Keras' optimizers, losses and metrics, their arguments and bounds.

Nothing here knows Keras: `keras.json` lists what it exports, made by `python -m tests.training.generate` and held true
by `tests/training`. So whoever takes settings (backend, workshop, Job) refuses the same ones in the same words.
"""

from mainstem.compiling.rules import (
    check_class_weight,
    check_loss,
    check_metrics,
    check_optimizer,
    check_training,
    classes_of,
    steps_of,
    takes_indices,
    too_few_steps,
    values_of,
)
from mainstem.compiling.specs import LOSS, METRIC, OPTIMIZER, SettingError, Spec, parse

__all__ = [
    "LOSS",
    "METRIC",
    "OPTIMIZER",
    "SettingError",
    "Spec",
    "check_class_weight",
    "check_loss",
    "check_metrics",
    "check_optimizer",
    "check_training",
    "classes_of",
    "parse",
    "steps_of",
    "takes_indices",
    "too_few_steps",
    "values_of",
]
