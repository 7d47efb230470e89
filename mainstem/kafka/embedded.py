"""A real Apache Kafka broker inside a Python program: no root, no docker, ready in about 1.5 s.

    with EmbeddedKafka() as kafka:                     # a temporary directory, removed at the end
        producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})

    python -m mainstem.kafka.embedded --data-dir DIR --port 9092      # in the foreground, until SIGTERM

It listens on the loopback interface only, in plaintext: it is for one machine. Time stamps, retention and cleaning
are the topics' own settings. The first start on a machine downloads and prepares what it needs (some 30 s); later
ones make no network call.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Self

from mainstem.errors import MainstemError
from mainstem.kafka.broker import Broker
from mainstem.kafka.prepare import prepare

__all__ = ["EmbeddedKafka", "main"]


class EmbeddedKafka(Broker):
    """A `Broker` that prepares the machine when this is its first start there."""

    def start(self, *, record: Path | None = None) -> Self:
        """See `Broker.start`; on a new machine it first downloads and prepares, logging its progress."""
        if record is None:
            prepare()
        return super().start(record=record)


def main(arguments: list[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; exit code 1 with a sentence when it cannot start or dies."""
    parser = argparse.ArgumentParser(prog="python -m mainstem.kafka.embedded", description="Run one Kafka broker.")
    parser.add_argument("--data-dir", type=Path, help="where it keeps its log (default: temporary, removed at the end)")
    parser.add_argument("--port", type=int, help="the clients' port (default: a free one, printed)")
    parser.add_argument("--heap", default="256m", help="Java heap, as for -Xmx (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    broker = EmbeddedKafka(options.data_dir, port=options.port, heap=options.heap)
    try:
        broker.start()
        print(f"Kafka is ready at {broker.bootstrap_servers}, data in {broker.directory}; Ctrl-C stops it", flush=True)
        while broker.running and not leave.wait(0.5):
            pass
        if not leave.is_set():
            print(f"error: Kafka died; its log is {broker.log_file}", file=sys.stderr)
            return 1
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if leave.is_set():
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
