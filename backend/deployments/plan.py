"""From what a person asks for to the protocol's objects: pure, and the only place where defaults are decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mainstem import compiling, modes, strategies
from mainstem.errors import ConfigError
from mainstem.messages import Data, InputSpec, Rules, Selection, Strategy, Training

OF_MODE = {
    "sync": ("target", "selection"),
    "buffered": ("buffer", "max_staleness", "staleness_exponent"),
    "async": ("max_staleness", "staleness_exponent"),
}
"""The fields that mean something in a mode only."""


class FieldError(ConfigError):
    """A parameter that cannot be; `field` names it as the API does."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that defines a run beside its model and its id."""

    training: Training
    strategy: Strategy
    rules: Rules
    data: Data


def plan(asked: Mapping[str, Any], compiled: Mapping[str, Any] | None, output_shape: Sequence[int]) -> Plan:
    """The run that `asked` (DeploymentCreateSerializer's fields, absent where not given) describes.

    `compiled` are the settings that the model was compiled with; they stand where nothing was asked. `output_shape` is
    of the model's output for one sample. Raises FieldError.
    """
    data = Data(min_data=asked.get("min_data", 1), restriction=asked.get("data_restriction") or None)
    made = Plan(
        training=_training(asked, compiled or {}),
        strategy=_strategy(asked.get("strategy") or {}),
        rules=_rules(asked),
        data=data,
    )
    check_settings(made.training, output_shape, data.min_data)
    return made


def check_settings(training: Training, output_shape: Sequence[int], min_data: int) -> None:
    """Refuse what no Job could train a model of this output with; raises FieldError."""
    try:
        compiling.check_training(msgspec.structs.asdict(training), output_shape, min_data)
    except compiling.SettingError as error:
        raise FieldError(error.field, error.message) from error


def _training(asked: Mapping[str, Any], compiled: Mapping[str, Any]) -> Training:
    default = Training()
    for field, why in (compiled.get("lost") or {}).items():
        if field not in asked:
            raise FieldError(field, why)
    metrics = asked.get("metrics", compiled.get("metrics"))
    return Training(
        batch_size=asked.get("batch_size", default.batch_size),
        epochs=asked.get("epochs", default.epochs),
        optimizer=asked.get("optimizer") or compiled.get("optimizer") or default.optimizer,
        loss=asked.get("loss") or compiled.get("loss") or default.loss,
        metrics=tuple(metrics) if metrics is not None else default.metrics,
        learning_rate=_rate(asked, compiled),
        seed=asked.get("seed", default.seed),
        shuffle=asked.get("shuffle", default.shuffle),
        class_weight={str(name): weight for name, weight in (asked.get("class_weight") or {}).items()},
    )


def _rate(asked: Mapping[str, Any], compiled: Mapping[str, Any]) -> float | None:
    """The model's own rate belongs to the model's own optimizer only."""
    given = asked.get("learning_rate")
    if given is None and not asked.get("optimizer"):
        given = compiled.get("learning_rate")
    return float(given) if given is not None else None


def _strategy(asked: Mapping[str, Any]) -> Strategy:
    chosen = Strategy(name=asked.get("name", "fedavg"), params=dict(asked.get("params") or {}))
    try:
        strategies.make(chosen.name, chosen.params)
    except ConfigError as error:
        text = str(error)
        field = next((word for word in text.split() if word.startswith("strategy.")), "strategy")
        raise FieldError(field, text) from error
    return chosen


def _rules(asked: Mapping[str, Any]) -> Rules:
    default = Rules(rounds=5)
    mode = asked.get("mode", default.mode)
    for name in ("buffer", "max_staleness", "staleness_exponent"):
        if name in asked and name not in OF_MODE[mode]:
            others = " or ".join(one for one, names in OF_MODE.items() if name in names)
            raise FieldError(name, f"{name} means nothing in mode {mode}: leave it out, or choose mode {others}.")
    rules = Rules(
        rounds=asked.get("rounds", default.rounds),
        min_clients=asked.get("min_clients", default.min_clients),
        max_clients=asked.get("max_clients", max(default.max_clients, asked.get("min_clients", 1))),
        quorum=asked.get("quorum"),
        deadline_ms=_ms(asked.get("round_deadline"), default.deadline_ms),
        below_quorum=asked.get("below_quorum", default.below_quorum),
        wait_limit_ms=_ms(asked.get("wait_limit"), default.wait_limit_ms),
        mode=mode,
        target=asked.get("target"),
        buffer=asked.get("buffer", default.buffer),
        max_staleness=asked.get("max_staleness", default.max_staleness),
        staleness_exponent=asked.get("staleness_exponent", default.staleness_exponent),
        selection=_selection(asked.get("selection") or {}),
        keep_updates=asked.get("keep_updates"),
        missed_limit=asked.get("missed_limit", default.missed_limit),
    )
    if rules.min_clients > rules.max_clients:
        raise FieldError(
            "max_clients", f"max_clients is {rules.max_clients}; it must be at least min_clients, {rules.min_clients}."
        )
    if rules.quorum is not None and rules.quorum > rules.max_clients:
        raise FieldError("quorum", f"quorum is {rules.quorum}; it must be at most max_clients, {rules.max_clients}.")
    if rules.target is not None and rules.target > rules.max_clients:
        raise FieldError("target", f"target is {rules.target}; it must be at most max_clients, {rules.max_clients}.")
    try:
        modes.make(rules)
    except ConfigError as error:
        raise FieldError(str(error).split()[0], f"{error}.") from error
    return rules


def _selection(asked: Mapping[str, Any]) -> Selection:
    return Selection(name=asked.get("name", "all"), params=dict(asked.get("params") or {}))


def _ms(seconds: float | None, default: int) -> int:
    return default if seconds is None else round(seconds * 1000)


def input_of(shape: list[int], dtype: str, output_shape: list[int], loss: Any) -> InputSpec:
    """What the model takes, and the labels that the loss compares its output with: a class' number, or its shape."""
    numbers = compiling.takes_indices(loss)
    return InputSpec(
        shape=tuple(shape),
        dtype=dtype,
        label_shape=tuple(output_shape[:-1] if numbers else output_shape),
        label_dtype="int64" if numbers else "float32",
    )
