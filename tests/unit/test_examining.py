"""One version under the glass: its proof, and its updates' norms and cosines beside what NumPy finds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mainstem.aggregation.blocks import tensors
from mainstem.errors import ConfigError
from mainstem.lineage import RunReader, examine, read_history
from mainstem.protocol import updates
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import Round
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.runs import finished_run


@pytest.fixture
def run() -> tuple[MemoryLog, str]:
    """A run of three clients and three rounds."""
    return finished_run(rounds=3, count=3)


def test_steps_are_measured(run: tuple[MemoryLog, str]) -> None:
    """Norm and cosine of every update are those of its step from its base, against the version's own step."""
    log, federation = run
    history = read_history(log, federation)
    reading = RunReader(log, history)
    for head, record in history.steps():
        if not isinstance(record, Round):
            continue
        reading.begin(record)
        found = examine(log, federation, record.version)
        assert found.proof.state == "proved" and found.proof.updates == len(record.accepted) == len(found.measures)
        specs, topic = exchange(head.opened), head.opened.topics.data
        before = flat(updates.read(log, topic, head.weights, specs.model))
        step = flat(updates.read(log, topic, record.weights, specs.model)) - before
        assert found.norm == pytest.approx(np.linalg.norm(step))
        reads = reading.updates(head, record.accepted)
        for item, read, measure in zip(record.accepted, reads, found.measures, strict=True):
            taken = flat(tensors(read, specs.update)) - before
            assert (measure.client, measure.offset) == (item.client, item.offset)
            assert measure.norm == pytest.approx(np.linalg.norm(taken))
            whole = np.linalg.norm(taken) * np.linalg.norm(step)
            assert measure.cosine == (pytest.approx(taken @ step / whole) if whole else None)


def test_pruned_updates_are_gone(run: tuple[MemoryLog, str]) -> None:
    """A version whose updates were pruned says so, and has no norms of what is gone."""
    log, federation = run
    history = read_history(log, federation)
    (first,) = [record for _, record in history.steps() if isinstance(record, Round) and record.version == 1]
    last = max(item.offset for item in first.accepted)
    log.delete_records(history.opened.topics.aggregator, 0, last + 1)
    found = examine(log, federation, 1)
    assert found.proof.state == "gone"
    assert [measure.norm for measure in found.measures] == [None] * 3


def test_only_versions_of_rounds_are_examined(run: tuple[MemoryLog, str]) -> None:
    """Version 0 and versions that never were have no updates to look at."""
    log, federation = run
    for version in (0, 99):
        with pytest.raises(ConfigError, match=f"made version {version}"):
            examine(log, federation, version)


def flat(tensors: list[Tensor]) -> NDArray[np.float64]:
    """The float tensors as one vector."""
    return np.concatenate([tensor.reshape(-1).astype(np.float64) for tensor in tensors if tensor.dtype.kind == "f"])
