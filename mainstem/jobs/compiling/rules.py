"""Training settings as a whole: each setting by itself, and what only several of them together make wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mainstem.jobs.compiling.bounds import LARGEST, number, schedule_or_rate
from mainstem.jobs.compiling.labels import classes_of
from mainstem.jobs.compiling.specs import LOSS, METRIC, OPTIMIZER, SettingError, Spec, parse, snake
from mainstem.protocol.messages.parts import MOST_VALUES, Training
from mainstem.runtime.exact import summed_twice

MOST_METRICS: Final = 20
_CLIPS: Final = ("clipnorm", "clipvalue", "global_clipnorm")
_CORRELATIONS: Final = ("PearsonCorrelation", "ConcordanceCorrelation")
_weight: Final = number(0, LARGEST)


def check_optimizer(spec: Any, learning_rate: float | None = None) -> Spec:
    """The optimizer, with the learning rate in its arguments where one is given.

    Raises SettingError("optimizer" or "learning_rate").
    """
    parsed = parse(OPTIMIZER, spec)
    if learning_rate is not None:
        problem = schedule_or_rate(learning_rate)
        if problem is not None:
            raise SettingError("learning_rate", f"The learning rate {problem}.")
        parsed = Spec(OPTIMIZER, parsed.name, {**parsed.config, "learning_rate": learning_rate})
    clips = [name for name in _CLIPS if parsed.config.get(name) is not None]
    if len(clips) > 1:
        raise SettingError("optimizer", f"{parsed.name}: only one of {' and '.join(clips)} can be given.")
    return parsed


def check_loss(spec: Any, output_shape: Sequence[int] | None = None) -> Spec:
    """The loss; with `output_shape` (of one sample), also that it can tell outputs apart.

    Raises SettingError("loss").
    """
    parsed = parse(LOSS, spec)
    about_classes = parsed.name.removeprefix("Sparse").startswith("Categorical")
    if about_classes and output_shape is not None and (not output_shape or output_shape[-1] < 2):
        raise SettingError(
            "loss",
            f"{snake(parsed.name)} compares classes, and the model's output {list(output_shape)} has one value: "
            "it would be 0 for ever; give loss, such as mean_squared_error or binary_crossentropy.",
        )
    return parsed


def check_metrics(specs: Sequence[Any]) -> list[Spec]:
    """The metrics, each under a name of its own; raises SettingError("metrics")."""
    if isinstance(specs, str) or not isinstance(specs, Sequence) or len(specs) > MOST_METRICS:
        raise SettingError("metrics", f"metrics must be a list of at most {MOST_METRICS} names or Keras configs.")
    parsed = [parse(METRIC, spec) for spec in specs]
    names: dict[str, str] = {"loss": "the loss"}
    for spec in parsed:
        name = spec.reported
        if name in names or name.startswith("val_"):
            taken = names.get(name, "the validation's")
            raise SettingError("metrics", f"{spec.name} would be reported as {name!r}, as {taken} is: give it a name.")
        names[name] = spec.name
    return parsed


def check_class_weight(weights: Any, loss: Any, output_shape: Sequence[int]) -> dict[str, float]:
    """The weight of each class, by its index as text; classes that are not named weigh 1.

    Raises SettingError("class_weight").
    """
    if not isinstance(weights, Mapping):
        raise SettingError("class_weight", 'class_weight must be an object, such as {"0": 1, "1": 5}.')
    if not weights:
        return {}
    classes = classes_of(loss, output_shape)
    if classes is None:
        raise SettingError(
            "class_weight",
            f"The loss {snake(parse(LOSS, loss).name)} with an output of {list(output_shape)} has no classes to weigh; "
            "class weights need a categorical_, sparse_categorical_ or (of one output) binary_ crossentropy.",
        )
    found: dict[str, float] = {}
    for key, weight in weights.items():
        text = str(key)
        if not (text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < classes):
            raise SettingError(
                "class_weight", f"{text[:40]!r} is no class of the model: its classes are 0 to {classes - 1}."
            )
        problem = _weight(weight)
        if problem is not None:
            raise SettingError("class_weight", f"The weight of class {text} {problem}.")
        found[text] = float(weight)
    if len(found) == classes and not any(found.values()):
        raise SettingError("class_weight", "Every class weighs 0: no client would learn anything.")
    return found


def check_training(training: Mapping[str, Any], output_shape: Sequence[int], min_data: int = 1) -> None:
    """All of a federation's training settings for a model of this output; raises SettingError naming the first wrong.

    `min_data` is how many samples a client has at least.
    """
    optimizer = check_optimizer(training["optimizer"], training.get("learning_rate"))
    check_loss(training["loss"], output_shape)
    _check_values(check_metrics(training["metrics"]), output_shape)
    check_class_weight(training.get("class_weight") or {}, training["loss"], output_shape)
    accumulated = optimizer.config.get("gradient_accumulation_steps")
    steps = steps_of(min_data, training["batch_size"], training["epochs"])
    if accumulated is not None and accumulated > steps:
        raise SettingError("optimizer", too_few_steps(optimizer.name, accumulated, f"{min_data} samples", steps))


def beyond_sgd(training: Training, *, momentum: bool = False) -> str:
    """What makes a client's steps other than those of SGD, w - rate * gradient, perhaps with `momentum`: a clause.

    Empty where nothing does. Raises SettingError.
    """
    optimizer = check_optimizer(training.optimizer)
    if optimizer.name != "SGD":
        return f"it is {optimizer.name}"
    known = ("name", "learning_rate", *(("momentum",) if momentum else ()))
    given = (name for name, value in optimizer.config.items() if name not in known and value)
    return next((f"it has {name}" for name in given), "")


def way_of(training: Training, steps: int) -> float:
    """How long the way of so many steps of SGD is: the weights of all gradients in their sum, added up.

    Without momentum each gradient counts once. With one that starts at zero the gradient of a step is in all steps
    after it too: |a|_1 in Wang et al. 2020 (arXiv:2007.07481), section 3.
    """
    return summed_twice(check_optimizer(training.optimizer).config.get("momentum") or 0, steps)


def steps_of(samples: int, batch_size: int, epochs: int) -> int:
    """A client's optimizer steps in one round."""
    return math.ceil(samples / batch_size) * epochs


