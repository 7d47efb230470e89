"""The client's pipeline: stages as the run asks for them, and what a client does with what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.client.keep import State
from mainstem.client.participant import Assignment, ClientMemory, Measured, Outcome, Participant
from mainstem.client.pipeline import Origin, Stage, compose, unknown
from mainstem.client.voice import Presence, UpdateClaim, Voice
from mainstem.errors import ConfigError, LogError
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    Base,
    EncodingChoice,
    Group,
    LearningRateSchedule,
    Opened,
    Report,
    Rules,
    Selection,
    StrategyChoice,
    Training,
    Update,
    encode,
)
from mainstem.protocol.packing import PACKED_BYTES
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import open_federation
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient
from tests.support.sent import carried, said
from tests.unit.test_training_loop import TENSORS

BASE = Base(seq=0, version=0)


def change(origin: Origin) -> Stage | None:
    """A toy stage that runs called "changes" ask for: the difference from the base, and all that came before it."""
    if origin.opened.name != "changes":
        return None

    def run(tensors: Sequence[Tensor], state: State) -> tuple[Sequence[Tensor], State]:
        kept = state.get("change", [np.zeros_like(tensor) for tensor in tensors])
        out = [t - b + k for t, b, k in zip(tensors, origin.model, kept, strict=True)]
        return out, {**state, "change": out}

    return run


def double(origin: Origin) -> Stage:
    """A toy stage of every run."""
    return lambda tensors, state: ([tensor * 2 for tensor in tensors], state)


class Doer:
    """Adds its base's number plus one to the model; knows how often it did."""

    frameworks = None

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.model: Sequence[Tensor] = ()

    def presence(self, opened: Opened) -> Presence:
        """See `Learner`."""
        return Presence(5)

    def load(self, opened: Opened, tensors: Sequence[Tensor], version: int, kept: State) -> None:
        """See `Learner`."""
        self.model = tensors

    def train(self, opened: Opened, assignment: Assignment) -> Outcome:
        """See `Learner`."""
        self.trained.append(assignment.base.seq)
        return Outcome([tensor + 1 for tensor in self.model], UpdateClaim(5, Report(train_seconds=1.0)))

    def evaluate(self, opened: Opened, version: int) -> Measured:
        """See `Learner`."""
        return Measured()

    def now(self, phase: str, base: int | None = None) -> None:
        """See `Learner`."""


class Broken(MemoryLog):
    """A log whose n-th append from now on comes to nothing."""

    at = -1

    def append(self, topic: str, records: Any) -> list[int]:
        """Append, or fail."""
        self.at -= 1
        if self.at == 0:
            raise LogError("the broker is away")
        return super().append(topic, records)


def head_of(log: MemoryLog, federation: str) -> Any:
    """The run's head."""
    control = ControlTopic(log, federation)
    control.sync()
    return control.head


def sent(log: MemoryLog, federation: str) -> list[list[Any]]:
    """The tensors of every update."""
    opened = head_of(log, federation).opened
    found = [(record.offset, m) for record, m in said(log, federation) if isinstance(m, Update)]
    return [[t.tolist() for t in carried(log, opened, offset, m)] for offset, m in found]


@pytest.mark.parametrize(("name", "factor"), [("changes", 0), ("whole", 1)])
def test_a_stage_is_added_in_its_place(name: str, factor: int) -> None:
    """The run that asks for it gets changes, doubled; another one whole models, doubled."""
    log = MemoryLog(SystemClock())
    federation = open_federation(log, TENSORS, Rules(rounds=2), name=name)
    voice = Voice(log, federation, "c", "1")
    Participant(voice, Doer(), log, stages=(change, double)).follow(head_of(log, federation))
    assert sent(log, federation) == [[(2 * (tensor * factor + 1)).tolist() for tensor in TENSORS]]


def test_no_stage_holds_nothing() -> None:
    """Neither the model that a round began with, nor a copy of what was trained."""
    head = head_of(log := MemoryLog(SystemClock()), open_federation(log, TENSORS, Rules()))
    model, state = [tensor.copy() for tensor in TENSORS], {"x": TENSORS}
    stage = compose((change,), Origin(head.opened, exchange(head.opened), "c", BASE, model))
    tensors, after = stage(model, state)
    assert tensors is model and after is state


