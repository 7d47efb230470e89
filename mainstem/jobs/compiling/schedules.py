"""The clients' learning rate by round, as `opened` says it. A new schedule is a class here, added to `SCHEDULES`.

A client's optimizer starts anew in each round, and with it any schedule that it held. So this one counts rounds: a
client sets the round's rate on its optimizer before it trains, and every reader of the log computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Final, Protocol

from msgspec import Meta

from mainstem.errors import ConfigError
from mainstem.jobs.compiling.bounds import SMALLEST
from mainstem.jobs.compiling.specs import SettingError
from mainstem.protocol.messages.parts import LearningRateSchedule, Training
from mainstem.runtime.exact import cosine, power
from mainstem.runtime.fields import Params, checked, said

FIELD: Final = "learning_rate_schedule"

Rounds = Annotated[int, Meta(ge=1, le=1_000_000)]
Factor = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class ScheduleParams(Params, frozen=True, kw_only=True):
    """What every schedule has. Goyal et al., "Accurate, Large Minibatch SGD", 2017 (arXiv:1706.02677), section 2.2."""

    warmup: Annotated[
        int,
        Meta(ge=0, le=1_000_000),
        said("Warm-up", "In so many rounds at first the rate climbs in equal steps to its full size.", unit="rounds"),
    ] = 0


class Schedule(Protocol):
    """One way for the rate to go; pure."""

    summary: ClassVar[str]
    """One sentence for whoever chooses."""
    Params: ClassVar[type[ScheduleParams]]

    @staticmethod
    def factor(params: Any, passed: int, left: int) -> float:
        """What the rate is multiplied by once so many rounds of the full rate have passed, of a run that has `left`
        rounds after its warm-up."""
        ...


class Constant:
    """The same rate in each round."""

    summary: ClassVar[str] = "the same rate in each round"
    Params: ClassVar[type[ScheduleParams]] = ScheduleParams

    @staticmethod
    def factor(params: ScheduleParams, passed: int, left: int) -> float:
        """See `Schedule`."""
        return 1.0


class StepParams(ScheduleParams, frozen=True, kw_only=True):
    """How far and how often it falls."""

    every: Annotated[Rounds, said("Every", "So many rounds lie between two falls.", unit="rounds")] = 10
    factor: Annotated[Factor, said("Factor", "What each fall multiplies the rate by.")] = 0.5


class Step:
    """The rate falls at once, after every so many rounds."""

    summary: ClassVar[str] = "the rate falls after every so many rounds"
    Params: ClassVar[type[ScheduleParams]] = StepParams

    @staticmethod
    def factor(params: StepParams, passed: int, left: int) -> float:
        """See `Schedule`."""
        return power(params.factor, passed // params.every)


class ExponentialParams(ScheduleParams, frozen=True, kw_only=True):
    """How fast it falls."""

    factor: Annotated[Factor, said("Factor", "What each round multiplies the rate of the one before by.")] = 0.95


class Exponential:
    """The rate falls by the same share in each round."""

    summary: ClassVar[str] = "the rate falls by the same share in each round"
    Params: ClassVar[type[ScheduleParams]] = ExponentialParams

    @staticmethod
    def factor(params: ExponentialParams, passed: int, left: int) -> float:
        """See `Schedule`."""
        return power(params.factor, passed)


class CosineParams(ScheduleParams, frozen=True, kw_only=True):
    """How long it falls, and how far."""

    over: Annotated[
        Rounds | None,
        said("Over", "It falls for so many rounds; without it, to the end of the run's rounds.", unit="rounds"),
    ] = None
    floor: Annotated[Share, said("Floor", "The share of the rate that is left at the end.")] = 0.0


class Cosine:
    """The rate falls along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017 (arXiv:1608.03983), section 3,
    without restarts."""

    summary: ClassVar[str] = "the rate falls along half a cosine, slowly at first and at the end"
    Params: ClassVar[type[ScheduleParams]] = CosineParams

    @staticmethod
    def factor(params: CosineParams, passed: int, left: int) -> float:
        """See `Schedule`."""
        way = Fraction(passed, params.over or max(left, 1))
        return params.floor + (1 - params.floor) * (1 + cosine(min(way, Fraction(1)))) / 2


SCHEDULES: Final[Mapping[str, type[Schedule]]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
}


def check_schedule(training: Training, rounds: int) -> None:
    """Refuse a schedule that is not known, or by which a run of so many rounds comes to a rate of 0.

    Raises SettingError, which names the field or the parameter.
    """
    try:
        schedule, params = _made(training.learning_rate_schedule)
    except ConfigError as error:
        raise SettingError(str(error).split()[0], f"{error}.") from error
    if schedule is Constant and not params.warmup:
        return
    name = training.learning_rate_schedule.name
    if training.learning_rate is None:
        raise SettingError("learning_rate", f"The schedule {name} needs a learning_rate to begin with: give a number.")
    # once warm, no schedule rises
    for round_ in {1, min(params.warmup + 1, rounds), rounds}:
        rate = rate_of(training, round_, rounds)
        if rate is None or rate < SMALLEST:
            raise SettingError(
                FIELD,
                f"By the schedule {name} the rate of round {round_} is {rate:.3g}, which is 0 in float32: "
                "let it fall less, or give fewer rounds.",
            )


def rate_of(training: Training, round_: int, rounds: int) -> float | None:
    """The clients' learning rate in that round (the first is 1) of a run opened for so many; None: the optimizer's own.

    Raises ConfigError for a schedule that is not known here.
    """
    schedule, params = _made(training.learning_rate_schedule)
    if training.learning_rate is None:
        return None
    passed = round_ - 1 - params.warmup
    if passed < 0:
        return training.learning_rate * (round_ / (params.warmup + 1))
    return training.learning_rate * schedule.factor(params, passed, rounds - params.warmup)


def _made(chosen: LearningRateSchedule) -> tuple[type[Schedule], ScheduleParams]:
    if chosen.name not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise ConfigError(f"{FIELD}.name {chosen.name[:40]!r} is not known; choose one of {known}")
    schedule = SCHEDULES[chosen.name]
    own = f"{FIELD}.params.{{}}".format
    return schedule, checked(schedule.Params, chosen.params, f"not a parameter of {chosen.name}", own)
