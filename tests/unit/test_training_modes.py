"""The Job in federations that buffer updates or choose their clients."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from federated_training.data.dataset import label_counts
from mainstem.protocol import topics
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Base, Heartbeat, Joined, Rules, Selected, Selection, Update
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import open_federation
from tests.support.patience import PATIENCE
from tests.unit.test_training_data import sample
from tests.unit.test_training_loop import LABELLED, TENSORS, World, start


def world_of(**rules: object) -> World:
    """Ten samples, of one-hot labels, and a federation of two rounds."""
    log = MemoryLog(SystemClock())
    log.create_topics([topics.stream_spec("stream")])
    log.append("stream", [Outgoing(np.float32(number).tobytes(), key=sample(number).key) for number in range(10)])
    return World(log, open_federation(log, TENSORS, Rules(rounds=2, **rules), input=LABELLED))  # type: ignore[arg-type]


def test_a_late_update_is_uploaded_where_it_still_counts() -> None:
    """In buffered mode the update from the old base is sent, and then training goes on from the new head."""
    world = world_of(mode="buffered", max_staleness=1)
    committed = threading.Event()

    def during() -> None:
        if not committed.is_set():
            committed.set()
            world.commit(1, [tensor * 10 for tensor in TENSORS])

    world.during = during
    thread, raised = start(world.job())
    first, second = world.wait(Update, 2)
    assert (first.base, second.base) == (Base(seq=0, version=0), Base(seq=1, version=1))
    world.commit(2, TENSORS)
    thread.join(PATIENCE)
    assert not raised and world.engines[0].trained == [0, 1]


def test_who_is_not_selected_waits_until_it_is() -> None:
    """The Job beats but does not train for a round that asks others; its labels are told where they are asked for."""
    world = world_of(selection=Selection(name="label_coverage", params={"count": 1}))
    thread, raised = start(world.job())
    (joined,) = world.wait(Joined)
    assert sum(joined.labels.values()) == joined.examples == 8 and set(joined.labels) <= {"0", "1", "2"}
    for clients, trained in ((("other",), []), (("other", "c1"), [0])):

        def chosen(seq: int, prev: str, _: object, clients: tuple[str, ...] = clients) -> Selected:
            return Selected(federation=world.federation, seq=seq, prev=prev, round=1, clients=clients, quorum=1)

        world.append(chosen)
        seen = len(world.said(Heartbeat))
        world.wait(Heartbeat, seen + 3)
        deadline = time.monotonic() + PATIENCE
        while trained and not world.said(Update):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [t for engine in world.engines for t in engine.trained] == trained
    world.commit(1, TENSORS)
    world.commit(2, TENSORS)
    thread.join(PATIENCE)
    assert not raised


def test_labels_stay_at_home_elsewhere() -> None:
    """A federation that does not choose by labels is not told them."""
    world = world_of()
    thread, _ = start(world.job())
    (joined,) = world.wait(Joined)
    assert joined.labels == {}
    world.commit(1, TENSORS)
    world.commit(2, TENSORS)
    thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (np.array([2, 0, 2]), {"0": 1, "2": 2}),
        (np.array([[1], [0], [1]], np.float32), {"0": 1, "1": 2}),
        (np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], np.float32), {"0": 1, "1": 2}),
        (np.array([[0.5, 0.5, 0]], np.float32), {}),
        (np.array([[1, 1, 0]], np.float32), {}),
        (np.array([0.5, 1.0], np.float32), {}),
        (np.zeros((2, 2, 2)), {}),
        (np.array([], np.int64), {}),
    ],
)
def test_label_counts(labels: np.ndarray, counts: dict[str, int]) -> None:
    """Classes are counted, whatever their encoding; other labels are not."""
    assert label_counts(labels) == counts


def test_a_thousand_classes_are_told() -> None:
    """Those with the most samples."""
    counts = label_counts(np.concatenate([np.arange(1500), np.arange(900, 1500)]))
    assert len(counts) == 1000 and all(counts[str(n)] == 2 for n in range(900, 1500))
