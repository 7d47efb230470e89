"""`python -m backend.aggregator`: one aggregator worker; run as many as you like."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading

from backend.aggregator.federation import Federation
from backend.aggregator.worker import FIRST_PAUSE, Worker
from mainstem import logs, topics
from mainstem.clock import SystemClock
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.group import GroupReader
from mainstem.kafka.log import KafkaLog
from mainstem.memory import use_one_heap

logger = logging.getLogger("mainstem.aggregator")
GROUP = "mainstem-aggregators"


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m backend.aggregator", description=__doc__)
    parser.add_argument("--bootstrap", default=os.environ.get("KML_CLOUD_BOOTSTRAP_SERVERS"), help="Kafka servers")
    parser.add_argument("--retain-mb", type=int, default=16, help="memory for passing updates (default: %(default)s)")
    parser.add_argument("--spill-mb", type=int, default=4096, help="temporary file a federation (default: %(default)s)")
    parser.add_argument("--session-timeout-ms", type=int, default=6000, help="until a dead worker is replaced")
    options = parser.parse_args(arguments)
    use_one_heap()
    logs.configure("aggregator")
    if not options.bootstrap:
        print("error: say where Kafka is: --bootstrap or KML_CLOUD_BOOTSTRAP_SERVERS", file=sys.stderr)
        return 2
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    try:
        config = client_config(options.bootstrap, os.environ.get("KML_CLOUD_CLIENT_CONFIG"))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    work(
        config,
        leave,
        retain=options.retain_mb << 20,
        spill=options.spill_mb << 20,
        session_timeout_ms=options.session_timeout_ms,
    )
    return 0


def work(
    config: dict[str, str | int | float | bool],
    leave: threading.Event,
    *,
    retain: int,
    spill: int,
    session_timeout_ms: int,
) -> None:
    """Follow the announcements until `leave` is set."""
    writer = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
    log = KafkaLog(config)
    worker = Worker(
        lambda federation: Federation(log, federation, clock=SystemClock(), writer=writer, retain=retain, spill=spill)
    )
    while not leave.is_set():
        try:
            log.create_topics(topics.shared_topics())
            break
        except LogError as error:
            logger.warning("Kafka is not there yet: %s", error)
            leave.wait(1)
    reader = GroupReader(config, GROUP, topics.MODEL_CONTROL, session_timeout_ms)
    logger.info("aggregator %s is up", writer)
    try:
        while not leave.is_set():
            try:
                record = reader.poll(0.2)
            except LogError as error:
                logger.warning("%s", error)
                leave.wait(FIRST_PAUSE)
                continue
            if record is not None:
                worker.announced(record)
            if reader.lost:
                worker.lost(reader.lost)
                reader.lost.clear()
    finally:
        worker.close()
        reader.close()
        log.close()


if __name__ == "__main__":
    sys.exit(main())
