"""The clients' learning rate by round: against a table, against floats, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.jobs.compiling import SCHEDULES, SettingError, check_optimizer, check_schedule, rate_of
from mainstem.protocol.messages import LearningRateSchedule, Training
from mainstem.runtime.exact import cosine, power


def training(name: str, params: dict[str, Any], rate: float | None = 0.8) -> Training:
    """Settings with that schedule."""
    return Training(learning_rate=rate, learning_rate_schedule=LearningRateSchedule(name=name, params=params))


TABLE: list[tuple[str, dict[str, Any], list[float]]] = [
    ("constant", {}, [0.8, 0.8, 0.8, 0.8, 0.8, 0.8]),
    ("constant", {"warmup": 3}, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]),
    ("step", {"every": 2}, [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]),
    ("step", {"every": 1, "factor": 0.25, "warmup": 1}, [0.4, 0.8, 0.2, 0.05, 0.0125, 0.003125]),
    ("exponential", {"factor": 0.5}, [0.8, 0.4, 0.2, 0.1, 0.05, 0.025]),
    ("cosine", {}, [0.8, 0.7464101615, 0.6, 0.4, 0.2, 0.0535898385]),
    ("cosine", {"over": 2, "floor": 0.25, "warmup": 1}, [0.4, 0.8, 0.5, 0.2, 0.2, 0.2]),
]


@pytest.mark.parametrize(("name", "params", "rates"), TABLE)
def test_rates_of_six_rounds(name: str, params: dict[str, Any], rates: list[float]) -> None:
    """As one would reckon by hand; a run of that length is taken."""
    settings = training(name, params)
    check_schedule(settings, 6)
    assert [rate_of(settings, round_, 6) for round_ in range(1, 7)] == pytest.approx(rates, rel=1e-9)


def test_without_a_rate_it_is_the_optimizers_own() -> None:
    """A constant schedule changes nothing, so it needs none."""
    check_schedule(Training(), 5)
    assert rate_of(Training(), 3, 5) is None


@pytest.mark.parametrize(
    ("settings", "rounds", "field", "says"),
    [
        (
            training("linear", {}),
            5,
            "learning_rate_schedule.name",
            "name 'linear' is not known; choose one of constant",
        ),
        (
            training("step", {"factor": 2}),
            5,
            "learning_rate_schedule.params.factor",
            "params.factor is 2; it must be a number above",
        ),
        (
            training("cosine", {"every": 2}),
            5,
            "learning_rate_schedule.params.every",
            "params.every is not a parameter of cosine",
        ),
        (training("step", {}, None), 5, "learning_rate", "The schedule step needs a learning_rate to begin with"),
        (training("constant", {"warmup": 2}, None), 5, "learning_rate", "needs a learning_rate"),
        (training("cosine", {"over": 3}), 5, "learning_rate_schedule", "the rate of round 5 is 0, which is 0 in float"),
        (training("exponential", {"factor": 0.5}), 999, "learning_rate_schedule", "of round 999 is"),
        (training("constant", {"warmup": 9}, 2e-38), 5, "learning_rate_schedule", "of round 1 is 2e-39"),
    ],
)
def test_what_cannot_be_is_refused(settings: Training, rounds: int, field: str, says: str) -> None:
    """The sentence names the field and the way out."""
    with pytest.raises(SettingError, match=says) as caught:
        check_schedule(settings, rounds)
    assert caught.value.field == field


def test_keras_own_schedules_name_the_way_out() -> None:
    """A schedule in the optimizer begins anew in each round; one by round does not."""
    keras = {"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 100}}
    with pytest.raises(SettingError, match=r"would start anew in each round.*learning_rate_schedule"):
        check_optimizer({"class_name": "SGD", "config": {"learning_rate": keras}})


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    rate=st.floats(1e-6, 10),
    rounds=st.integers(1, 60),
    warmup=st.integers(0, 20),
)
def test_it_climbs_then_never_rises(name: str, rate: float, rounds: int, warmup: int) -> None:
    """By any schedule, within what was asked for."""
    settings = training(name, {"warmup": warmup}, rate)
    rates = [rate_of(settings, round_, rounds) or 0.0 for round_ in range(1, rounds + 1)]
    assert all(0 <= each <= rate for each in rates)
    up, down = rates[:warmup], rates[warmup:]
    assert up == sorted(up) and down == sorted(down, reverse=True)
    assert not down or down[0] == rate


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_cosines_are_those_of_floats(part: int, whole: int) -> None:
    """Within what rounding an angle costs."""
    way = min(Fraction(part, whole), Fraction(1))
    assert cosine(way) == pytest.approx(math.cos(math.pi * way), abs=1e-15)


@given(st.floats(1e-10, 1e6), st.floats(-10, 10))
def test_powers_are_those_of_floats(base: float, exponent: float) -> None:
    """Within one step of the platform's own power."""
    assert power(base, exponent) == pytest.approx(base**exponent, rel=3e-16)
