"""The client's machine: what it does next under any sequence of heads, with any work in hand."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from mainstem.client.machine import (
    ClientMachine,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    HeadFollowed,
    Join,
    Leave,
    Train,
    Trained,
    UpdateUpload,
    Uploaded,
)
from mainstem.errors import ProtocolError
from mainstem.protocol.chain import Head
from mainstem.protocol.messages import Base, Changed, Failed, Finished, Lifecycle, Resumed, RolledBack, Rules, Stopped
from mainstem.rounds import successor
from tests.support.chains import Topic, opened, round_after

EXAMPLES = int(os.environ.get("MAINSTEM_STATEFUL_EXAMPLES", "100"))


def append(topic: Topic, kind: str) -> Head:
    """The next lifecycle record, and the head that it makes."""
    head = topic.head()
    records: dict[str, tuple[type[Lifecycle], dict[str, Any]]] = {
        "stopped": (Stopped, {"command": 1}),
        "resumed": (Resumed, {"command": 2}),
        "changed": (Changed, {"command": 3, "rules": head.rules}),
        "ended": (Changed, {"command": 3, "rules": Rules(rounds=max(head.round, 1))}),
        "failed": (Failed, {"detail": "x"}),
        "finished": (Finished, {"version": head.base.version, "sha256": head.weights.sha256}),
    }
    topic.append(round_after(head) if kind == "round" else successor(head, *records[kind]))
    return topic.head()


def started(rounds: int = 3) -> tuple[ClientMachine, Topic, list[Effect]]:
    """A client that has read `opened`."""
    topic, machine = Topic(), ClientMachine("a")
    topic.append(opened(rounds=rounds))
    return machine, topic, machine.handle(HeadFollowed(topic.head()))


def test_one_run() -> None:
    """Join, then train and upload each round's model, evaluate the last one, leave with it."""
    machine, topic, effects = started(rounds=2)
    for _ in range(2):
        head = topic.head()
        assert effects[-1] == Train(head.base, head.weights)
        assert machine.handle(Trained(head.base)) == [UpdateUpload(head.base, 0)]
        assert machine.handle(Uploaded(head.base)) == []
        effects = machine.handle(HeadFollowed(append(topic, "round")))
    assert effects == [Evaluate(2, topic.head().weights)]
    assert machine.handle(Evaluated(2)) == [Leave(2, "the run is finished")]
    assert machine.handle(HeadFollowed(append(topic, "finished"))) == []


def test_a_restarted_client_goes_on_from_the_head() -> None:
    """It joins anew, trains what is open now, and skips nothing but what is over."""
    _, topic, _ = started()
    head = append(topic, "round")
    again = ClientMachine("a")
    assert again.handle(HeadFollowed(head)) == [Join(), Train(head.base, head.weights)]


@pytest.mark.parametrize("kinds", [["round"], ["round", "round"], ["round", "changed"]])
def test_a_stale_result_is_skipped(kinds: list[str]) -> None:
    """What was trained while the round closed is not uploaded: the client goes on with the new head at once."""
    machine, topic, _ = started(rounds=9)
    base = topic.head().base
    for kind in kinds:
        assert machine.handle(HeadFollowed(append(topic, kind))) == []
    head = topic.head()
    assert machine.handle(Trained(base)) == [Train(head.base, head.weights)]


def test_a_head_during_the_upload() -> None:
    """The upload is finished, then the new model is trained."""
    machine, topic, _ = started()
    base = topic.head().base
    machine.handle(Trained(base))
    assert machine.handle(HeadFollowed(append(topic, "round"))) == []
    assert machine.handle(Uploaded(base)) == [Train(topic.head().base, topic.head().weights)]


@pytest.mark.parametrize("kind", ["stopped", "failed"])
def test_stop_and_failure(kind: str) -> None:
    """A waiting client leaves at once, a training one when it is done, without an upload; a late one never joins."""
    machine, topic, _ = started()
    base = topic.head().base
    busy = copy.deepcopy(machine)
    machine.handle(Trained(base))
    machine.handle(Uploaded(base))
    head = append(topic, kind)
    assert machine.handle(HeadFollowed(head)) == [Leave(None, f"the run is {kind}")]
    assert busy.handle(HeadFollowed(head)) == []
    assert busy.handle(Trained(base)) == [Leave(None, f"the run is {kind}")]
    assert ClientMachine("a").handle(HeadFollowed(head)) == [Leave(None, f"the run is {kind}")]


