"""What a machine needs once before brokers start fast: the jars (45 MB), a formatted template, a start-up cache.

The cache is what a training run of the broker with a few real messages leaves at its exit; with it a broker is up in
about 1.5 s instead of 4 s. Some 30 s in all; afterwards nothing here touches the network.
"""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import BrokerError
from mainstem.kafka.broker import jars, java, storage
from mainstem.kafka.broker.broker import HANGS_SECONDS, Broker
from mainstem.kafka.broker.cache import locked

Say = Callable[[str, float | None], None]
"""Called with what is being done and, for a download, the share that is done (0 to 1)."""

log = logging.getLogger(__name__)


def prepared() -> bool:
    """Whether nothing is left to do, so that a start needs no network and no wait."""
    return jars.jars_present() and storage.template_present() and _trained(java.startup_cache(java.find_java()))


def prepare(say: Say | None = None) -> None:
    """Fetch the jars, format the template and record the start-up cache, as far as that is not done yet.

    Raises `BrokerError` when the broker cannot run. A start-up cache that cannot be recorded is only logged: the
    broker starts without it, more slowly.
    """
    if prepared():
        return
    tell = say or _log_progress()
    jars.kafka_jars(lambda done, total: tell(f"downloading Apache Kafka {jars.KAFKA_VERSION}", done / total))
    cache = java.startup_cache(java.find_java())
    with locked("startup-cache"):
        if _trained(cache) and storage.template_present():
            return
        tell("preparing Kafka's start (once on this machine, about 20 s)", None)
        scratch = cache.with_suffix(f".{os.getpid()}.partial")
        with tempfile.TemporaryDirectory(prefix="mainstem-kafka-") as data:
            broker = Broker(data)
            broker.start(record=scratch)
            exchange_message(broker.bootstrap_servers)
            broker.stop(timeout=HANGS_SECONDS)  # the cache is written at exit
        if scratch.exists():
            scratch.replace(cache)
        else:
            _without_cache(cache).touch()
            log.warning("Java recorded no start-up cache; the broker works, but starts more slowly")


def _without_cache(cache: Path) -> Path:
    """The mark that this runtime cannot record a cache, so that not every start tries again."""
    return cache.with_suffix(".none")


def _trained(cache: Path) -> bool:
    return cache.exists() or _without_cache(cache).exists()


def exchange_message(bootstrap_servers: str, timeout: float = HANGS_SECONDS) -> None:
    """Create a topic, send a message through it with a group's consumer, and delete it: the broker really works.

    Raises `BrokerError` when the message does not come back within `timeout` seconds.
    """
    topic, value = f"mainstem-check-{uuid.uuid4().hex[:8]}", b"hello"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "log_level": 3})
    consumer = Consumer({
        "bootstrap.servers": bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest", "log_level": 3,
    })  # fmt: skip
    try:
        producer.produce(topic, value)
        producer.flush(timeout)
        consumer.subscribe([topic])
        message = consumer.poll(timeout)
        if message is None or message.error() or message.value() != value:
            raise BrokerError(f"the broker at {bootstrap_servers} did not return a message within {timeout:.0f} s")
    finally:
        consumer.close()
        admin.delete_topics([topic])[topic].result(timeout)


def _log_progress() -> Say:
    """Progress as log lines: each step once, a download at every tenth."""
    last: list[tuple[str, int]] = [("", -1)]

    def say(what: str, share: float | None) -> None:
        step = (what, int((share or 0.0) * 10))
        if step != last[0]:
            last[0] = step
            log.info("%s%s", what, "" if share is None else f": {step[1] * 10} %")

    return say
