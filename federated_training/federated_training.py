"""The training Job: `python -m federated_training`, or this file; its settings are environment variables (`--help`).

Its exit code is one of `jobs.Exit`; a failure is told to the aggregator where it can be reached.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

if not __package__:  # run as a file: the checkout, not this folder, holds the packages
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from federated_training import keras_runtime, variables
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the Job; its exit code. The only argument that there is is `--help`."""
    argparse.ArgumentParser(
        prog="federated_training",
        description="Train as one client of one federation. Its settings are environment variables:",
        epilog=variables.help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
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
