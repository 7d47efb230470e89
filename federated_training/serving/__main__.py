"""`python -m federated_training.serving`: a replica, with its settings in environment variables (`ServingSpec`)."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from federated_training.engines.keras import runtime
from federated_training.serving.answering import Answerer
from federated_training.serving.forest import predictor
from federated_training.serving.loop import Serving
from federated_training.serving.version import find, tensors_of
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.exchange import TopicExchange
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.adapting import named
from mainstem.protocol.exchange import exchange
from mainstem.runtime import logs
from mainstem.runtime.program import Program, run
from mainstem.runtime.variables import CLOUD, DATA, LOGS, Variable
from mainstem.serving.spec import DELIVERIES, EXACTLY_ONCE, FORMS, READY_FILE, ServingSpec, samples_codec

log = logging.getLogger(__name__)


PROGRAM = Program(
    "federated_training.serving",
    "serving",
    "Answer a topic with one version of one federation's model.",
    {
        "Where Kafka is": (*CLOUD, *DATA),
        "What it answers": (
            Variable("SERVING_NAME", "of the deployed version: its replicas share the input's partitions"),
            Variable("FEDERATION_ID", "whose model it is"),
            Variable("MODEL_VERSION", "which version"),
            Variable("MODEL_SHA256", "what it must hash to", otherwise="not compared"),
            Variable("INPUT_TOPIC", "the samples"),
            Variable("OUTPUT_TOPIC", "the answers"),
            Variable("INPUT_FORMAT", "RAW, AVRO or JSON", "RAW"),
            Variable("INPUT_CONFIG", "how a record becomes a sample: a JSON object (docs/streams.md)"),
            Variable("ANSWER_FORM", ", ".join(FORMS), FORMS[0]),
            Variable("ANSWER_DELIVERY", ", ".join(DELIVERIES), DELIVERIES[0]),
            Variable("SERVING_MEMBER", "a name of its own that outlives the process", otherwise="a new one"),
        ),
        "Its log": LOGS,
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the replica; its exit code."""
    return run(PROGRAM, _serve, arguments, stream=os.fdopen(os.dup(2), "w", buffering=1))


def _serve(options: argparse.Namespace, stop: threading.Event) -> None:
    spec = ServingSpec.from_environ(os.environ)
    logs.bind(federation=spec.federation)
    cloud = client_config(spec.cloud_bootstrap, spec.cloud_client_config)
    data = client_config(spec.data_bootstrap, spec.data_client_config)
    answerer = _answerer(spec, cloud)
    log.info("ready: %s version %d, %s -> %s", spec.name, spec.version, spec.input_topic, spec.output_topic)
    Serving(
        lambda: TopicExchange(
            data,
            group=spec.group,
            source=spec.input_topic,
            sink=spec.output_topic,
            member=spec.member,
            timeout=15.0,
            transactions=spec.delivery == EXACTLY_ONCE,
        ),
        answerer,
        stop,
        Path.home() / READY_FILE,
    ).run()
    log.info("asked to stop: left the group")


def _answerer(spec: ServingSpec, cloud: dict[str, str | int | float | bool]) -> Answerer:
    """The version, loaded; raises MainstemError."""
    with tempfile.TemporaryDirectory(prefix="mainstem-serving-") as scratch:
        runtime.prepare(Path(scratch))
        connection = KafkaLog(cloud)
        try:
            manifest = find(connection, spec)
            codec = samples_codec(spec.input_format, spec.input_config, manifest.opened.input)
            if manifest.opened.forest is not None:
                predict = predictor(manifest.opened, tensors_of(connection, manifest))
            else:
                keras = runtime.preload()
                tensors = tensors_of(connection, manifest)
                keras.join()
                from federated_training.serving.model import Predictor

                predict = Predictor(manifest.opened, tensors).predict
        finally:
            connection.close()
    specs = exchange(manifest.opened).model
    missing = [specs[number].name for number in manifest.opened.personal]
    if missing:
        log.warning("%s stay at the sites: this version has version 0's in their place", named(missing))
    return Answerer(codec, predict, spec.federation, spec.version, spec.answers, missing)


if __name__ == "__main__":
    sys.exit(main())
