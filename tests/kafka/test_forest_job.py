"""Real Jobs, with XGBoost, against a real broker and the real aggregator: a forest on streams of numbers."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from federated_training.serving.forest import predictor
from mainstem.jobs import forests
from mainstem.jobs.forests import ForestParams
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import read_history, verify
from mainstem.protocol import topics
from mainstem.protocol.forests import empty
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import ClientFailed, LearningRateSchedule, Left, Rules, Update
from mainstem.runtime.exits import Exit
from tests.kafka.test_training_job import aggregator, final, job, said
from tests.support.federations import head_tensors, open_federation
from tests.support.patience import PATIENCE
from tests.support.trees import BAGGING

pytestmark = [pytest.mark.kafka]

PARAMS = forests.checked_params({"features": 3, "objective": "multi:softprob", "classes": 3, "depth": 3, "trees": 60})
FIELDS = [{"name": name, "type": "double"} for name in "abc"]
CONFIG = {"data_scheme": {"type": "record", "name": "sample", "fields": FIELDS}, "label_type": "int32"}
JOB = {"INPUT_FORMAT": "JSON", "INPUT_CONFIG": json.dumps(CONFIG), "FEDERATED_FRAMEWORK": "xgboost"}


def numbers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of three classes, which the first two numbers decide."""
    x = np.random.default_rng(seed).normal(size=(count, 3))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def inject(log: KafkaLog, count: int, seed: int) -> str:
    """A stream of JSON records of numbers, each with its class; its exact range."""
    topic = f"site-{topics.new_federation_id()}"
    log.create_topics([topics.stream_spec(topic)])
    rows = zip(*numbers(count, seed), strict=True)
    records = [Outgoing(json.dumps(dict(zip("abc", x, strict=True))).encode(), key=str(y).encode()) for x, y in rows]
    log.append(topic, records)
    return f"{topic}:0:0:{count}"


def open_forest(log: KafkaLog, params: ForestParams, rules: Rules) -> str:
    """A federation of a forest; its id."""
    return open_federation(
        log,
        empty(params.trees, params.depth),
        rules,
        BAGGING,
        names=[spec.name for spec in params.specs],
        input=forests.input_of(params),
        training=forests.training_of(params, {"seed": 5}, LearningRateSchedule()),
        framework=forests.FRAMEWORK,
        architecture=forests.architecture_of(params),
        forest=forests.parts_of(params),
    )


def test_two_sites_grow_a_forest_and_a_kill_changes_no_byte(kafka: EmbeddedKafka, log: KafkaLog) -> None:
    """Three rounds on JSON streams to a good model; again with a Job that is killed after its first update and comes
    back: the same sha256. Every version is proved."""
    streams = [inject(log, 150, seed) for seed in (1, 2)]
    hashes = []
    for disturbed in (False, True):
        federation = open_forest(log, PARAMS, Rules(rounds=3, min_clients=2, max_clients=2))
        with aggregator(log, federation), job(kafka, federation, streams[0], "a", **JOB) as one:
            if disturbed:
                with job(kafka, federation, streams[1], "b", **JOB) as doomed:
                    deadline = time.monotonic() + PATIENCE
                    while all(update.client != "b" for update in said(log, federation, Update)):
                        assert time.monotonic() < deadline and doomed.poll() is None
                        time.sleep(0.02)
                    doomed.kill()
            with job(kafka, federation, streams[1], "b", **JOB) as two:
                outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), outputs
        left = [record for record in said(log, federation, Left) if record.version == 3]
        assert all(record.evaluation.values["accuracy"] > 0.8 for record in left), outputs
        hashes.append(final(log, federation).weights.sha256)
    assert hashes[0] == hashes[1]
    assert {proof.state for proof in verify(log, federation)} == {"proved"}
    tensors = head_tensors(log, federation)
    assert tensors[0].tolist() == [3 * 2 * 3]
    x, y = numbers(200, 9)
    answers = predictor(read_history(log, federation).opened, tensors)(x.astype(np.float32))
    assert np.mean(answers.argmax(axis=1) == y) > 0.9


def test_a_stream_of_other_numbers_is_a_sentence(kafka: EmbeddedKafka, log: KafkaLog) -> None:
    """A Job whose stream has more features than the forest ends for good, and the log says why."""
    params = forests.checked_params({"features": 4, "depth": 2})
    federation = open_forest(log, params, Rules())
    with job(kafka, federation, inject(log, 5, 1), "a", **JOB) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.UNFIT, output
    assert "but the model's input shape is [4]" in said(log, federation, ClientFailed)[0].detail
