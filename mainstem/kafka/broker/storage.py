"""A broker's settings and its formatted data directory.

Formatting takes Kafka's own tool two seconds; its result is the same few files every time but for the cluster id. So
it runs once per machine, and each new data directory is a copy of that template with a cluster id of its own.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from mainstem.errors import BrokerError
from mainstem.kafka.broker import jars, java
from mainstem.kafka.broker.cache import locked
from mainstem.kafka.client import java_properties

MAX_RECORD_BYTES = 8 << 20


def properties(data: Path, port: int, controller_port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """`server.properties` of one node that is controller and broker, on the loopback interface only."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # one node: one replica, one partition of each internal topic
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # groups that form at once and notice a dead member soon
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.assignment.interval.ms": "0",
        # a killed broker may come back once its old registration has expired: 3 s instead of 9 s
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "100",
        # a deleted topic's disk and page cache are free for the next one at once, not after a minute
        "log.segment.delete.delay.ms": "1000",
        # little memory
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "log.cleaner.dedupe.buffer.size": str(4 << 20),
        "message.max.bytes": str(MAX_RECORD_BYTES),
        "replica.fetch.max.bytes": str(MAX_RECORD_BYTES),
        **extra,
    }


def write_properties(path: Path, values: Mapping[str, str]) -> None:
    """Write a Java property file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text("".join(java_properties.line(name, value) for name, value in values.items()), "ascii")


def format_data(data: Path) -> None:
    """Make `data` a formatted, empty data directory with a fresh cluster id; leaves one that is formatted alone."""
    if (data / "meta.properties").exists():
        return
    staging = data.with_name(f"{data.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(_template(), staging)
    meta = staging / "meta.properties"
    lines = meta.read_text().splitlines()
    meta.write_text(
        "".join((f"cluster.id={cluster_id()}" if li.startswith("cluster.id=") else li) + "\n" for li in lines)
    )
    with contextlib.suppress(OSError):
        data.rmdir()  # an empty directory is no obstacle; anything else is refused below
    try:
        staging.rename(data)
    except OSError:
        shutil.rmtree(staging)
        raise BrokerError(f"{data} holds files but no Kafka log: name an empty directory as --data-dir") from None


def template_present() -> bool:
    """Whether the template directory is there, so that the storage tool need not run."""
    return _template_path().is_dir()


def _template_path() -> Path:
    return jars.home() / "formatted"


def _template() -> Path:
    template = _template_path()
    if template.is_dir():
        return template
    with locked("format") as cache:
        if not template.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                conf, data = Path(work, "server.properties"), Path(work, "data")
                write_properties(conf, properties(data, 9092, 9093, {}))
                tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c", str(conf)]
                done = subprocess.run(java.command() + tool, check=False, capture_output=True, text=True)
                if done.returncode:
                    raise BrokerError(f"Kafka's storage tool failed: {(done.stderr or done.stdout)[-1000:].strip()}")
                data.rename(template)
    return template


def cluster_id() -> str:
    """A new one, as Kafka writes a UUID: 22 characters of URL-safe base64, never beginning with a dash."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
