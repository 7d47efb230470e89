"""Replicas of deployed versions, without Kafka and Keras: settings, answers, the loop, the Deployment object."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federated_training.engines.engine import TrainingError
from federated_training.serving.answering import Answerer
from federated_training.serving.loop import Serving
from mainstem.errors import ConfigError, LogError
from mainstem.jobs.kubernetes.manifest import Placement
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.kafka.client.exchange import TooLongError
from mainstem.protocol.messages import InputSpec
from mainstem.runtime.backoff import Backoff
from mainstem.serving.kubernetes.manifest import deployment_manifest
from mainstem.serving.spec import (
    Answer,
    AnswerTally,
    Question,
    RecordPlace,
    ServingSpec,
    check_name,
    check_topic,
    samples_codec,
)

SPEC = ServingSpec(
    name="digits",
    cloud_bootstrap="cloud:9092",
    data_bootstrap="data:9092",
    federation="ddy6heod",
    version=5,
    input_topic="ask",
    output_topic="told",
    input_format="RAW",
    input_config='{"data_type": "float32", "data_reshape": "4"}',
    sha256="a" * 64,
)
MODEL = InputSpec(shape=(4,))
CODEC = samples_codec("RAW", SPEC.input_config, MODEL)


def sums(x: Any) -> Any:
    """A model: the sum of a sample, and its opposite."""
    total = x.sum(axis=1, keepdims=True)
    return np.concatenate([total, -total], axis=1)


def question(value: bytes | None, offset: int = 0, **more: Any) -> Question:
    return Question(RecordPlace("ask", 0, offset), more.get("key"), value, more.get("headers", ()))


def raw(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


# ---------------------------------------------------------------- settings
@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, sha256=None, member="3", cloud_client_config="/x"),
        replace(SPEC, answers="values", delivery="at-least-once"),
    ],
)
def test_settings_survive_the_environment(spec: ServingSpec) -> None:
    """What is written to the environment is what is read from it."""
    assert ServingSpec.from_environ(spec.to_environ()) == spec


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SERVING_NAME", "Has Blanks"),
        ("SERVING_MEMBER", "a/b"),
        ("KML_CLOUD_BOOTSTRAP_SERVERS", ""),
        ("FEDERATION_ID", "short"),
        ("MODEL_VERSION", "-1"),
        ("MODEL_VERSION", "9" * 30),
        ("MODEL_SHA256", "zz"),
        ("INPUT_TOPIC", "told"),
        ("OUTPUT_TOPIC", "FED-ddy6heod-model_data_topic"),
        ("INPUT_TOPIC", "a b"),
        ("INPUT_FORMAT", "XML"),
        ("INPUT_CONFIG", ""),
    ],
)
def test_wrong_settings_are_named(variable: str, value: str) -> None:
    """A wrong or missing variable is refused by its name."""
    with pytest.raises(ConfigError, match=variable):
        ServingSpec.from_environ(SPEC.to_environ() | {variable: value})


@given(st.text(max_size=60))
def test_names_are_safe_everywhere(text: str) -> None:
    """What is taken as a name is a Kubernetes label, a directory and a part of a topic's name."""
    try:
        check_name(text)
    except ConfigError:
        return
    assert text and len(text) <= 40 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert text.strip("-") == text
    check_topic(f"{text}-in", "input_topic")


def test_a_format_that_the_model_cannot_take_is_refused() -> None:
    """Another shape, or fractions for a model of whole numbers."""
    with pytest.raises(ConfigError, match="data_reshape"):
        samples_codec("RAW", {"data_type": "float32", "data_reshape": "5"}, MODEL)
    with pytest.raises(ConfigError, match="data_type"):
        samples_codec("RAW", {"data_type": "float32", "data_reshape": "4"}, InputSpec(shape=(4,), dtype="int32"))
    with pytest.raises(ConfigError, match="not JSON"):
        samples_codec("RAW", "{", MODEL)


@given(st.one_of(st.none(), st.text(max_size=40), st.binary(max_size=20).map(lambda b: b.decode("latin-1"))))
def test_any_text_is_a_tally(text: str | None) -> None:
    """What another program left beside an offset counts as nothing."""
    assert isinstance(AnswerTally.parse(text), AnswerTally)
    assert AnswerTally.parse(AnswerTally(7, 2).text()) == AnswerTally(7, 2)