def too_few_steps(name: str, accumulated: int, whose: str, steps: int) -> str:
    """The sentence for gradients that are collected for longer than a round lasts."""
    return (
        f"{name}: gradient_accumulation_steps is {accumulated}, but a client of {whose} makes {steps} "
        f"step{'s' * (steps != 1)} a round, and what is not applied by its end is lost: "
        "lower it or batch_size, or raise epochs or min_data."
    )


def values_of(spec: Spec, output_shape: Sequence[int]) -> int:
    """How many values the metric reports of an output of this shape: one a class, or a threshold."""
    config, classes = spec.config, output_shape[-1] if output_shape else 1
    match spec.name:
        case "F1Score" | "FBetaScore":
            return classes if config.get("average") is None else 1
        case "R2Score":
            return classes if config.get("class_aggregation", "uniform_average") is None else 1
    thresholds = config.get("thresholds")
    return len(thresholds) if isinstance(thresholds, list) and spec.name != "AUC" else 1


def _check_values(specs: Sequence[Spec], output_shape: Sequence[int]) -> None:
    last = output_shape[-1] if output_shape else 1
    for spec in specs:
        if spec.name in _CORRELATIONS and spec.config.get("axis", -1) == -1 and last < 2:
            raise SettingError(
                "metrics",
                f"{spec.name} compares the values of one output with each other, and the model's output has one: "
                "use R2Score, which compares samples.",
            )
    total = sum(values_of(spec, output_shape) for spec in specs)
    if total >= MOST_VALUES:
        largest = max(specs, key=lambda spec: values_of(spec, output_shape))
        raise SettingError(
            "metrics",
            f"The metrics report {total} values, most of them {largest.name}, one for each class; fewer than "
            f"{MOST_VALUES} are kept: give it an average, such as "
            f'{{"class_name": "{largest.name}", "config": {{"average": "macro"}}}}.',
        )
