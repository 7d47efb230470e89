"""`python -m federated_training.serving`: a replica, with its settings in environment variables (`ServingSpec`).

Exit code 0 after SIGTERM, 1 when it cannot go on, 2 for settings that cannot be used.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from federated_training import keras_runtime
from federated_training.serving.answering import Answerer
from federated_training.serving.loop import Serving
from mainstem import logs
from mainstem.errors import ConfigError, MainstemError
from mainstem.kafka.config import client_config
from mainstem.kafka.exchange import Exchange
from mainstem.kafka.log import KafkaLog
from mainstem.serving import EXACTLY_ONCE, READY_FILE, ServingSpec, samples_codec

log = logging.getLogger(__name__)


def main() -> int:
    """Run the replica; its exit code."""
    logs.configure("serving", stream=os.fdopen(os.dup(2), "w", buffering=1))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        spec = ServingSpec.from_environ(os.environ)
        logs.bind(federation=spec.federation)
        cloud = client_config(spec.cloud_bootstrap, spec.cloud_client_config)
        data = client_config(spec.data_bootstrap, spec.data_client_config)
        answerer = _answerer(spec, cloud)
    except ConfigError as error:
        log.error("%s", error)
        return 2
    except MainstemError as error:
        log.error("%s", error)
        return 1
    log.info("ready: %s version %d, %s -> %s", spec.name, spec.version, spec.input_topic, spec.output_topic)
    Serving(
        lambda: Exchange(
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
    return 0


def _answerer(spec: ServingSpec, cloud: dict[str, str | int | float | bool]) -> Answerer:
    """The version, loaded; raises MainstemError."""
    with tempfile.TemporaryDirectory(prefix="mainstem-serving-") as scratch:
        keras_runtime.prepare(Path(scratch))
        keras = keras_runtime.preload()
        connection = KafkaLog(cloud)
        try:
            keras.join()
            from federated_training.serving.model import Model, find

            manifest = find(connection, spec)
            codec = samples_codec(spec.input_format, spec.input_config, manifest.opened.input)
            model = Model(connection, manifest)
        finally:
            connection.close()
    return Answerer(codec, model.predict, spec.federation, spec.version, spec.answers)


if __name__ == "__main__":
    sys.exit(main())
