"""From a name or a Keras config to one of Keras' classes and its arguments, each known and within its bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from mainstem.errors import ConfigError
from mainstem.jobs.compiling.bounds import problem_of

LOSS: Final = "losses"
METRIC: Final = "metrics"
OPTIMIZER: Final = "optimizers"
"""The kinds of settings, as Keras calls their modules."""

FIELDS: Final = {LOSS: "loss", METRIC: "metrics", OPTIMIZER: "optimizer"}
_ONE: Final = {LOSS: "loss", METRIC: "metric", OPTIMIZER: "optimizer"}

ALIASES: Final = {
    "bce": "BinaryCrossentropy", "kld": "KLDivergence", "kullbackleiblerdivergence": "KLDivergence",
    "mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError", "logcosh": "LogCosh", "rmse": "RootMeanSquaredError",
    "huberloss": "Huber", "logcosherror": "LogCoshError",
}  # fmt: skip
"""Other names of losses and metrics, as Keras knows them or writes them; without underscores, in small letters."""

BY_OUTPUT: Final = {"accuracy": "accuracy", "acc": "accuracy"}
"""Metrics that Keras chooses by the labels and the output."""

REFUSED: Final = {
    LOSS: {
        "Loss": "is only the base of losses",
        "CTC": "takes label sequences of any length, which a stream's labels of one shape cannot be",
    },
    METRIC: {
        "Metric": "is only the base of metrics",
        "Mean": "measures one number and compares no labels",
        "Sum": "measures one number and compares no labels",
        "MeanMetricWrapper": "wraps a function, and functions are not sent as data",
    },
    OPTIMIZER: {
        "Optimizer": "is only the base of optimizers",
        "LossScaleOptimizer": "wraps another one: give that; a mixed precision model gets its loss scaled by itself",
        "MultiOptimizer": "gives layers their own optimizers, which cannot be sent as data",
        "OptimizerMap": "gives layers their own optimizers, which cannot be sent as data",
        "ScheduleFreeAdamW": "averages weights over a whole run, and a client's optimizer starts anew each round",
    },
}
"""What Keras exports and a federation cannot use, and why."""


class SettingError(ConfigError):
    """A training setting that cannot be; `field` names it as the API does."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Spec:
    """One of Keras' classes of a kind, with the arguments that were given."""

    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def reported(self) -> str:
        """The name under which a metric is reported."""
        own = self.name if self.name in BY_OUTPUT.values() else table()[self.kind][self.name]["name"]
        return str(self.config.get("name") or own)

    def plain(self) -> Any:
        """As settings are stored: a name that `parse` knows, where there are no arguments; else a Keras config."""
        if self.config:
            return {"class_name": self.name, "config": self.config}
        short = self.name.lower() if self.kind == OPTIMIZER else snake(self.name)
        return short if _known(self.kind, short) == self.name else self.name


@cache
def table() -> dict[str, dict[str, dict[str, Any]]]:
    """kind -> class -> `arguments`, those `required`, its own `name`: what Keras exports."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(
        resources.files("mainstem.jobs.compiling").joinpath("keras.json").read_text("utf-8")
    )
    return found


def names(kind: str) -> list[str]:
    """The classes of a kind that a federation can use."""
    return [name for name in table()[kind] if name not in REFUSED[kind]]


def snake(name: str) -> str:
    """`MeanSquaredError` as `mean_squared_error`, as Keras writes it."""
    spaced = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name))
    return spaced.lower()


def parse(kind: str, spec: Any, field: str | None = None) -> Spec:
    """The class and arguments that a name or a Keras config (`class_name`, `config`) names; raises SettingError."""
    field = field or FIELDS[kind]
    name, config = _split(spec, field)
    known = _known(kind, name)
    if known is None:
        raise SettingError(
            field, f"{name[:60]!r} is no {_ONE[kind]} here; there are {', '.join([*_extra(kind), *names(kind)])}."
        )
    if known in REFUSED[kind]:
        raise SettingError(field, f"The {_ONE[kind]} {known} {REFUSED[kind][known]}.")
    if known in BY_OUTPUT.values():
        if config:
            raise SettingError(field, f"The metric {known!r} takes no arguments; name the class, such as AUC.")
        return Spec(kind, known)
    entry = table()[kind][known]
    for argument, value in config.items():
        if argument not in entry["arguments"]:
            has = ", ".join(entry["arguments"])
            raise SettingError(field, f"{known} has no argument {argument[:60]!r}; there are {has}.")
        problem = problem_of(known, argument, value)
        if problem is not None:
            raise SettingError(field, f"{known}: {argument} {problem}.")
    missing = [argument for argument in entry["required"] if argument not in config]
    if missing:
        raise SettingError(
            field,
            f"{known} needs {' and '.join(missing)}: give it as "
            f'{{"class_name": "{known}", "config": {{"{missing[0]}": ...}}}}.',
        )
    return Spec(kind, known, dict(config))


def _split(spec: Any, field: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec.strip(), {}
    if isinstance(spec, Mapping):
        name, config, module = spec.get("class_name"), spec.get("config", {}), spec.get("module")
        own = name if name != "function" else config
        custom = isinstance(module, str) and module.split(".")[0] != "keras"
        if isinstance(own, str) and (custom or spec.get("registered_name") not in (None, own)):
            raise SettingError(field, f"{own[:60]!r} is custom code; only Keras' own can be sent as data.")
        if name == "function" and isinstance(config, str):
            return config, {}
        if isinstance(name, str) and isinstance(config, Mapping) and all(isinstance(key, str) for key in config):
            return name, dict(config)
    raise SettingError(field, f"{field} must be a name or a Keras config with class_name and config.")


def _extra(kind: str) -> list[str]:
    return sorted(set(BY_OUTPUT.values())) if kind == METRIC else []


@cache
def _by_key(kind: str) -> dict[str, str]:
    keys = {name.lower(): name for name in table()[kind]}
    if kind != OPTIMIZER:
        for alias, name in ALIASES.items():
            keys.setdefault(alias, name)
    if kind == METRIC:
        # LogCoshError is called logcosh; Keras' losses have no other of these names
        keys |= {"logcosh": "LogCoshError", "logcosherror": "LogCoshError", **BY_OUTPUT}
    return {key: name for key, name in keys.items() if name in table()[kind] or name in BY_OUTPUT.values()}


def _known(kind: str, name: str) -> str | None:
    return name if name in table()[kind] else _by_key(kind).get(name.replace("_", "").lower())
