"""Personal tensors over whole runs: they stay at their sites, versions have version 0's, and no kill changes a byte."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated_training.job.config import Settings
from federated_training.job.ditto import DITTO
from federated_training.job.loop import TrainingJob
from mainstem.aggregator.federation import Federation
from mainstem.client.keep import FileKeep, State
from mainstem.client.personal import PERSONAL, Site
from mainstem.errors import ConfigError
from mainstem.lineage import read_history, replay, verify
from mainstem.protocol import topics
from mainstem.protocol.messages import Adaptation, Finished, InputSpec, Metrics, Opened, Rules, StrategyChoice, Update
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, drive, train
from tests.support.sent import carried, said
from tests.unit.test_training_data import sample, spec_of
from tests.unit.test_training_loop import LightEngine

KEEP_ONE = Adaptation(adapt="personal", personal=("t1",))
ROUNDS = 3


def begun(
    adaptation: Adaptation = KEEP_ONE, strategy: StrategyChoice | None = None, **more: Any
) -> tuple[MemoryLog, str, Opened]:
    """A log with a federation of two clients that is open."""
    log = MemoryLog(Ticking())
    rules = Rules(rounds=ROUNDS, min_clients=2, max_clients=2)
    federation = open_federation(log, START, rules, strategy, federation="personal", adaptation=adaptation, **more)
    return log, federation, read_history(log, federation).opened


def client(log: MemoryLog, opened: Opened, number: int, home: Path, incarnation: str = "1", **more: Any) -> LightClient:
    """One of its clients, that keeps its tensors in files."""
    name = f"c{number}"
    return LightClient(
        log, opened.federation, name, train(number), 10 + number, incarnation=incarnation,
        keep=FileKeep(home, opened, name), **more,
    )  # fmt: skip


def kept(opened: Opened, name: str, home: Path) -> State:
    """What a client has kept at the end."""
    return FileKeep(home, opened, name).before(1 << 50, 1 << 50).state


@pytest.mark.parametrize("packed", [0, 1 << 20])
@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
def test_personal_tensors_stay_at_their_sites(strategy: str, packed: int, tmp_path: Path) -> None:
    """No update carries them, no version changes them, and each site goes on with its own."""
    log, federation, opened = begun(strategy=StrategyChoice(name=strategy))
    aggregate(log, federation, [client(log, opened, n, tmp_path, packed=packed) for n in range(2)])
    sent = [(record.offset, update) for record, update in said(log, federation) if isinstance(update, Update)]
    assert len(sent) == 2 * ROUNDS
    for offset, update in sent:
        assert [tensor.shape for tensor in carried(log, opened, offset, update)] == [START[0].shape]
        assert update.weights.nbytes == START[0].nbytes
    version = head_tensors(log, federation)
    assert np.array_equal(version[1], START[1]) and not np.array_equal(version[0], START[0])
    for number in range(2):
        own = START[1]
        for seq in (0, 1, 2):
            own = train(number)([own], seq)[0]
        (found,) = kept(opened, f"c{number}", tmp_path)[PERSONAL]
        assert np.array_equal(found, own)
    assert [proof.state for proof in verify(log, federation)] == ["proved"] * (ROUNDS + 1)
    assert all(again.same for again in replay(log, federation))


class Killed(BaseException):
    """A process that ends wherever it happens to be."""


class Deadly(MemoryLog):
    """A log whose n-th append kills its writer: before it, or after it."""

    left, after = 0, False

    def append(self, topic: str, records: Any) -> list[int]:
        """Append, or die."""
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        done = super().append(topic, records)
        if self.left == 0:
            raise Killed
        return done


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("packed", [0, 1 << 20])
def test_a_killed_client_comes_back_with_its_own_tensors(packed: int, after: bool, tmp_path: Path) -> None:
    """Killed at each of its appends, before or after it: the same version, and the same kept bytes, as undisturbed."""

    def finished(kill: int, home: Path) -> tuple[list[bytes], list[bytes], bool]:
        log = Deadly(Ticking())
        rules = Rules(rounds=ROUNDS, min_clients=2, max_clients=2)
        federation = open_federation(log, START, rules, federation="personal", adaptation=KEEP_ONE)
        opened = read_history(log, federation).opened
        aggregator = Federation(log, federation, clock=Ticking(), writer="w")
        clients = [client(log, opened, n, home, packed=packed) for n in range(2)]
        appends, incarnation, died = 0, 1, False
        try:
            for _ in range(2000):
                alive = aggregator.step(0.0)
                if not clients[1].gone:
                    clients[1].step(0.0)
                if not clients[0].gone:
                    log.left, log.after = kill - appends, after
                    try:
                        clients[0].step(0.0)
                        appends = kill - log.left
                    except Killed:
                        died, incarnation, appends = True, incarnation + 1, kill
                        clients[0] = client(log, opened, 0, home, str(incarnation), packed=packed)
                    log.left = 0
                if not alive and all(one.gone for one in clients):
                    break
            else:
                raise AssertionError("the run did not end")
        finally:
            aggregator.close()
        own = [kept(opened, name, home)[PERSONAL] for name in ("c0", "c1")]
        return bytes_of(head_tensors(log, federation)), [b for tensors in own for b in bytes_of(tensors)], died

    undisturbed = finished(-1, tmp_path / "undisturbed")[:2]
    kills = 0
    for kill in range(1, 100):
        version, own, died = finished(kill, tmp_path / str(kill))
        assert (version, own) == undisturbed, f"killed at append {kill}"
        if not died:
            break
        kills += 1
    assert kills >= 1 + ROUNDS


def bytes_of(tensors: Sequence[Tensor]) -> list[bytes]:
    """Their bytes."""
    return [tensor.tobytes() for tensor in tensors]


def test_what_was_kept_must_fit_the_model() -> None:
    """Another model's tensors are no personal ones."""
    _, _, opened = begun()
    site = Site(opened)
    assert np.array_equal(site.down(START, {PERSONAL: [START[1] + 1]})[1], START[1] + 1)
    for wrong in ([], [START[1].astype("float64")], [START[0].astype("float32")]):
        with pytest.raises(ConfigError, match="kept do not have the shapes of the site's model"):
            site.down(START, {PERSONAL: wrong})