# ---------------------------------------------------------------- answers
def answerer(predict: Any = sums) -> Answerer:
    return Answerer(CODEC, predict, "ddy6heod", 5)


def test_answers_in_kafka_ml_s_form() -> None:
    """`{"values"}` with key and headers; what is refused is counted and not written."""
    asked = [question(raw(1, 2, 3, 4), 7, key=b"k"), question(b"short", 8)]
    first, second = Answerer(CODEC, sums, "ddy6heod", 5, "values").answer(asked)
    assert json.loads(first.value) == {"values": [10.0, -10.0]} and first.key == b"k" and not first.silent
    assert second.refused and second.silent
    assert not any(answer.silent for answer in answerer().answer(asked))


def test_answers_keep_key_headers_and_order() -> None:
    """Each question has one answer, whose key and headers are the question's, followed by ours."""
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", None)]
    asked = [question(raw(1, 2, 3, 4), 7, key=b"k", headers=headers), question(raw(0, 0, 0, 1), 8)]
    first, second = answerer().answer(asked)
    assert json.loads(first.value) == {"outputs": [10.0, -10.0]} and json.loads(second.value)["outputs"] == [1.0, -1.0]
    assert first.key == b"k" and list(first.headers[:3]) == headers and not first.refused
    assert dict(first.headers[3:]) == {
        "mainstem-federation": b"ddy6heod",
        "mainstem-version": b"5",
        "mainstem-source": b"ask:0:7",
        "mainstem-status": b"ok",
    }
    assert [answer.place.offset for answer in (first, second)] == [7, 8]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "no value"),
        (b"", "0 bytes"),
        (raw(1, 2, 3), "12 bytes"),
        (raw(1, 2, 3, float("nan")), "finite"),
        (raw(1, 2, 3, float("inf")), "finite"),
    ],
)
def test_bad_records_are_answered_with_the_reason(value: bytes | None, why: str) -> None:
    """A record that is no sample is answered too, and takes no other with it."""
    good = question(raw(1, 1, 1, 1), 1)
    bad, fine = answerer().answer([question(value, 0, key=b"id", headers=[("trace", b"1")]), good])
    assert why in json.loads(bad.value)["error"] and bad.refused and bad.key == b"id"
    assert dict(bad.headers)["mainstem-status"] == b"refused" and dict(bad.headers)["trace"] == b"1"
    assert json.loads(fine.value) == {"outputs": [4.0, -4.0]}


def test_a_number_too_large_for_the_model_is_refused() -> None:
    """A float64 beyond float32 is no infinity that the model would swallow."""
    codec = samples_codec("RAW", {"data_type": "float64", "data_reshape": "4"}, MODEL)
    (answer,) = Answerer(codec, sums, "ddy6heod", 5).answer([question(np.array([1e300, 0, 0, 0], "<f8").tobytes())])
    assert "float32" in json.loads(answer.value)["error"]


def test_a_sample_that_breaks_the_model_breaks_no_other() -> None:
    """The model's own failure, and an output that is no number, are answers of that sample alone."""

    def touchy(x: Any) -> Any:
        if (x[:, 0] == 666).any():
            raise TrainingError("the model fails on this sample")
        return np.where(x[:, :1] == 13, np.nan, x[:, :1])

    asked = [question(raw(first, 0, 0, 0), offset) for offset, first in enumerate((1, 666, 13, 2))]
    answers = [json.loads(answer.value) for answer in answerer(touchy).answer(asked)]
    assert answers[0] == {"outputs": [1.0]} and answers[3] == {"outputs": [2.0]}
    assert "fails" in answers[1]["error"] and "NaN" in answers[2]["error"]


@given(st.lists(st.one_of(st.none(), st.binary(max_size=24), st.builds(raw, *[st.floats(width=32)] * 4)), max_size=12))
def test_whatever_comes_is_answered_once_and_in_order(values: list[bytes | None]) -> None:
    """Any bytes: as many answers as questions, each JSON, each at its question's place."""
    asked = [question(value, offset) for offset, value in enumerate(values)]
    answers = answerer().answer(asked)
    assert [answer.place for answer in answers] == [one.place for one in asked]
    for answer in answers:
        assert set(json.loads(answer.value)) == ({"error"} if answer.refused else {"outputs"})


