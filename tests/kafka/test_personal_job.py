"""Real Jobs, with Keras, whose sites keep tensors to themselves or have a narrower model."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated_training.job.ditto import DITTO
from mainstem.client.keep import FileKeep
from mainstem.client.personal import PERSONAL
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import read_history, verify
from mainstem.protocol.messages import Adaptation, Finished, Joined, Left, Rules, Update
from tests.kafka.test_training_job import CONFIG, aggregator, final, inject, job, open_run, said
from tests.support.federations import head_tensors, rounds_of
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.training]

Model = tuple[str, list[tuple[str, Any]]]


@pytest.fixture(scope="module")
def model() -> Model:
    """A small classifier with batch normalization: its architecture and initial weights by name."""
    from federated_training.engines.keras import models, runtime

    runtime.prepare(Path("/nonexistent"))
    import keras

    layers = [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.BatchNormalization(),
              keras.layers.Dense(3, activation="softmax")]  # fmt: skip
    built = models.build(keras.Sequential(layers).to_json(), seed=1)
    names = [tensor["name"] for tensor in models.tensors_of(built)]
    return models.describe(built)["architecture"], list(zip(names, models.weights_of(built), strict=True))


def kill_once_it_has_sent(process: subprocess.Popen[str], log: KafkaLog, federation: str, client: str) -> None:
    """SIGKILL, once an update of this client is in the log."""
    deadline = time.monotonic() + PATIENCE
    while all(update.client != client for update in said(log, federation, Update)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()


def test_batch_normalization_stays_at_each_site(
    kafka: EmbeddedKafka, log: KafkaLog, model: Model, tmp_path: Path
) -> None:
    """FedBN: each site goes on with its own, one of them although its Job was killed after its first update; no
    version has any of it, and both models are measured side by side."""
    adaptation = Adaptation(adapt="personal", personal=("class:BatchNormalization",))
    federation = open_run(log, model, Rules(rounds=3, min_clients=2), adaptation=adaptation, epochs=3, batch_size=16)
    streams = [inject(log, 120, seed) for seed in (1, 2)]
    home = {"FEDERATED_STATE": str(tmp_path)}
    with aggregator(log, federation), job(kafka, federation, streams[0], "a", **home) as one:
        with job(kafka, federation, streams[1], "b", **home) as doomed:
            kill_once_it_has_sent(doomed, log, federation, "b")
        with job(kafka, federation, streams[1], "b", **home) as two:
            outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    assert "nothing is left" not in outputs[1]
    opened = read_history(log, federation).opened
    assert [opened.tensors[n].name.rpartition("/")[2] for n in opened.personal] == [
        "gamma", "beta", "moving_mean", "moving_variance",
    ]  # fmt: skip
    version, start = head_tensors(log, federation), [array for _, array in model[1]]
    kept = {name: FileKeep(tmp_path, opened, name).before(1 << 50, 1 << 50).state[PERSONAL] for name in "ab"}
    for place, number in enumerate(opened.personal):
        assert np.array_equal(version[number], start[number])
        assert not np.array_equal(kept["a"][place], start[number])
        assert not np.array_equal(kept["a"][place], kept["b"][place])
    left = [record for record in said(log, federation, Left) if record.version == 3]
    assert all(record.personal.values["accuracy"] >= 0.9 for record in left), outputs
    assert all(record.personal.values["loss"] < record.evaluation.values["loss"] for record in left)
    finished = read_history(log, federation).links[-1].record
    assert isinstance(finished, Finished) and sorted(finished.personals) == ["a", "b"]
    assert all(made.personal is not None and made.evaluation is not None for made in rounds_of(log, federation))


def test_a_narrow_site_trains_the_leading_part(kafka: EmbeddedKafka, log: KafkaLog, model: Model) -> None:
    """HeteroFL: half the width beside a whole model; every version is proved."""
    federation = open_run(
        log, model, Rules(rounds=2, min_clients=2), adaptation=Adaptation(adapt="slice"), epochs=3, batch_size=16
    )
    streams = [inject(log, 120, seed) for seed in (1, 2)]
    with (
        aggregator(log, federation),
        job(kafka, federation, streams[0], "whole") as one,
        job(kafka, federation, streams[1], "half", FEDERATED_WIDTH="0.5") as two,
    ):
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    shapes = {update.client: [spec.shape for spec in update.tensors] for update in said(log, federation, Update)}
    assert shapes == {"whole": [], "half": [(8, 8), (8,), (8,), (8,), (8,), (8,), (8, 3), (3,)]}
    notes = {record.client: record.note for record in said(log, federation, Joined)}
    assert notes["half"].startswith("It trains a model of its own; of the tensors 1 fits, 7 sliced.")
    left = {record.client: record for record in said(log, federation, Left)}
    assert left["half"].evaluation is None and left["half"].personal.examples == 36
    assert left["whole"].evaluation.examples == 36 and left["whole"].personal is None
    assert {proof.state for proof in verify(log, federation)} == {"proved"}


def test_a_killed_site_goes_on_with_the_models_of_its_own(
    kafka: EmbeddedKafka, log: KafkaLog, model: Model, tmp_path: Path
) -> None:
    """Ditto's model, and a head for the fourth class that only this site has, from its `.keras` file: killed after its
    first update, the site comes to the bytes of the undisturbed run, in what it shares and in what it keeps."""
    import keras

    layers = [keras.Input((8,)), keras.layers.Dense(16, activation="relu", name="dense"),
              keras.layers.BatchNormalization(name="batch_normalization"),
              keras.layers.Dense(4, activation="softmax", name="dense_1")]  # fmt: skip
    mine = tmp_path / "ward-3.keras"
    keras.Sequential(layers).save(mine)
    streams = [inject(log, 120, 1), inject(log, 120, 2, classes=4)]
    four = {"FEDERATED_LOCAL_MODEL": str(mine), "INPUT_CONFIG": json.dumps(CONFIG | {"label_reshape": "4"})}
    adaptation = Adaptation(adapt="partial", ditto=0.5)
    shared, kept = [], []
    for name in ("undisturbed", "killed"):
        federation = open_run(log, model, Rules(rounds=2, min_clients=2), adaptation=adaptation, batch_size=16)
        home = four | {"FEDERATED_STATE": str(tmp_path / name)}
        with aggregator(log, federation), job(kafka, federation, streams[0], "a", FEDERATED_STATE=str(tmp_path)) as one:
            if name == "killed":
                with job(kafka, federation, streams[1], "b", **home) as doomed:
                    kill_once_it_has_sent(doomed, log, federation, "b")
            with job(kafka, federation, streams[1], "b", **home) as two:
                outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), outputs
        assert "nothing is left" not in outputs[1] and "and measures that one alone" in outputs[1]
        history = read_history(log, federation)
        state = FileKeep(tmp_path / name, history.opened, "b").before(1 << 50, 1 << 50).state
        assert sorted(state) == [DITTO, PERSONAL]
        assert [tensor.shape for tensor in state[PERSONAL]] == [(16, 4), (4,)]
        kept.append({owner: [tensor.tobytes() for tensor in tensors] for owner, tensors in state.items()})
        shared.append(final(log, federation).weights.sha256)
        left = {record.client: record for record in said(log, federation, Left)}
        assert left["b"].evaluation is None and left["b"].personal and left["a"].evaluation and left["a"].personal
        assert {proof.state for proof in verify(log, federation)} == {"proved"}
    assert shared[0] == shared[1] and kept[0] == kept[1]
