"""The real Job, with Keras, against a real broker and the real aggregator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from backend.launchers.words import last_error
from mainstem.aggregation import strategies
from mainstem.aggregator.federation import Federation
from mainstem.jobs.compiling import input_of
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics, updates
from mainstem.protocol.adapting import personal_of
from mainstem.protocol.control import ControlTopic, topics_of
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    Adaptation,
    ClientFailed,
    Data,
    EncodingChoice,
    Failure,
    Heartbeat,
    Joined,
    Left,
    Opened,
    Progress,
    Rules,
    StrategyChoice,
    Training,
    encode,
)
from mainstem.protocol.weights import specs_of
from mainstem.rounds import policy
from mainstem.runtime.clock import SystemClock
from mainstem.runtime.exits import Exit
from tests.support import sent
from tests.support.federations import LightClient, rounds_of
from tests.support.patience import PATIENCE, until

pytestmark = [pytest.mark.kafka, pytest.mark.training]

STRICT = Adaptation()
INT8 = EncodingChoice(name="int8")
CONFIG = {"type": "float32", "data_type": "float32", "data_reshape": "8", "label_type": "float32", "label_reshape": "3"}


@pytest.fixture(scope="module")
def model() -> tuple[str, list[tuple[str, Any]]]:
    """A small classifier with dropout: its architecture and initial weights by name."""
    from federated_training.engines.keras import models, runtime

    runtime.prepare(Path("/nonexistent"))
    import keras

    layers = [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.2),
              keras.layers.Dense(3, activation="softmax")]  # fmt: skip
    built = models.build(keras.Sequential(layers).to_json(), seed=1)
    names = [tensor["name"] for tensor in models.tensors_of(built)]
    described = models.describe(built)
    return described["architecture"], list(zip(names, models.weights_of(built), strict=True))


def open_run(
    log: KafkaLog,
    model: tuple[str, list[tuple[str, Any]]],
    rules: Rules,
    framework: str = "tf",
    adaptation: Adaptation = STRICT,
    **training: Any,
) -> str:
    """Open a federation of the model; its id."""
    federation = topics.new_federation_id()
    log.create_topics((*topics.shared_topics(), *topics.federation_topics(federation)))
    architecture, named = model
    where = topics_of(federation)
    defaults: dict[str, Any] = {"learning_rate": 0.02, "seed": 5}
    specs, tensors = specs_of(named), [array for _, array in named]
    weights = updates.publish(log, where.data, writer="opener", update="version-0", specs=specs, tensors=tensors)
    groups = policy.groups(strategies.make("fedavg", {}), rules, exchange_of(specs))
    opened = Opened(
        federation=federation, seq=0, prev="", name="test", framework=framework, architecture=architecture,
        input=input_of((8,), "float32", (3,), training.get("loss", "categorical_crossentropy")),
        training=Training(**defaults | training), strategy=StrategyChoice(), rules=rules, data=Data(), topics=where,
        tensors=specs, weights=weights, groups=groups, adaptation=adaptation,
        personal=personal_of(adaptation.personal, specs, architecture),
    )  # fmt: skip
    log.append(where.control, [Outgoing(encode(opened))])
    return federation


def inject(log: KafkaLog, count: int, seed: int, classes: int = 3) -> str:
    """A stream of `count` samples of separable classes; its exact range."""
    topic = f"site-{topics.new_federation_id()}"
    log.create_topics([topics.stream_spec(topic)])
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(0, 1, (classes, 8))
    labels = random.integers(0, classes, count)
    x = (centers[labels] + random.normal(0, 0.3, (count, 8))).astype("<f4")
    keys = np.eye(classes, dtype="<f4")[labels]
    log.append(topic, [Outgoing(a.tobytes(), key=b.tobytes()) for a, b in zip(x, keys, strict=True)])
    return f"{topic}:0:0:{count}"


@contextmanager
def job(kafka: EmbeddedKafka, federation: str, topic: str, client: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The Job as a launcher would start it, killed at the end if need be."""
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": "/nonexistent",
        "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "DATA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DATA_TOPIC": topic, "INPUT_FORMAT": "RAW", "INPUT_CONFIG": json.dumps(CONFIG),
        "FEDERATED_MODEL_ID": federation, "FEDERATED_CLIENT_ID": client,
        "VALIDATION_RATE": "0.2", "TEST_RATE": "0.1", "MAINSTEM_TRAINING_PATIENCE": "60",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "federated_training"], env=environ | more, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def aggregator(log: KafkaLog, federation: str) -> Iterator[None]:
    """The real aggregation of one federation, in a thread."""
    run = Federation(log, federation, clock=SystemClock(), writer="w")
    done = threading.Event()

    def work() -> None:
        while run.step(0.1) and not done.is_set():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        run.close()


