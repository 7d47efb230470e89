"""Modes: which updates count, with which weight, when a round closes, and which rules cannot be."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError, RefusedError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Base, Reason, RolledBack, Rules, Selection
from mainstem.rounds import modes, successor
from mainstem.rounds.modes import Tally, polynomial
from tests.support.chains import Topic, opened, round_after


def after(rounds: int, **rules: object) -> tuple[Topic, Head]:
    """A run with so many rounds committed."""
    topic = Topic()
    topic.append(opened(rounds=99, **rules))
    for _ in range(rounds):
        topic.append(round_after(topic.head()))
    return topic, topic.head()


def refusal(head: Head, base: Base) -> str:
    """Why an update from there does not count."""
    with pytest.raises(RefusedError) as caught:
        modes.make(head.rules).admit(head, base)
    return caught.value.reason


@pytest.mark.parametrize("mode", ["buffered", "async"])
def test_ancestors_within_the_limit_count(mode: str) -> None:
    """Staleness is the number of commits between base and head, up to max_staleness."""
    _, head = after(5, mode=mode, max_staleness=3)
    policy = modes.make(head.rules)
    assert [policy.admit(head, base) for base in head.lineage[2:]] == [3, 2, 1, 0]
    assert refusal(head, head.lineage[1]) == Reason.STALE
    assert refusal(head, Base(seq=9, version=9)) == refusal(head, Base(seq=2, version=1)) == Reason.UNKNOWN_BASE


def test_a_rollback_cuts_off_its_descendants() -> None:
    """What was trained from a version that was rolled back has an unknown base; what it goes back to is an ancestor."""
    topic, head = after(3, mode="buffered")
    fields: dict[str, object] = {"version": 1, "weights": head.model(1), "snapshot": head.snapshot, "command": 7}
    topic.append(successor(head, RolledBack, fields))
    back = topic.head()
    assert modes.make(back.rules).admit(back, Base(seq=1, version=1)) == 1
    assert modes.make(back.rules).admit(back, back.base) == 0
    assert refusal(back, Base(seq=3, version=3)) == Reason.UNKNOWN_BASE


def test_sync_takes_the_heads_model_alone() -> None:
    """The sentence says that the round had closed."""
    _, head = after(2)
    policy = modes.make(head.rules)
    assert policy.admit(head, head.base) == 0 and policy.discount(0) == 1.0
    with pytest.raises(RefusedError, match="its round closed before it came"):
        policy.admit(head, head.lineage[1])


@given(st.integers(0, 1000), st.floats(0, 16))
def test_the_staleness_weight(staleness: int, exponent: float) -> None:
    """It is (1 + s)^-a as nearly as a float can be, positive, and never above 1."""
    weight = polynomial(staleness, exponent)
    assert 0 < weight <= 1
    assert math.isclose(weight, (1 + staleness) ** -exponent, rel_tol=1e-13)


@given(st.integers(0, 1000))
def test_the_default_weight_is_the_nearest_float(staleness: int) -> None:
    """With exponent one half it is the correctly rounded reciprocal of a square root, by another way of computing."""
    with localcontext() as context:
        context.prec = 80
        assert polynomial(staleness, 0.5) == float(1 / Decimal(1 + staleness).sqrt())
    assert polynomial(staleness, 1.0) == 1 / (1 + staleness)
    assert polynomial(staleness, 0.0) == polynomial(0, 3.7) == 1.0


@pytest.mark.parametrize(
    ("rules", "tally", "closes"),
    [
        (Rules(), Tally(0, 2, 2), "all"),
        (Rules(), Tally(1, 2, 2), None),
        (Rules(), Tally(0, 1, 2), None),
        (Rules(target=2), Tally(1, 2, 2), "target"),
        (Rules(target=3), Tally(1, 2, 1), None),
        (Rules(target=3), Tally(0, 2, 2), "all"),
        (Rules(mode="buffered", buffer=3), Tally(1, 3, 2), "buffer"),
        (Rules(mode="buffered", buffer=3), Tally(1, 2, 2), None),
        (Rules(mode="buffered", buffer=9), Tally(0, 2, 2), "all"),
        (Rules(mode="async", buffer=9), Tally(3, 1, 1), "buffer"),
        (Rules(mode="async"), Tally(3, 0, 1), None),
    ],
)
def test_closing(rules: Rules, tally: Tally, closes: str | None) -> None:
    """Each mode's reason to close before the deadline."""
    assert modes.make(rules).complete(tally) == closes


def test_default_quorums() -> None:
    """Never more than what closes the round anyway."""
    for rules, quorum in [
        (Rules(min_clients=5), 5),
        (Rules(min_clients=5, target=3), 3),
        (Rules(min_clients=5, mode="buffered", buffer=4), 4),
        (Rules(min_clients=2, mode="buffered", buffer=4), 2),
        (Rules(min_clients=5, mode="async"), 1),
    ]:
        assert modes.make(rules).quorum == quorum


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"mode": "nope"}, "mode"),
        ({"mode": "buffered", "target": 3}, "target"),
        ({"target": 2, "quorum": 3}, "target"),
        ({"mode": "async", "selection": Selection(name="uniform", params={"count": 2})}, "selection.name"),
        ({"selection": Selection(name="nope")}, "selection.name"),
    ],
)
def test_rules_that_cannot_be(changes: dict[str, object], names: str) -> None:
    """The sentence begins with the field."""
    with pytest.raises(ConfigError) as caught:
        modes.make(msgspec.structs.replace(Rules(), **changes))
    assert str(caught.value).startswith(f"{names} ")
