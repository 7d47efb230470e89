"""What a forest is made of: its parameters, and what follows from them for a federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from mainstem.errors import ConfigError
from mainstem.protocol import forests
from mainstem.protocol.messages import Forest, InputSpec, LearningRateSchedule, Rules, TensorSpec, Training
from mainstem.protocol.weights import payload_bytes
from mainstem.runtime.fields import Params, checked, said

FRAMEWORK: Final = "xgboost"

TWO, SEVERAL, NUMBER = "binary:logistic", "multi:softprob", "reg:squarederror"
"""The objectives, by XGBoost's names."""

LARGEST: Final = 64 << 20
"""Bytes of a forest's tables: every version has them whole."""

_LOSSES: Final = {TWO: "logloss", SEVERAL: "mlogloss", NUMBER: "mean_squared_error"}
_METRICS: Final = {TWO: "accuracy", SEVERAL: "accuracy", NUMBER: "mean_absolute_error"}


class ForestParams(Params, frozen=True, kw_only=True):
    """A forest of boosted trees."""

    features: Annotated[int, msgspec.Meta(ge=1, le=100_000), said("Features", "Numbers in a sample.")]
    objective: Annotated[
        Literal["binary:logistic", "multi:softprob", "reg:squarederror"],
        said(
            "Objective",
            "What the trees learn.",
            choices={
                TWO: "one of two classes: the share of class 1",
                SEVERAL: "one of several classes: a share of each",
                NUMBER: "a number",
            },
        ),
    ] = "binary:logistic"
    classes: Annotated[
        int, msgspec.Meta(ge=2, le=1000), said("Classes", "Of multi:softprob; a round has a tree for each of them.")
    ] = 2
    depth: Annotated[
        int, msgspec.Meta(ge=1, le=forests.DEEPEST), said("Depth", "Splits from a tree's root to a leaf, at most.")
    ] = 4
    rate: Annotated[
        float,
        msgspec.Meta(gt=0, le=1),
        said("Learning rate", "How much of what it could correct a tree corrects; a round's clients share it."),
    ] = 0.3
    trees_a_round: Annotated[
        int, msgspec.Meta(ge=1, le=1000), said("Trees a round", "That each client adds (for each class).")
    ] = 1
    trees: Annotated[
        int,
        msgspec.Meta(ge=1, le=1_000_000),
        said("Trees, at most", "Of all rounds, clients and classes: a version has room for so many."),
    ] = 500
    start: Annotated[
        float, msgspec.Meta(ge=-1e9, le=1e9), said("Start", "What a forest without a tree answers (reg:squarederror).")
    ] = 0.0

    @property
    def width(self) -> int:
        """Values of an output: tree i adds to value i % width."""
        return self.classes if self.objective == SEVERAL else 1

    @property
    def rows(self) -> int:
        """Trees of an update."""
        return self.trees_a_round * self.width

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Of its tensors."""
        return forests.forest_specs(self.trees, self.depth)


def checked_params(given: Mapping[str, Any]) -> ForestParams:
    """The parameters that were given; raises ConfigError, which begins with the field."""
    params = checked(ForestParams, given, "not a parameter of a forest")
    if params.objective != SEVERAL and params.classes != 2:
        raise ConfigError(f"classes must be left out with {params.objective}, or choose objective {SEVERAL}")
    if params.objective != NUMBER and params.start:
        raise ConfigError(f"start must be left out with {params.objective}: classes begin alike")
    if params.trees < params.rows:
        raise ConfigError(f"trees must be at least {params.rows}, which a client adds in one round")
    if (size := payload_bytes(params.specs)) > LARGEST:
        raise ConfigError(
            f"trees must be fewer, or depth smaller: the forest's tables would have {size >> 20:,} MiB, and every "
            f"version has them whole; up to {LARGEST >> 20} MiB are taken"
        )
    return params


def architecture_of(params: ForestParams) -> str:
    """As a run's opening record says it."""
    return json.dumps({"class_name": "Forest", "config": msgspec.to_builtins(params)})


def params_of(architecture: str) -> ForestParams:
    """The parameters in an architecture, which may be anybody's; raises ConfigError."""
    try:
        found = json.loads(architecture)
        config = found["config"] if found["class_name"] == "Forest" else None
    except (ValueError, KeyError, TypeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ConfigError("architecture is not that of a forest: an object of class_name Forest and config")
    return checked_params(config)


def parts_of(params: ForestParams) -> Forest:
    """What a run exchanges of it."""
    return Forest(trees=params.rows, features=params.features)


def input_of(params: ForestParams) -> InputSpec:
    """A sample, and its label."""
    numbered = params.objective == SEVERAL
    return InputSpec(
        shape=(params.features,),
        dtype="float32",
        label_shape=() if numbered else (1,),
        label_dtype="int64" if numbered else "float32",
        classes=None if params.objective == NUMBER else params.classes,
    )


def training_of(params: ForestParams, asked: Mapping[str, Any], schedule: LearningRateSchedule) -> Training:
    """How clients train it; raises ConfigError for settings that mean nothing to trees."""
    plain = Training()
    usual = {name: getattr(plain, name) for name in ("batch_size", "epochs", "shuffle")}  # which a form always sends
    for name in (*usual, "optimizer", "loss", "metrics"):
        if asked.get(name, usual.get(name)) not in (None, "", [], (), usual.get(name)):
            raise ConfigError(f"{name} must be left out: it means nothing to a forest, whose model says how it grows")
    weights = asked.get("class_weight") or {}
    known = {str(number) for number in range(params.classes)} if params.objective != NUMBER else set()
    for name, weight in weights.items():
        if name not in known:
            classes = f"its classes are 0 to {params.classes - 1}" if known else "it has no classes to weigh"
            raise ConfigError(f"class_weight has {str(name)[:40]!r}, which is no class of the forest: {classes}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1e6:
            raise ConfigError(f"class_weight of class {name} must be a number from 0 to 1000000")
    if known and len(weights) == len(known) and not any(weights.values()):
        raise ConfigError("class_weight must not be 0 for every class: no client would learn anything")
    rate = asked.get("learning_rate")
    rate = params.rate if rate is None else float(rate)
    if not 0 < rate <= 1:
        raise ConfigError(f"learning_rate is {rate:g}; of a forest it must be above 0 and at most 1")
    return Training(
        batch_size=plain.batch_size,
        optimizer=FRAMEWORK,
        loss=_LOSSES[params.objective],
        metrics=(_METRICS[params.objective],),
        learning_rate=rate,
        learning_rate_schedule=schedule,
        seed=asked.get("seed") or 0,
        class_weight={name: float(weight) for name, weight in weights.items()},
    )


def room_for(params: ForestParams, rules: Rules) -> int:
    """How many clients there is room for in every round, up to as many as the rules let in."""
    return min(rules.max_clients, params.trees // (rules.rounds * params.rows))


def check_capacity(params: ForestParams, rules: Rules) -> None:
    """Refuse a run whose trees the forest has no room for; raises ConfigError, which begins with the field."""
    most = room_for(params, rules)
    if rules.max_clients > most:
        needed = rules.rounds * rules.max_clients * params.rows
        way = f"max_clients of up to {most}, " if most >= rules.min_clients else ""
        raise ConfigError(
            f"max_clients is {rules.max_clients}: in {rules.rounds} rounds they would add {needed:,} trees, and the "
            f"forest has room for {params.trees:,}; take {way}fewer rounds, or a model with more trees"
        )
