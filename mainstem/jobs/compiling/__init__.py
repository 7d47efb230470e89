"""What a model may be compiled with, as data: Keras' optimizers, losses and metrics, their arguments and bounds.

Nothing here knows Keras: `keras.json` lists what it exports, made by `python -m tests.training.generate` and held true
by `tests/training`. So whoever takes settings (backend, workshop, Job) refuses the same ones in the same words.
"""

from mainstem.jobs.compiling.labels import input_of
from mainstem.jobs.compiling.rules import (
    beyond_sgd,
    check_class_weight,
    check_loss,
    check_metrics,
    check_optimizer,
    check_training,
    steps_of,
    too_few_steps,
    values_of,
    way_of,
)
from mainstem.jobs.compiling.schedules import SCHEDULES, check_schedule, rate_of
from mainstem.jobs.compiling.specs import LOSS, METRIC, OPTIMIZER, SettingError, Spec, parse

__all__ = [
    "LOSS",
    "METRIC",
    "OPTIMIZER",
    "SCHEDULES",
    "SettingError",
    "Spec",
    "beyond_sgd",
    "check_class_weight",
    "check_loss",
    "check_metrics",
    "check_optimizer",
    "check_schedule",
    "check_training",
    "input_of",
    "parse",
    "rate_of",
    "steps_of",
    "too_few_steps",
    "values_of",
    "way_of",
]
