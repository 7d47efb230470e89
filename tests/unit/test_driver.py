"""The driver of state machines: effects in order, answers fed back, no recursion."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.runtime.driver import EffectQueue, drive


class Countdown:
    """Events and effects are numbers: n asks for n - 1 to be carried out, down to zero."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def handle(self, event: int) -> list[int]:
        """See `Machine`."""
        self.heard.append(event)
        return [event - 1] if event else []


class Node(list["Node"]):
    """An event, whose effects are its children."""


class Tree:
    """Every effect is answered by itself."""

    def handle(self, event: Node) -> list[Node]:
        """See `Machine`."""
        return event


def test_effects_are_carried_out_and_their_answers_fed_until_nothing_is_left() -> None:
    machine, done = Countdown(), []

    def act(effect: int) -> list[int]:
        done.append(effect)
        return [effect]

    drive(machine, 3, act)
    assert (machine.heard, done) == ([3, 2, 1, 0], [2, 1, 0])


def test_a_long_chain_of_answers_takes_no_stack() -> None:
    machine = Countdown()
    drive(machine, 3 * sys.getrecursionlimit(), lambda effect: [effect])
    assert machine.heard[-1] == 0


def test_an_effect_may_answer_nothing_or_several_events_each_digested_before_the_next_effect() -> None:
    happened: list[str] = []

    class Machine:
        def handle(self, event: str) -> list[str]:
            happened.append(f"heard {event}")
            return {"begin": ["a", "b"], "a1": ["c"]}.get(event, [])

    def act(effect: str) -> Iterator[str]:
        happened.append(f"did {effect}")
        yield from {"a": ["a1", "a2"]}.get(effect, [])

    drive(Machine(), "begin", act)
    assert happened == ["heard begin", "did a", "heard a1", "heard a2", "did b", "did c"]


@given(st.recursive(st.builds(Node), lambda children: st.lists(children, max_size=4).map(Node), max_leaves=30))
def test_every_effect_is_carried_out_once_in_the_order_in_which_it_was_asked_for(tree: Node) -> None:
    done: list[int] = []

    def act(effect: Node) -> list[Node]:
        done.append(id(effect))
        return [effect]

    drive(Tree(), tree, act)
    level: list[Node] = [tree]
    asked: list[int] = []
    while level:
        level = [child for node in level for child in node]
        asked += map(id, level)
    assert done == asked


def test_what_carrying_out_raises_comes_through_and_the_later_effects_stay_asked_for() -> None:
    class Machine:
        def handle(self, event: str) -> list[str]:
            return list(event)

    def act(effect: str) -> list[str]:
        if effect == "b":
            raise OSError("the disk is full")
        return []

    queue = EffectQueue(Machine(), act)
    queue.feed(["ab", "c"])
    assert queue.step()
    with pytest.raises(OSError, match="full"):
        queue.step()
    assert list(queue.effects) == ["c"]
    assert queue.step() and not queue.step()
