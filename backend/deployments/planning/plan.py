"""From what a person asks for to the protocol's objects: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from mainstem.errors import ConfigError
from mainstem.jobs import compiling, forests
from mainstem.jobs.forests import ForestParams
from mainstem.protocol import adapting
from mainstem.protocol.messages import (
    Adaptation,
    Data,
    EncodingChoice,
    LearningRateSchedule,
    Rules,
    Selection,
    StrategyChoice,
    Training,
)
from mainstem.rounds import policy
from mainstem.rounds.parameters import OWN_OF_MODES, RULES, given

BAGGING = "bagging"
"""The strategy of forests, where none is asked for."""


class PlanError(ConfigError):
    """A parameter that cannot be; `field` names it as the API does."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that defines a run beside its model and its id."""

    training: Training
    strategy: StrategyChoice
    rules: Rules
    data: Data
    adaptation: Adaptation


def plan(
    asked: Mapping[str, Any],
    compiled: Mapping[str, Any] | None,
    output_shape: Sequence[int],
    forest: ForestParams | None = None,
) -> RunPlan:
    """The run that `asked` (DeploymentCreateSerializer's fields, absent where not given) describes.

    Its `admission` is the protocol's.

    `compiled` are the settings that the model was compiled with; they stand where nothing was asked. `output_shape` is
    of the model's output for one sample, `forest` its parameters, where it is one. Raises FieldError.
    """
    made = RunPlan(
        training=_training(asked, compiled or {}) if forest is None else _growing(asked, forest),
        strategy=_named(StrategyChoice, asked.get("strategy") or ({} if forest is None else {"name": BAGGING})),
        rules=_rules(asked, forest),
        data=given(Data(), {**asked, "data_restriction": asked.get("data_restriction") or None}),
        adaptation=given(Adaptation(), asked),
    )
    try:
        policy.check(made.strategy, made.rules, made.training, made.adaptation.adapt, forest is not None)
        adapting.check(made.adaptation)
        if forest is not None:
            forests.check_capacity(forest, made.rules)
            if made.adaptation.ditto is not None:
                raise ConfigError("ditto must be left out: it draws numbers to numbers, and a forest has trees")
    except ConfigError as error:
        raise PlanError(str(error).split()[0].rstrip(":"), f"{error}.") from error
    check_settings(made.training, None if forest is not None else output_shape, made.data.min_data, made.rules.rounds)
    return made


def check_settings(training: Training, output_shape: Sequence[int] | None, min_data: int, rounds: int) -> None:
    """Refuse what no Job could train a model of this output with for so many rounds; raises FieldError.

    Without an output it is a forest, whose settings `_growing` has judged.
    """
    try:
        if output_shape is not None:
            compiling.check_training(msgspec.structs.asdict(training), output_shape, min_data)
        compiling.check_schedule(training, rounds)
    except compiling.SettingError as error:
        raise PlanError(error.field, error.message) from error


def _training(asked: Mapping[str, Any], compiled: Mapping[str, Any]) -> Training:
    """What is empty was not asked for; there the model's own settings stand, if it has some."""
    for field, why in (compiled.get("lost") or {}).items():
        if field not in asked:
            raise PlanError(field, why)
    own = {name: compiled[name] for name in ("optimizer", "loss", "metrics") if compiled.get(name) is not None}
    chosen = {name: value for name, value in asked.items() if value or name not in ("optimizer", "loss")}
    rate = {
        "learning_rate": _rate(asked, compiled),
        "learning_rate_schedule": _named(LearningRateSchedule, asked.get("learning_rate_schedule")),
    }
    return given(Training(), own | chosen | rate)


def _growing(asked: Mapping[str, Any], forest: ForestParams) -> Training:
    """How clients train a forest."""
    try:
        schedule = _named(LearningRateSchedule, asked.get("learning_rate_schedule"))
        return forests.training_of(forest, asked, schedule)
    except ConfigError as error:
        raise PlanError(str(error).split()[0], f"{error}.") from error


def _rate(asked: Mapping[str, Any], compiled: Mapping[str, Any]) -> float | None:
    """The model's own rate belongs to the model's own optimizer only."""
    given = asked.get("learning_rate")
    if given is None and not asked.get("optimizer"):
        given = compiled.get("learning_rate")
    return float(given) if given is not None else None


def _rules(asked: Mapping[str, Any], forest: ForestParams | None = None) -> Rules:
    mode = asked.get("mode", RULES.mode)
    for name in ("buffer", "max_staleness", "staleness_exponent"):
        if name in asked and mode not in OWN_OF_MODES[name]:
            others = " or ".join(OWN_OF_MODES[name])
            raise PlanError(name, f"{name} means nothing in mode {mode}: leave it out, or choose mode {others}.")
    most = max(RULES.max_clients, asked.get("min_clients", 1))
    named = {
        "selection": _named(Selection, asked.get("selection")),
        "encoding_up": _named(EncodingChoice, asked.get("encoding_up")),
        "encoding_down": _named(EncodingChoice, asked.get("encoding_down")),
    }
    rules = given(RULES, {"max_clients": most, **asked, **named})
    rules = msgspec.structs.replace(rules, admission=asked.get("admission", rules.admission))
    if forest is not None and rules.max_clients == RULES.max_clients:  # as good as not asked for
        rules = msgspec.structs.replace(rules, max_clients=max(rules.min_clients, forests.room_for(forest, rules)))
    if rules.min_clients > rules.max_clients:
        raise PlanError(
            "max_clients", f"max_clients is {rules.max_clients}; it must be at least min_clients, {rules.min_clients}."
        )
    if rules.quorum is not None and rules.quorum > rules.max_clients:
        raise PlanError("quorum", f"quorum is {rules.quorum}; it must be at most max_clients, {rules.max_clients}.")
    if rules.target is not None and rules.target > rules.max_clients:
        raise PlanError("target", f"target is {rules.target}; it must be at most max_clients, {rules.max_clients}.")
    return rules


_Named = TypeVar("_Named", StrategyChoice, Selection, EncodingChoice, LearningRateSchedule)


def _named(kind: type[_Named], asked: Mapping[str, Any] | None) -> _Named:
    """A choice by name; the default one where none is asked for."""
    return kind(**{part: value for part, value in (asked or {}).items() if value})