def said(log: KafkaLog, federation: str, kind: type) -> list[Any]:
    """What clients have said of one kind."""
    return [message for _, message in sent.said(log, federation) if isinstance(message, kind)]


def wait_for(log: KafkaLog, federation: str, kind: type, count: int = 1) -> Any:
    """The first of a kind, once `count` are there."""
    deadline = time.monotonic() + PATIENCE
    while len(found := said(log, federation, kind)) < count:
        assert time.monotonic() < deadline, f"no {kind.__name__} came"
        time.sleep(0.2)
    return found[0]


def final(log: KafkaLog, federation: str) -> Any:
    """The head of the run."""
    control = ControlTopic(log, federation)
    control.sync()
    control.close()
    assert control.head is not None
    return control.head


def test_two_clients_learn_and_the_same_run_gives_the_same_bytes(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """Two Jobs train three rounds to a good model; a second run on the same streams ends with the same sha256."""
    streams = [inject(log, 120, seed) for seed in (1, 2)]
    rules = Rules(rounds=3, min_clients=2)
    hashes = []
    for names in (("a", "b"), ("other-a", "other-b")):
        federation = open_run(log, model, rules, epochs=3, batch_size=16)
        with aggregator(log, federation):
            with (
                job(kafka, federation, streams[0], names[0]) as one,
                job(kafka, federation, streams[1], names[1]) as two,
            ):
                outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), outputs
        left = said(log, federation, Left)
        assert {record.version for record in left} == {3}
        assert all(record.evaluation.examples == 36 for record in left)
        assert all(record.evaluation.values["accuracy"] >= 0.9 for record in left), outputs
        assert {record.examples for record in said(log, federation, Joined)} == {84}
        hashes.append(final(log, federation).weights.sha256)
    assert hashes[0] == hashes[1]


def test_a_killed_job_that_comes_back_ends_with_the_same_bytes(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """SIGKILL in mid-training and a new start of the same client: the run ends with the undisturbed run's sha256."""
    streams = [inject(log, 120, seed) for seed in (1, 2)]
    hashes = []
    for disturbed in (False, True):
        rules = Rules(rounds=2, min_clients=2, encoding_up=INT8, encoding_down=INT8)
        federation = open_run(log, model, rules, epochs=3, batch_size=16)
        with aggregator(log, federation), job(kafka, federation, streams[0], "a") as one:
            if disturbed:
                with job(kafka, federation, streams[1], "b") as doomed:
                    deadline = time.monotonic() + PATIENCE
                    while all(joined.client != "b" for joined in said(log, federation, Joined)):
                        assert time.monotonic() < deadline
                        time.sleep(0.02)
                    doomed.kill()
            with job(kafka, federation, streams[1], "b") as two:
                outputs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), outputs
        hashes.append(final(log, federation).weights.sha256)
    assert hashes[0] == hashes[1]


