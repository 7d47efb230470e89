"""`python -m mainstem.aggregator`: one aggregator worker; run as many as you like."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from mainstem.aggregator.federation import Federation
from mainstem.aggregator.meters import FederationsCollector
from mainstem.aggregator.witnesses import Ask, BackendWitness, Guard, nobody
from mainstem.aggregator.worker import SLOTS, Worker
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group import GroupReader
from mainstem.kafka.client.log import KafkaLog
from mainstem.kafka.client.metered import MeteredLog
from mainstem.kafka.client.overview import answers
from mainstem.protocol import topics
from mainstem.protocol.signing import PLATFORM_KEY_FILE, SigningKey
from mainstem.runtime import endpoints
from mainstem.runtime.backoff import Backoff
from mainstem.runtime.clock import SystemClock
from mainstem.runtime.disk import Disks
from mainstem.runtime.fields import said
from mainstem.runtime.memory import use_one_heap
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.serving import serving
from mainstem.runtime.program import Program, run
from mainstem.runtime.settings import add_options, from_options
from mainstem.runtime.variables import CLOUD, DISK, LOGS, METRICS, PLATFORM_SECRET, WITNESS, Groups

logger = logging.getLogger("mainstem.aggregator")

Room = Annotated[int, Meta(ge=0, lt=1 << 33)]
Positive = Annotated[int, Meta(ge=1, lt=1 << 31)]

SCRAPE_SECONDS = 3.0
"""How long a scrape waits for Kafka."""


class WorkerSettings(Struct, frozen=True):
    """What a worker may use."""

    retain_mb: Annotated[Room, said("Memory", "Memory for passing updates.", unit="MiB")] = 32
    spill_mb: Annotated[Room, said("Disk", "The largest temporary file of a federation.", unit="MiB")] = 4096
    threads: Annotated[Positive, said("Threads", "So many fold at a time.", otherwise="the cores, at most 4")] = field(
        default_factory=lambda: min(4, len(os.sched_getaffinity(0)))
    )
    slots: Annotated[Positive, said("Slots", "So many federations run at a time; more take turns.")] = SLOTS
    session_timeout_ms: Annotated[
        Positive, said("Session", "After so long a dead worker is replaced.", unit="ms")
    ] = 6000  # fmt: skip

    @property
    def rooms(self) -> dict[str, int]:
        """Bytes and threads of a federation."""
        return {"retain": self.retain_mb << 20, "spill": self.spill_mb << 20, "threads": self.threads}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bootstrap", help="Kafka servers (default: KML_CLOUD_BOOTSTRAP_SERVERS)")
    add_options(parser, WorkerSettings)


GROUPS: Final[Groups] = {
    "Where Kafka is": CLOUD,
    "The platform's key": PLATFORM_SECRET,
    "Who witnessed the log": WITNESS,
    "Its disk": (DISK,),
    "Metrics": METRICS,
    "Its log": LOGS,
}

PROGRAM = Program(
    "mainstem.aggregator",
    "aggregator",
    "Commits the rounds of the federations that Kafka announces. Run as many as you like: they share the work.",
    GROUPS,
    _options,
)


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT."""
    return run(PROGRAM, _work, arguments)


def _work(options: argparse.Namespace, stop: threading.Event) -> None:
    use_one_heap()
    kafka = endpoints.cloud(os.environ)
    servers = options.bootstrap or kafka.servers
    if not servers:
        raise ConfigError("say where Kafka is: --bootstrap or KML_CLOUD_BOOTSTRAP_SERVERS")
    config, ask = client_config(servers, kafka.properties), BackendWitness.from_environ(os.environ)
    key = SigningKey.from_environ(os.environ, PLATFORM_KEY_FILE)
    work(config, stop, from_options(WorkerSettings, options), ask, key)


def work(
    config: dict[str, str | int | float | bool],
    leave: threading.Event,
    settings: WorkerSettings,
    ask: Ask = nobody,
    key: SigningKey | None = None,
) -> None:
    """Follow the announcements until `leave` is set, as the platform with that key.

    Raises ConfigError over a setting, or where a port is taken.
    """
    writer = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(3)}"
    log, health = MeteredLog(config), Health()
    clock, rooms = SystemClock(), settings.rooms
    waits = Disks.from_environ().waits
    platform = None if key is None else key.public

    def answered() -> bool:
        return answers(config)

    def looked(error: Exception | None) -> None:
        if error is None:
            health.worked("looking for topics")
        else:
            health.failed("looking for topics", error, answered)

    def federation(name: str, guard: Guard) -> Federation:
        return Federation(log, name, clock=clock, writer=writer, waits=waits, guard=guard, key=key, **rooms)

    worker = Worker(federation, log.existing, slots=settings.slots, looked=looked, ask=ask, platform=platform)
    ends = ScrapedEnds(config)
    shown = FederationsCollector(worker.sights, ends.end_of, time.monotonic)
    with closing(log), closing(ends), serving("aggregator", health, shown):
        pauses = Backoff(longest=5.0)
        while not leave.is_set():
            health.turn()
            try:
                log.create_topics(topics.shared_topics())
                break
            except LogError as error:
                logger.warning("Kafka is not there yet: %s", error)
                leave.wait(pauses.next())
        reader = GroupReader(config, topics.AGGREGATORS, topics.MODEL_CONTROL, settings.session_timeout_ms)
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


class ScrapedEnds:
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
