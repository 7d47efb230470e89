"""Where the commands about a run's lineage read it: the platform's Kafka, another one, or an exported file."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from mainstem.cli.output import UsageError
from mainstem.cli.where import kafka_config
from mainstem.errors import ConfigError
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import RunFile
from mainstem.platform.home import Home
from mainstem.protocol.log import MessageLog
from mainstem.protocol.topics import check_federation_id


def arguments(parser: argparse.ArgumentParser, *, file: bool = True) -> None:
    """The federation and where its log is."""
    parser.add_argument("federation", nargs="?" if file else None, help="the federation's id")
    parser.add_argument("--bootstrap", metavar="SERVERS", help="Kafka servers (default: those of the platform)")
    if file:
        parser.add_argument("--file", type=Path, metavar="RUN", help="an exported run, in the place of Kafka")


@contextlib.contextmanager
def opened(options: argparse.Namespace, home: Home) -> Iterator[tuple[MessageLog, str]]:
    """The log and the federation; raises UsageError, ConfigError, DecodeError for a file that is none of ours."""
    file: Path | None = getattr(options, "file", None)
    if file is not None:
        if options.bootstrap:
            raise UsageError("--file is read without Kafka: leave --bootstrap out")
        with RunFile(file) as run:
            if options.federation not in (None, run.federation):
                raise UsageError(f"{file} holds federation {run.federation}, not {options.federation}")
            yield run, run.federation
        return
    if options.federation is None:
        raise UsageError("name a federation, or an exported run with --file")
    try:
        federation = check_federation_id(options.federation)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    log = KafkaLog(kafka_config(home, options.bootstrap))
    try:
        yield log, federation
    finally:
        log.close()