def test_a_misfit_is_told_to_the_aggregator_and_fails_the_job(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """A stream of another shape ends the Job for good with a sentence, before TensorFlow is needed."""
    federation = open_run(log, model, Rules())
    config = json.dumps(CONFIG | {"data_reshape": "28 28"})
    with job(kafka, federation, inject(log, 5, 1), "a", INPUT_CONFIG=config) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.UNFIT
    assert "data_reshape is [28, 28], but the model's input shape is [8]" in output
    assert "data_reshape is [28, 28]" in said(log, federation, ClientFailed)[0].detail


def test_a_run_that_the_job_does_not_know_is_refused_before_it_joins(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """It ends for good and never joins; its sentence is the log's last word, and what people see of the run."""
    federation = open_run(log, model, Rules(), framework="torch")
    with aggregator(log, federation):
        with job(kafka, federation, inject(log, 20, 1), "a") as process:
            output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == Exit.UNFIT, output
        told = last_error(output)
        assert told.startswith(f"federation {federation} asks for what this client does not know: its framework is ")
        control = ControlTopic(log, federation)
        shown = until(
            lambda: [e.record for e in control.poll(0.1) if isinstance(e.record, Progress) and e.record.failures]
        )
        control.close()
    assert shown[0].failures == (Failure(client="a", detail=told),)
    assert said(log, federation, Joined) == [] and said(log, federation, ClientFailed)[0].detail == told


def test_a_loss_that_explodes_is_reported(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """Training that ends in NaN fails with the advice to lower the learning rate."""
    federation = open_run(log, model, Rules(), loss="mse", optimizer="sgd", learning_rate=1e5, epochs=50)
    topic = f"site-{topics.new_federation_id()}"
    log.create_topics([topics.stream_spec(topic)])
    huge = np.full(8, 1e30, "<f4").tobytes()
    log.append(topic, [Outgoing(huge, key=np.eye(3, dtype="<f4")[0].tobytes())] * 20)
    with job(kafka, federation, topic, "a") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.UNFIT, output
    assert "learning rate" in said(log, federation, ClientFailed)[0].detail


def test_sigterm_in_training_leaves_with_143_and_heartbeats_came(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """A Job in mid-training beats, and says `left` when it is asked to stop."""
    federation = open_run(log, model, Rules(heartbeat_timeout_ms=1000), epochs=100_000)
    with job(kafka, federation, inject(log, 40, 1), "a") as process:
        deadline = time.monotonic() + PATIENCE
        while not any(beat.phase == "training" and beat.progress > 0 for beat in said(log, federation, Heartbeat)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, output
    assert len(said(log, federation, Left)) == 1


def test_settings_that_cannot_be_used_end_with_2(kafka: EmbeddedKafka) -> None:
    """A missing or wrong variable is named on the way out."""
    with job(kafka, "abcdefgh", "stream", "a", VALIDATION_RATE="7") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.UNUSABLE and "VALIDATION_RATE" in output


def test_a_federation_that_is_nowhere_is_the_last_word(kafka: EmbeddedKafka) -> None:
    """Kafka answers and has no such federation: another start would wait in vain as well, and the log says so last."""
    with job(kafka, "nowhere0", "stream", "a", MAINSTEM_TRAINING_PATIENCE="1") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == Exit.UNFIT, output
    assert last_error(output) == (
        f"FEDERATED_MODEL_ID: waited 1 s for its model in vain: topic {topics.control_topic('nowhere0')} does not exist"
    )


def test_two_data_sets_under_one_client_id(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """The Job that joins second takes over for good: the first one ends with a sentence, and what it had sent until
    then is the last of it that counts."""
    federation = open_run(log, model, Rules(rounds=3, min_clients=2), batch_size=16)
    streams = [inject(log, 50, 1), inject(log, 80, 2)]
    other = LightClient(log, federation, "b", lambda tensors, seq: list(tensors), examples=5)
    with aggregator(log, federation), job(kafka, federation, streams[0], "a") as first:
        wait_for(log, federation, Joined)
        with job(kafka, federation, streams[1], "a") as second:
            wait_for(log, federation, Joined, 2)
            other.run(threading.Event())
            outputs = [process.communicate(timeout=PATIENCE)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (Exit.UNFIT, Exit.ENDED), outputs
    assert "another process has joined as a and taken over" in last_error(outputs[0])
    assert said(log, federation, ClientFailed)[0].detail == last_error(outputs[0])
    counted = [{a.client: a.examples for a in round_.accepted} for round_ in rounds_of(log, federation)]
    assert counted[0] in ({"a": 35, "b": 5}, {"a": 56, "b": 5}) and counted[1:] == [{"a": 56, "b": 5}] * 2


def test_the_job_waits_for_a_federation_that_opens_later(
    kafka: EmbeddedKafka, log: KafkaLog, model: tuple[str, list[tuple[str, Any]]]
) -> None:
    """Started before its federation exists, the Job waits, then takes part."""
    federation = topics.new_federation_id()
    opened = open_run(log, model, Rules())
    with job(kafka, federation, inject(log, 30, 1), "a") as process:
        log.create_topics(topics.federation_topics(federation))
        time.sleep(1.0)
        log.append(topics.control_topic(federation), [_renamed(log, opened, federation)])
        wait_for(log, federation, Joined)
        assert process.poll() is None


def _renamed(log: KafkaLog, source: str, federation: str) -> Outgoing:
    """The `opened` record of another federation as this one's, with its weights at the same offsets."""
    head = final(log, source)
    names = topics_of(federation)
    origin, there = head.opened.topics.data, names.data
    chunks = [Outgoing(r.value, headers=list(r.headers.items())) for r in log.read(origin, 0, *log.bounds(origin, 0))]
    log.append(there, chunks)
    return Outgoing(encode(msgspec.structs.replace(head.opened, federation=federation, topics=names)))
