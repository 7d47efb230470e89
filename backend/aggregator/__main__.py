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
import time
from collections.abc import Callable
from contextlib import closing

from backend.aggregator.federation import Federation
from backend.aggregator.meters import FederationsCollector
from backend.aggregator.worker import SLOTS, Worker
from mainstem import logs, topics
from mainstem.backoff import Backoff
from mainstem.clock import SystemClock
from mainstem.disk import Disks
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.group import GroupReader
from mainstem.kafka.log import KafkaLog
from mainstem.kafka.metered import MeteredLog
from mainstem.kafka.overview import answers
from mainstem.memory import use_one_heap
from mainstem.metrics.health import Health
from mainstem.metrics.serving import serving

logger = logging.getLogger("mainstem.aggregator")

SCRAPE_SECONDS = 3.0
"""How long a scrape waits for Kafka."""


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m backend.aggregator", description=__doc__)
    parser.add_argument("--bootstrap", default=os.environ.get("KML_CLOUD_BOOTSTRAP_SERVERS"), help="Kafka servers")
    parser.add_argument("--retain-mb", type=int, default=32, help="memory for passing updates (default: %(default)s)")
    parser.add_argument("--spill-mb", type=int, default=4096, help="temporary file a federation (default: %(default)s)")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=min(4, cores), help="folding at a time (default: %(default)s)")
    parser.add_argument(
        "--slots", type=int, default=SLOTS, help="federations run at a time; more take turns (default: %(default)s)"
    )
    parser.add_argument("--session-timeout-ms", type=int, default=6000, help="until a dead worker is replaced")
    options = parser.parse_args(arguments)
    use_one_heap()
    logs.configure("aggregator")
    if not options.bootstrap:
        print("error: say where Kafka is: --bootstrap or KML_CLOUD_BOOTSTRAP_SERVERS", file=sys.stderr)
        return 2
    for name in ("threads", "slots"):
        if getattr(options, name) < 1:
            print(f"error: --{name} must be at least 1", file=sys.stderr)
            return 2
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    try:
        work(
            client_config(options.bootstrap, os.environ.get("KML_CLOUD_CLIENT_CONFIG")),
            leave,
            retain=options.retain_mb << 20,
            spill=options.spill_mb << 20,
            threads=options.threads,
            slots=options.slots,
            session_timeout_ms=options.session_timeout_ms,
        )
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def work(
    config: dict[str, str | int | float | bool],
    leave: threading.Event,
    *,
    retain: int,
    spill: int,
    threads: int,
    slots: int,
    session_timeout_ms: int,
) -> None:
    """Follow the announcements until `leave` is set; raises ConfigError over a setting, or where a port is taken."""
    writer = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
    log, health = MeteredLog(config), Health()
    clock, rooms = SystemClock(), {"retain": retain, "spill": spill, "threads": threads}
    waits = Disks.from_environ().waits

    def answered() -> bool:
        return answers(config)

    def looked(error: Exception | None) -> None:
        if error is None:
            health.worked("looking for topics")
        else:
            health.failed("looking for topics", error, answered)

    def federation(name: str) -> Federation:
        return Federation(log, name, clock=clock, writer=writer, waits=waits, **rooms)

    worker = Worker(federation, log.existing, slots=slots, looked=looked)
    ends = Ends(config)
    shown = FederationsCollector(worker.sights, ends.end_of, time.monotonic)
    with closing(log), closing(ends), serving("aggregator", health, shown):
        while not leave.is_set():
            health.turn()
            try:
                log.create_topics(topics.shared_topics())
                break
            except LogError as error:
                logger.warning("Kafka is not there yet: %s", error)
                leave.wait(1)
        reader = GroupReader(config, topics.AGGREGATORS, topics.MODEL_CONTROL, session_timeout_ms)
        logger.info("aggregator %s is up", writer)
        try:
            _follow(reader, worker, health, leave, answered)
        finally:
            worker.close()
            reader.close()


def _follow(
    reader: GroupReader,
    worker: Worker,
    health: Health,
    leave: threading.Event,
    answered: Callable[[], bool] = lambda: True,
) -> None:
    pauses = Backoff(longest=5.0)
    while not leave.is_set():
        health.turn()
        try:
            record = reader.poll(0.2)
        except LogError as error:
            health.ready = False
            health.failed("reading the announcements", error, answered)
            logger.warning("%s", error)
            leave.wait(pauses.next())
            continue
        pauses.reset()
        health.worked("reading the announcements")
        health.ready = reader.joined
        if record is not None:
            worker.announced(record)
        if reader.lost:
            worker.lost(reader.lost)
            reader.lost.clear()


class Ends:
    """Where topics end, asked over a connection of its own, made at the first scrape: none waits for the worker's."""

    def __init__(self, config: dict[str, str | int | float | bool]) -> None:
        self._log = KafkaLog(config, timeout=SCRAPE_SECONDS)

    def end_of(self, topic: str) -> int | None:
        """The next offset of the topic's partition 0; None where Kafka does not say so at once."""
        try:
            return self._log.bounds(topic, 0)[1]
        except LogError:
            return None

    def close(self) -> None:
        """Free the connection."""
        self._log.close()


if __name__ == "__main__":
    sys.exit(main())
