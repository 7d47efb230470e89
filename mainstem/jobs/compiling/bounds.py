"""The bounds of the arguments of Keras' optimizers, losses and metrics. Where Keras has none, those that train."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

Check = Callable[[Any], str | None]
"""What is wrong with a value, as the end of a sentence that begins with the argument's name; None for nothing."""

SMALLEST: Final = 1.1754944e-38
"""The least number that float32 holds at full precision; below it a rate is 0 for a model."""
LARGEST: Final = 1e6
LONGEST: Final = 100
"""Values of a list, such as thresholds."""


def number(low: float = 0.0, high: float = LARGEST, *, above: bool = False, below: bool = False) -> Check:
    """A finite number from `low` (`above`: not it itself) to `high` (`below`: likewise)."""
    least = f"above {_shown(low)}" if above else f"from {_shown(low)}"
    most = f"below {_shown(high)}" if below else f"at most {_shown(high)}" if above else f"to {_shown(high)}"
    told = f"must be a number {least}{' and' if above or below else ''} {most}"

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"is {_quoted(value)}; it {told}"
        fits = (low < value if above else low <= value) and (value < high if below else value <= high)
        return None if fits else f"is {_quoted(value)}; it {told}"

    return check


def whole(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> str | None:
        fits = type(value) is int and low <= value <= high
        return None if fits else f"is {_quoted(value)}; it must be a whole number from {low} to {high}"

    return check


def one_of(*values: Any) -> Check:
    """One of these values."""

    def check(value: Any) -> str | None:
        known = ", ".join("null" if known is None else str(known) for known in values)
        fits = any(type(value) is type(known) and value == known for known in values)
        return None if fits else f"is {_quoted(value)}; it must be one of {known}"

    return check


def optional(check: Check) -> Check:
    """None as well."""
    return lambda value: None if value is None else check(value)


def many(check: Check, *, least: int = 1, alone: bool = False) -> Check:
    """A list of `least` to LONGEST of them; `alone`: or one without a list."""

    def judge(value: Any) -> str | None:
        if alone and not isinstance(value, list):
            return check(value)
        if not isinstance(value, list) or not least <= len(value) <= LONGEST:
            return f"is {_quoted(value)}; it must be a list of {least} to {LONGEST} values"
        return next((problem for item in value if (problem := check(item)) is not None), None)

    return judge


def text(value: Any) -> str | None:
    """A name of 1 to 100 printable characters."""
    fits = isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()
    return None if fits else f"is {_quoted(value)}; it must be a name of 1 to 100 characters"


def schedule_or_rate(value: Any) -> str | None:
    """A learning rate: above 0 as float32 has it; a schedule is refused, since it would start anew each round."""
    if isinstance(value, dict):
        name = str(value.get("class_name"))[:60]
        return (
            f"is the schedule {name}, which would start anew in each round, as a client's optimizer does: "
            "it would never get beyond one round's steps; give a number, and learning_rate_schedule (step, "
            "exponential, cosine) for how it goes from round to round"
        )
    problem = RATE(value)
    if problem is None and value < SMALLEST:
        return f"is {value!r}, which is 0 in float32; it must be at least {SMALLEST:.3g}"
    return problem


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _quoted(value: Any) -> str:
    return repr(value)[:60]


RATE: Final = number(0, LARGEST, above=True, below=True)
FLAG: Final = one_of(True, False)
_SHARE: Final = number(0, 1)
_DECAY: Final = number(0, 1, below=True)
_POSITIVE: Final = number(0, LARGEST, above=True)
_ANY: Final = number(-LARGEST, LARGEST)
_SMALL: Final = number(0, 1000, above=True)
_CLASS: Final = whole(0, 1 << 24)
_AXIS: Final = whole(-8, 8)
_FLOATS: Final = one_of("float16", "bfloat16", "float32", "float64", None)
_COUNTS: Final = one_of("float32", "float64", "int", "int32", "int64", None)
_IOU: Final = ("BinaryIoU", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU")

ARGUMENTS: Final[dict[str, Check]] = {
    # of every kind
    "name": text, "dtype": _FLOATS, "axis": _AXIS, "from_logits": FLAG, "label_smoothing": _SHARE,
    "ignore_class": optional(whole(-(1 << 24), 1 << 24)), "beta": number(0, 1000),
    # losses
    "reduction": one_of("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"),
    "apply_class_balancing": FLAG, "alpha": number(0, 1000), "gamma": number(0, 1000), "delta": _POSITIVE,
    "q": number(0, 1, above=True, below=True), "margin": number(0, 1000), "remove_diagonal": FLAG,
    # metrics
    "num_thresholds": whole(2, 100_000), "curve": one_of("ROC", "PR", "PRGAIN"),
    "summation_method": one_of("interpolation", "minoring", "majoring"), "multi_label": FLAG,
    "thresholds": optional(many(_SHARE, alone=True)), "threshold": _ANY, "top_k": optional(whole(1, 1 << 24)),
    "num_labels": optional(whole(1, LONGEST)), "label_weights": optional(many(number(0, LARGEST))),
    "target_class_ids": many(_CLASS), "num_classes": whole(2, 10_000), "sparse_y_true": FLAG, "sparse_y_pred": FLAG,
    "class_id": optional(_CLASS), "recall": _SHARE, "precision": _SHARE, "specificity": _SHARE,
    "sensitivity": _SHARE, "average": one_of("micro", "macro", "weighted", None), "k": whole(1, 1 << 24),
    "class_aggregation": one_of("uniform_average", "variance_weighted_average", None),
    "num_regressors": one_of(0), "from_sorted_ids": FLAG,
    # optimizers
    "learning_rate": schedule_or_rate, "momentum": _SHARE, "nesterov": FLAG, "rho": _DECAY, "epsilon": _SMALL,
    "weight_decay": optional(number(0, LARGEST)), "clipnorm": optional(_POSITIVE), "clipvalue": optional(_POSITIVE),
    "global_clipnorm": optional(_POSITIVE), "use_ema": FLAG, "ema_momentum": _SHARE,
    "ema_overwrite_frequency": optional(whole(1, 1 << 40)), "loss_scale_factor": optional(_POSITIVE),
    "gradient_accumulation_steps": optional(whole(2, 1 << 30)), "beta_1": _DECAY, "beta_2": _DECAY, "amsgrad": FLAG,
    "centered": FLAG, "beta_2_decay": number(-100, 0, below=True), "epsilon_1": _SMALL, "epsilon_2": _SMALL,
    "clip_threshold": _POSITIVE, "relative_step": FLAG, "initial_accumulator_value": number(0, LARGEST),
    "learning_rate_power": number(-100, 0), "l1_regularization_strength": number(0, LARGEST),
    "l2_regularization_strength": number(0, LARGEST), "l2_shrinkage_regularization_strength": number(0, LARGEST),
    "adam_beta_1": _DECAY, "adam_beta_2": _DECAY, "adam_weight_decay": optional(number(0, LARGEST)),
    "exclude_layers": optional(many(text, least=0)), "exclude_embeddings": FLAG, "muon_a": _ANY, "muon_b": _ANY,
    "muon_c": _ANY, "adam_lr_ratio": _POSITIVE, "ns_steps": whole(1, 100), "rms_rate": _POSITIVE,
}  # fmt: skip
"""By an argument's name; the same name means the same in every class but those of `OF_CLASS`."""

OF_CLASS: Final[dict[tuple[str, str], Check]] = {
    ("CategoricalFocalCrossentropy", "alpha"): many(number(0, 1000), alone=True),
    ("BinaryFocalCrossentropy", "alpha"): _SHARE,
    ("Dice", "axis"): optional(many(_AXIS, alone=True)),
    ("Tversky", "axis"): optional(many(_AXIS, alone=True)),
    **{(name, "dtype"): _COUNTS for name in _IOU},
    **{(name, "axis"): one_of(-1) for name in _IOU},  # Keras reduces over another one twice, and fails
    ("BinaryIoU", "threshold"): _SHARE,
    ("F1Score", "threshold"): optional(number(0, 1, above=True)),
    ("FBetaScore", "threshold"): optional(number(0, 1, above=True)),
    ("FBetaScore", "beta"): _SMALL,
}
"""Arguments that mean something else in one class."""


def problem_of(name: str, argument: str, value: Any) -> str | None:
    """What is wrong with a value of an argument of the class `name`; None for nothing."""
    check = OF_CLASS.get((name, argument)) or ARGUMENTS.get(argument)
    return "cannot be given here" if check is None else check(value)