def test_resumed_before_the_training_ended() -> None:
    """A pause that is over again leaves the result good."""
    machine, topic, _ = started()
    base = topic.head().base
    for kind in ("stopped", "resumed"):
        machine.handle(HeadFollowed(append(topic, kind)))
    assert machine.handle(Trained(base)) == [UpdateUpload(base, 0)]


def test_a_changed_deadline_makes_no_work() -> None:
    """The base is the same, so nothing is trained twice."""
    machine, topic, _ = started()
    base = topic.head().base
    machine.handle(Trained(base))
    machine.handle(Uploaded(base))
    assert machine.handle(HeadFollowed(append(topic, "changed"))) == []


def test_who_comes_after_the_end() -> None:
    """It evaluates the final model and leaves with what it measured."""
    _, topic, _ = started(rounds=1)
    append(topic, "round")
    head = append(topic, "finished")
    late = ClientMachine("a")
    assert late.handle(HeadFollowed(head)) == [Evaluate(1, head.weights)]
    assert late.handle(Evaluated(1)) == [Leave(1, "the run is finished")]


class Client(RuleBasedStateMachine):
    """Any heads, any work, any illegal events."""

    def __init__(self) -> None:
        super().__init__()
        self.topic, self.machine = Topic(), ClientMachine("a")
        self.topic.append(opened(rounds=4))
        self.work: Effect | None = None
        self.uploaded: set[int] = set()
        self.gone = False
        self.take(self.machine.handle(HeadFollowed(self.topic.head())))

    def take(self, effects: list[Effect]) -> None:
        """At most one piece of work at a time, always on the newest head, no base twice."""
        work = [e for e in effects if not isinstance(e, Join)]
        assert len(work) <= 1
        for effect in work:
            assert self.work is None and not self.gone
            head = self.machine.head
            assert head is not None
            if isinstance(effect, Train):
                assert (effect.base, effect.weights) == (head.base, head.weights) and not head.ended
                assert effect.base.seq not in self.uploaded
            if isinstance(effect, UpdateUpload):
                assert effect.base == head.base and not head.ended and not head.final
            self.gone = isinstance(effect, Leave)
            self.work = None if self.gone else effect

    @rule(kind=st.sampled_from(["round", "round", "stopped", "resumed", "changed", "failed", "finished", "ended"]))
    def head(self, kind: str) -> None:
        """The chain goes on."""
        self.take(self.machine.handle(HeadFollowed(append(self.topic, kind))))

    @precondition(lambda self: self.work is not None)
    @rule()
    def done(self) -> None:
        """The work in hand is done."""
        work, self.work = self.work, None
        match work:
            case Train(base):
                self.take(self.machine.handle(Trained(base)))
            case UpdateUpload(base):
                self.uploaded.add(base.seq)
                self.take(self.machine.handle(Uploaded(base)))
            case Evaluate(version):
                self.take(self.machine.handle(Evaluated(version)))

    @rule(base=st.builds(Base, seq=st.integers(50, 60), version=st.integers(0, 2)))
    def illegal(self, base: Base) -> None:
        """What is not in hand cannot be done; a head that is not newer is refused; nothing changes."""
        assert self.machine.head is not None
        events: list[Event] = [Trained(base), Uploaded(base), HeadFollowed(self.machine.head)]
        if not isinstance(self.work, Evaluate):
            events.append(Evaluated(base.version))
        for event in events:
            before = dict(vars(self.machine))
            with pytest.raises(ProtocolError):
                self.machine.handle(event)
            assert vars(self.machine) == before


TestClient = Client.TestCase
TestClient.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)


def test_a_rollback_while_the_final_model_is_evaluated() -> None:
    """The run is open again: the client trains from the version that it went back to, in the place of leaving."""
    topic = Topic()
    topic.append(opened(rounds=2))
    for _ in range(2):
        topic.append(round_after(topic.head()))
    machine = ClientMachine("a")
    final = topic.head()
    assert machine.handle(HeadFollowed(final))[1:] == [Evaluate(2, final.weights)]
    back = {"version": 1, "weights": final.models[1], "snapshot": final.snapshot, "command": 1}
    topic.append(successor(final, RolledBack, back))
    head = topic.head()
    assert machine.handle(HeadFollowed(head)) == []
    assert machine.handle(Evaluated(2)) == [Train(head.base, head.weights)]