@pytest.mark.parametrize(("failing", "packed"), [(2, PACKED_BYTES), (2, 0), (3, 0)])
def test_what_stages_keep_counts_from_what_was_published(failing: int, packed: int) -> None:
    """One record, chunks or their manifest that came to nothing: the next session sends the same bytes without
    training, and only then the state goes on."""
    log, doer, memory = Broken(SystemClock()), Doer(), ClientMemory()
    federation = open_federation(log, TENSORS, Rules(rounds=2), name="changes")
    head = head_of(log, federation)
    log.at = failing

    def session(attempt: str) -> None:
        voice = Voice(log, federation, "c", "1", attempt=attempt, packed=packed)
        Participant(voice, doer, log, memory=memory, stages=(change,)).follow(head)

    with pytest.raises(LogError):
        session("first")
    assert memory.keep.before(1, None).state == {} and doer.trained == [0]
    for attempt in ("second", "third"):
        session(attempt)
        kept = memory.keep.before(1, None).state["change"]
        assert [tensor.tolist() for tensor in kept] == [np.ones_like(t).tolist() for t in TENSORS]
    first, again = sent(log, federation)
    assert first == again == [np.ones_like(tensor).tolist() for tensor in TENSORS] and doer.trained == [0]


# ---------------------------------------------------------------- what a client must know
def group(direction: str) -> Group:
    """A group without tensors."""
    return Group(name="g", tensors=(), direction=direction)


def encoded(up: str, down: str = "raw", **params: Any) -> Rules:
    """Rules by which updates and versions travel so."""
    return Rules(encoding_up=EncodingChoice(name=up, params=params), encoding_down=EncodingChoice(name=down))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"framework": "torch"}, ["its framework is 'torch' (known: tf)"]),
        ({"rules": encoded("int3")}, ["encoding_up.name 'int3' is not known", "raw, float16, bfloat16, int8, int4"]),
        ({"rules": encoded("raw", "int3")}, ["encoding_down.name 'int3' is not known"]),
        ({"rules": encoded("topk", fraction=7)}, ["encoding_up.params.fraction"]),
        ({"rules": encoded("topk", fraction=0.1)}, []),
        ({"strategy": StrategyChoice(name="fedmagic")}, ["strategy.name 'fedmagic' is not known", "fedavg"]),
        ({"strategy": StrategyChoice(params={"spice": 1})}, ["strategy.params.spice"]),
        ({"strategy": StrategyChoice(name="scaffold"), "training": Training()}, ["must be plain SGD"]),
        (
            {"training": Training(learning_rate_schedule=LearningRateSchedule(name="newer"))},
            ["learning_rate_schedule.name 'newer' is not known"],
        ),
        ({"rules": Rules(mode="relay")}, ["mode 'relay' is not known", "async, buffered, sync"]),
        ({"rules": Rules(selection=Selection(name="lottery"))}, ["lottery"]),
        ({"groups": (group("up"),)}, ["each update carries the group 'g', which no stage makes"]),
        ({"groups": (group("server"), group("down"))}, []),
        ({"framework": "torch", "rules": Rules(mode="y")}, ["'torch'", "'y'"]),
        ({"framework": "TF"}, []),
    ],
)
def test_what_this_release_does_not_know_is_named(changes: dict[str, Any], says: list[str]) -> None:
    """All of it at once, with what is known in its place."""
    log = MemoryLog(SystemClock())
    federation = open_federation(log, TENSORS, Rules())
    opened = msgspec.structs.replace(head_of(log, federation).opened, **changes)
    reopen(log, opened)
    told = unknown(head_of(log, federation), {"tf"})
    assert bool(told) == bool(says) and all(word in "; ".join(told) for word in says), told
    client = LightClient(log, federation, "c", lambda tensors, _: list(tensors))
    if says and "framework" not in changes:
        with pytest.raises(ConfigError, match=r"does not know: .* Take part with the release of Mainstem that opened"):
            client.step()
        assert log.bounds(topics.aggregator_topic(federation), 0)[1] == 0


def reopen(log: MemoryLog, opened: Opened) -> None:
    """Let the federation begin with this record."""
    topic = topics.control_topic(opened.federation)
    log.delete_topics([topic])
    log.create_topics(topics.federation_topics(opened.federation))
    log.append(topic, [Outgoing(encode(opened))])