# ---------------------------------------------------------------- both models, side by side
@pytest.mark.parametrize(
    ("adaptation", "keeps"),
    [(KEEP_ONE, [PERSONAL]), (Adaptation(ditto=0.5), [DITTO]), (Adaptation(), [])],
)
def test_a_job_measures_both_models(adaptation: Adaptation, keeps: list[str], tmp_path: Path) -> None:
    """What the version is worth at the site, and what its own model is, in the update, the round, and at the end."""
    wanted = InputSpec(shape=(4,), label_shape=(3,), classes=3)
    tensors: list[Tensor] = [np.arange(6, dtype="float32").reshape(2, 3), np.array(7, "float32")]
    log = MemoryLog(Ticking())
    federation = open_federation(log, tensors, Rules(rounds=2), adaptation=adaptation, input=wanted)
    log.create_topics([topics.stream_spec("stream")])
    log.append("stream", [sample(n) for n in range(10)])
    spec = spec_of("stream:0:0:10", validation_rate=0.2)
    spec = dataclasses.replace(spec, federation=federation, client_id="c")
    settings = Settings(spec=spec, client="c", patience=5.0, heartbeat=0.05, state=tmp_path)
    job = TrainingJob(settings, lambda: log, lambda: log, lambda _: LightEngine())
    thread = threading.Thread(target=job.run)
    thread.start()
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    try:
        drive(aggregator, [], 1_000_000)
    finally:
        thread.join()
        aggregator.close()
    first, second = rounds_of(log, federation)
    finished = next(link.record for link in read_history(log, federation).links if isinstance(link.record, Finished))
    measured = [(first.evaluation, first.personal), (second.evaluation, second.personal)]
    measured.append((finished.evaluation, finished.personal))
    version = [7.0, 7.0, 7.0] if adaptation.personal else [7.0, 8.0, 9.0]
    assert [loss(evaluation) for evaluation, _ in measured] == version
    assert [loss(personal) for _, personal in measured] == ([7.0, 8.0, 9.0] if keeps else [None] * 3)
    assert first.accepted[0].report.personal == first.personal
    assert finished.personals == ({"c": finished.personal} if keeps else {})
    opened = read_history(log, federation).opened
    assert sorted(kept(opened, "c", tmp_path)) == keeps


def loss(metrics: Metrics | None) -> float | None:
    """The one number that `LightEngine` measures: its second tensor's."""
    return None if metrics is None else metrics.values["loss"]
