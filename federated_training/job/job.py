"""The training Job: `python -m federated_training`; its settings are environment variables (`--help`).

Its exit code is one of `exits.Exit`; a failure is told to the aggregator where it can be reached.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from federated_training.engines.engine import Engine, LocalModel
from federated_training.engines.keras import runtime
from federated_training.engines.kinds import KERAS, engine_of
from federated_training.job import variables
from federated_training.job.config import Settings
from federated_training.job.loop import JobFailed, TrainingJob
from mainstem.errors import ConfigError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.messages import Opened
from mainstem.runtime.exits import Exit
from mainstem.runtime.program import Program, Termination, raising, run

log = logging.getLogger(__name__)


PROGRAM = Program(
    "federated_training",
    "training",
    "Train as one client of one federation.",
    variables.GROUPS,
    codes="Exit codes: 0 the run ended with this client in it, 1 it failed, 2 settings that cannot be used, 3 it\n"
    "cannot take part as things are, 143 it was asked to end, and has left.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the Job; its exit code. The only argument that there is is `--help`."""
    return run(PROGRAM, _train, arguments, stream=os.fdopen(os.dup(2), "w", buffering=1))


def _train(options: argparse.Namespace, stop: threading.Event) -> int:
    """A signal is raised wherever the Job happens to be: no library that trains looks at an event."""
    settings = Settings.from_environ(os.environ)
    cloud = client_config(settings.spec.cloud_bootstrap, settings.spec.cloud_client_config)
    data = client_config(settings.spec.data_bootstrap, settings.spec.data_client_config)
    with tempfile.TemporaryDirectory(prefix="mainstem-training-") as scratch:
        runtime.prepare(Path(scratch))
        keras = runtime.preload() if settings.spec.framework in KERAS else None

        def ready() -> None:
            """Before the first use of TensorFlow, for afterwards its threads cannot be set."""
            (keras or runtime.preload()).join()
            from federated_training.engines.keras.engine import use_threads

            use_threads(settings.threads)

        def make_engine(opened: Opened) -> Engine:
            return engine_of(opened, settings.threads, ready)

        def make_local(opened: Opened) -> LocalModel | None:
            if settings.local_model is None and settings.width is None:
                return None
            if opened.forest is not None:
                raise ConfigError("FEDERATED_LOCAL_MODEL and FEDERATED_WIDTH mean nothing to a forest: leave them out")
            ready()
            from federated_training.engines.keras.local import local_model

            return local_model(opened, settings.local_model, settings.width)

        def cloud_log() -> KafkaLog:
            return KafkaLog(cloud)

        try:
            with raising():
                TrainingJob(settings, cloud_log, lambda: KafkaLog(data, committed=True), make_engine, make_local).run()
        except JobFailed as error:
            log.error("%s", error)
            return Exit.UNFIT if error.for_good else Exit.FAILED
        except Termination:
            log.warning("asked to stop: left the federation")
            return Exit.TERMINATED
        return Exit.ENDED