# ---------------------------------------------------------------- the loop
class Scripted:
    """An exchange that gives questions once and takes answers up to a size."""

    def __init__(self, questions: Sequence[Question], stop: threading.Event, most: int = 10_000) -> None:
        self.left, self.stop, self.most = list(questions), stop, most
        self.taken: list[Answer] = []
        self.closed = False
        self.broken = False

    def poll(self, timeout: float, limit: int) -> list[Question]:
        if not self.left:
            self.stop.set()
        given, self.left = self.left[:limit], self.left[limit:]
        return given

    def answer(self, answers: Sequence[Answer]) -> None:
        if self.broken:
            self.broken = False
            raise LogError("the broker went away")
        for answer in answers:
            size = len(answer.value) + sum(len(name) + len(value or b"") for name, value in answer.headers)
            if size > self.most:
                raise TooLongError("too long")
        self.taken += answers

    def close(self) -> None:
        self.closed = True


def test_a_record_that_is_too_long_is_answered_without_what_is_too_long(tmp_path: Path) -> None:
    """Headers that make the answer longer than Kafka takes are dropped with a reason; the others are answered."""
    stop = threading.Event()
    long = question(raw(1, 1, 1, 1), 1, headers=[("long", b"x" * 500)])
    exchange = Scripted([question(raw(1, 0, 0, 0), 0), long, question(raw(2, 0, 0, 0), 2)], stop, most=400)
    Serving(lambda: exchange, answerer(), stop, tmp_path / "ready").run()
    assert [answer.place.offset for answer in exchange.taken] == [0, 1, 2]
    assert [answer.refused for answer in exchange.taken] == [False, True, False]
    assert "longer than the output topic takes" in json.loads(exchange.taken[1].value)["error"]
    assert (tmp_path / "ready").exists() and exchange.closed


def test_a_lost_connection_is_followed_by_another() -> None:
    """After an error the exchange is closed and a new one is asked for."""
    stop = threading.Event()
    asked = [question(raw(1, 0, 0, 0), 0)]
    first, second = Scripted(asked, threading.Event()), Scripted(asked, stop)
    first.broken = True
    connections = iter([first, second])
    Serving(lambda: next(connections), answerer(), stop, pauses=Backoff(first=0.0)).run()
    assert first.closed and first.taken == [] and len(second.taken) == 1 and second.closed


# ---------------------------------------------------------------- the Deployment object
def test_the_deployment_is_restricted_and_says_whose_it_is() -> None:
    """What the `restricted` standard asks, the owner's labels, the settings as environment, a probe."""
    placement = Placement("kafkaml", "mainstem", "kafka-clients")
    made = deployment_manifest(SPEC, 3, JobSettings(memory="1Gi"), placement, environ={"KERAS_BACKEND": "jax"})
    assert made["apiVersion"] == "apps/v1" and made["kind"] == "Deployment" and made["spec"]["replicas"] == 3
    assert made["metadata"]["name"] == "federated-serving-digits" and made["metadata"]["namespace"] == "kafkaml"
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Always" and pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    environ = {one["name"]: one["value"] for one in container["env"]}
    assert ServingSpec.from_environ(environ) == SPEC and environ["KERAS_BACKEND"] == "jax"
    assert container["resources"]["limits"]["memory"] == "1Gi" and "ready" in str(container["readinessProbe"])
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["mainstem/launcher"] == "mainstem" and labels["app.kubernetes.io/part-of"] == "mainstem"


def test_a_change_of_the_pods_shows_in_the_digest_and_scaling_does_not() -> None:
    """Scaling starts no replica anew; another memory does."""

    def digest(replicas: int, settings: JobSettings) -> str:
        made = deployment_manifest(SPEC, replicas, settings, Placement())
        return str(made["metadata"]["annotations"]["mainstem/digest"])

    assert digest(1, JobSettings()) == digest(9, JobSettings()) != digest(1, JobSettings(memory="9Gi"))
