"""The training Job: `python -m federated_training`, with its settings in environment variables (see `jobs.JobSpec`).

Its exit code is one of `jobs.Exit`; a failure is told to the aggregator where it can be reached.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from federated_training import keras_runtime
from federated_training.config import Settings
from federated_training.engine import Engine
from federated_training.loop import Job, JobFailed
from mainstem import logs
from mainstem.errors import ConfigError
from mainstem.jobs import Exit
from mainstem.kafka.config import client_config
from mainstem.kafka.log import KafkaLog
from mainstem.messages import Opened
from mainstem.ports import MessageLog

log = logging.getLogger(__name__)


class _Terminated(BaseException):
    """SIGTERM, raised wherever the Job happens to be."""


def main() -> int:
    """Run the Job; its exit code."""
    logs.configure("training", stream=os.fdopen(os.dup(2), "w", buffering=1))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        settings = Settings.from_environ(os.environ)
        cloud = client_config(settings.spec.cloud_bootstrap, settings.spec.cloud_client_config)
        data = client_config(settings.spec.data_bootstrap, settings.spec.data_client_config)
    except ConfigError as error:
        log.error("%s", error)
        return Exit.UNUSABLE
    with tempfile.TemporaryDirectory(prefix="mainstem-training-") as scratch:
        keras_runtime.prepare(Path(scratch))
        keras = keras_runtime.preload()

        def make_engine(connection: Callable[[], MessageLog], opened: Opened) -> Engine:
            keras.join()
            from federated_training.KafkaModelEngine import KafkaModelEngine, use_threads

            use_threads(settings.threads)
            return KafkaModelEngine(connection, opened)

        try:
            Job(settings, lambda: KafkaLog(cloud), lambda: KafkaLog(data, committed=True), make_engine).run()
        except JobFailed as error:
            log.error("%s", error)
            return Exit.UNFIT if error.for_good else Exit.FAILED
        except (_Terminated, KeyboardInterrupt):
            log.warning("asked to stop: left the federation")
            return Exit.TERMINATED
        return Exit.ENDED


def _terminate(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
    raise _Terminated


if __name__ == "__main__":
    sys.exit(main())
