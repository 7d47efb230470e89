"""A real Apache Kafka broker inside a Python program: no root, no docker, ready in about 1.5 s.

    with EmbeddedKafka() as kafka:                     # a temporary directory, removed at the end
        producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})

    python -m mainstem.kafka.broker.embedded --data-dir DIR --port 9092      # in the foreground, until SIGTERM

It listens on the loopback interface only, in plaintext: it is for one machine. Time stamps, retention and cleaning
are the topics' own settings. The first start on a machine downloads and prepares what it needs (some 30 s); later
ones make no network call.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import Self

from mainstem.errors import BrokerError
from mainstem.kafka.broker.broker import Broker
from mainstem.kafka.broker.prepare import prepare
from mainstem.runtime.program import Program, run
from mainstem.runtime.variables import LOGS, Variable

__all__ = ["EmbeddedKafka", "main"]


class EmbeddedKafka(Broker):
    """A `Broker` that prepares the machine when this is its first start there."""

    def start(self, *, record: Path | None = None) -> Self:
        """See `Broker.start`; on a new machine it first downloads and prepares, logging its progress."""
        if record is None:
            prepare()
        return super().start(record=record)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, help="where it keeps its log (default: temporary, removed at the end)")
    parser.add_argument("--port", type=int, help="the clients' port (default: a free one, printed)")
    parser.add_argument("--heap", default="256m", help="Java heap, as for -Xmx (default: %(default)s)")


PROGRAM = Program(
    "mainstem.kafka.broker.embedded",
    "kafka",
    "Run one Kafka broker.",
    {
        "What it needs": (
            Variable("MAINSTEM_CACHE", "where Kafka and Java are prepared", otherwise="~/.cache/mainstem"),
            Variable("MAINSTEM_JAVA", "a Java program of your own", otherwise="found or prepared"),
        ),
        "Its log": LOGS,
    },
    _options,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; fails where it cannot start or dies."""
    return run(PROGRAM, _work, arguments)


def _work(options: argparse.Namespace, stop: threading.Event) -> None:
    broker = EmbeddedKafka(options.data_dir, port=options.port, heap=options.heap).start()
    print(f"Kafka is ready at {broker.bootstrap_servers}, data in {broker.directory}; Ctrl-C stops it", flush=True)
    while not stop.wait(0.5):
        if not broker.running:
            raise BrokerError(f"Kafka died; its log is {broker.log_file}")
    broker.stop()


if __name__ == "__main__":
    sys.exit(main())
