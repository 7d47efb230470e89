"""Selections: whom a round asks, always the same for the same members, seed and round."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.protocol.messages import Member, Selection
from mainstem.rounds.selection import SELECTIONS, Chooser, make


def chooser(name: str, **params: Any) -> Chooser:
    """A way to choose."""
    made = make(Selection(name=name, params=params))
    assert made is not None
    return made


def members(number: int, **fields: Any) -> list[Member]:
    """So many, alike but for the given lists of fields."""
    return [
        Member(client=f"c{i:03}", incarnation="1", joined=i, **{name: values[i] for name, values in fields.items()})
        for i in range(number)
    ]


NAMES = sorted(set(SELECTIONS) - {"all"})


@given(st.sampled_from(NAMES), st.integers(1, 30), st.integers(1, 40), st.randoms(use_true_random=False), st.text())
def test_a_choice_is_a_function_of_the_members(name: str, total: int, number: int, random: Any, seed: str) -> None:
    """So many different ones as asked for, sorted, whatever the order in which the members are given."""
    people = members(
        total,
        examples=[random.randrange(100) for _ in range(total)],
        seconds=[random.choice([0.0, 1.5, 3.0]) for _ in range(total)],
        labels=[{str(random.randrange(5)): 3} for _ in range(total)],
    )
    chosen = chooser(name, count=1).choose(people, number, seed)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(number, total)
    random.shuffle(people)
    assert chooser(name, count=1).choose(people, number, seed) == chosen


def test_uniform_asks_everyone_alike() -> None:
    """Over many rounds everyone comes up about equally often."""
    asked = Counter(c for r in range(2000) for c in chooser("uniform", count=2).choose(members(10), 2, f"7/{r}/0"))
    assert len(asked) == 10 and all(330 < n < 470 for n in asked.values())


def test_data_size_asks_the_rich_more_often() -> None:
    """In proportion to the examples where one is drawn; who has none can still be drawn at last."""
    people = members(3, examples=[100, 300, 0])
    asked = Counter(chooser("data_size", count=1).choose(people, 1, f"7/{r}/0")[0] for r in range(2000))
    assert 400 < asked["c000"] < 600 and asked["c001"] > 1350
    assert chooser("data_size", count=3).choose(people, 3, "x") == ["c000", "c001", "c002"]


def test_label_coverage_leaves_no_label_out() -> None:
    """The fewest clients that have all labels, then those who cover them again."""
    people = members(6, labels=[{"0": 9}, {"0": 1, "1": 1}, {"2": 5, "3": 1}, {"3": 9}, {}, {"1": 0}])
    assert chooser("label_coverage", count=2).choose(people, 2, "seed") == ["c001", "c002"]
    assert {"c001", "c002"} < set(chooser("label_coverage", count=4).choose(people, 4, "seed"))
    assert {"c004", "c005"}.isdisjoint(chooser("label_coverage", count=4).choose(people, 4, "seed"))


def test_speed_measures_everyone_then_takes_the_fastest() -> None:
    """Who was never measured comes first."""
    people = members(4, seconds=[2.0, 0.0, 9.0, 1.0])
    assert chooser("speed", count=3).choose(people, 3, "seed") == ["c000", "c001", "c003"]


@pytest.mark.parametrize(("fraction", "number"), [(0.1, 1), (0.3, 3), (0.31, 4), (1, 10), (1e-9, 1)])
def test_fractions_round_up(fraction: float, number: int) -> None:
    """0.1 of 10 is 1, though the float is a little more."""
    assert chooser("uniform", fraction=fraction).number(10) == number


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("nope", {}, "selection.name 'nope' is not known; choose one of all, data_size"),
        ("uniform", {}, "selection.params needs count or fraction"),
        ("uniform", {"count": 1, "fraction": 0.5}, "selection.params needs count or fraction"),
        ("uniform", {"many": 1}, "selection.params.many is not a parameter"),
        ("speed", {"count": 0}, "selection.params.count is 0; it must be a whole number from 1 to 1000000"),
        ("speed", {"count": True}, "selection.params.count is True; it must be"),
        ("speed", {"count": 1.5}, "selection.params.count is 1.5; it must be"),
        ("data_size", {"fraction": 0}, "selection.params.fraction is 0; it must be a number above 0 and at most 1"),
        ("data_size", {"fraction": "a"}, "selection.params.fraction is 'a'; it must be"),
        ("data_size", {"fraction": None}, "selection.params.fraction is None; it must be"),
        ("all", {"count": 3}, "selection.params must be empty"),
    ],
)
def test_what_cannot_be(name: str, params: dict[str, Any], says: str) -> None:
    """One sentence names the field."""
    with pytest.raises(ConfigError, match=f"^{says}"):
        make(Selection(name=name, params=params))
    assert make(Selection()) is None
