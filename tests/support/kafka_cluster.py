"""Three Kafka brokers that are controllers too, on this machine: each record on all of them, and on two to count."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from mainstem.kafka.broker import java, storage
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.broker.prepare import prepare
from tests.support.ports import free_ports

NODES = (1, 2, 3)
HEAP = "128m"
WHOLE_SECONDS = 180.0
"""So long a broker may take to catch up with the others, on a busy machine."""

_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "unclean.leader.election.enable": "false",
    # what hangs is noticed within seconds, so that more happens in the same time
    "replica.lag.time.max.ms": "3000",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    "leader.imbalance.check.interval.seconds": "30",
}


class KafkaCluster:
    """The brokers `1`, `2` and `3`, with a directory each in `directory`; `start` waits until all are in sync."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(2 * len(NODES))
        self._controllers = dict(zip(NODES, ports[len(NODES) :], strict=True))
        self.id = storage.cluster_id()
        self.nodes = {
            node: EmbeddedKafka(
                directory / f"kafka-{node}", port=port, heap=HEAP, config=self._config(node, port), startup_timeout=300
            )
            for node, port in zip(NODES, ports, strict=False)
        }
        self._admin: AdminClient | None = None
        # a broker ends with the thread that started it (PR_SET_PDEATHSIG), so these stay
        self._starters = ThreadPoolExecutor(len(NODES), "broker")

    def _config(self, node: int, port: int) -> dict[str, str]:
        controller = self._controllers[node]
        return _REPLICATED | {
            "node.id": str(node),
            "listeners": f"CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in self._controllers.items()),
            "controller.quorum.bootstrap.servers": "",
        }

    @property
    def bootstrap_servers(self) -> str:
        """The three, for clients."""
        return ",".join(broker.bootstrap_servers for broker in self.nodes.values())

    # ------------------------------------------------------------ life
    def start(self) -> KafkaCluster:
        """Start those that do not run, at once: a quorum of the controllers must be there before any of them opens."""
        prepare()
        list(self._starters.map(self._start, [n for n, broker in self.nodes.items() if not broker.running]))
        self.wait_whole()
        return self

    def _start(self, node: int) -> None:
        broker = self.nodes[node]
        broker.directory.mkdir(parents=True, exist_ok=True)
        if not (broker.directory / "data" / "meta.properties").exists():
            self._format(broker)
        broker.start()

    def _format(self, broker: EmbeddedKafka) -> None:
        settings, data = broker.directory / "format.properties", broker.directory / "data"
        assert broker.port is not None
        storage.write_properties(settings, storage.properties(data, broker.port, 0, broker.config))
        command = [*java.command(HEAP), "kafka.tools.StorageTool", "format", "-t", self.id, "-c", str(settings)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def again(self, node: int) -> None:
        """Start one that was killed or stopped, without waiting for it to catch up."""
        self._starters.submit(self._start, node).result()

    def empty(self, node: int) -> None:
        """Take a killed one's disk: it comes back with nothing."""
        shutil.rmtree(self.nodes[node].directory / "data")

    def close(self) -> None:
        """End all of them."""
        for broker in self.nodes.values():
            broker.kill()
        self._starters.shutdown()

    @property
    def running(self) -> list[int]:
        """The nodes whose processes live."""
        return [node for node, broker in self.nodes.items() if broker.running]

    def signal(self, node: int, number: signal.Signals) -> None:
        """A signal for a node's process."""
        process = self.nodes[node].process
        assert process is not None
        process.send_signal(number)

    # ------------------------------------------------------------ what it is like
    @property
    def admin(self) -> AdminClient:
        """One client for questions; it is kept, since its futures fail with it."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        return self._admin

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition; -1 where none does."""
        told = self.admin.list_topics(topic, timeout=20).topics[topic].partitions
        return int(told[partition].leader) if partition in told else -1

    def controller(self) -> int:
        """The node whose controller is active, as a majority of those that run say; -1 where none is."""
        said = Counter(
            json.loads((self.nodes[n].directory / "data/__cluster_metadata-0/quorum-state").read_text())["leaderId"]
            for n in self.running
        )
        return int(said.most_common(1)[0][0]) if said else -1

    def elect_preferred(self) -> None:
        """Have each partition's first replica lead it again, where it is in sync."""
        self.admin.elect_leaders(ElectionType.PREFERRED).result()

    def wait_whole(self, seconds: float = WHOLE_SECONDS) -> None:
        """Until all three are there and every replica is in sync."""
        self._wait(self._is_whole, seconds)

    def _is_whole(self) -> bool:
        told = self.admin.list_topics(timeout=20)
        partitions = [p for topic in told.topics.values() for p in topic.partitions.values()]
        return len(told.brokers) == len(NODES) and all(len(p.isrs) == len(p.replicas) == 3 for p in partitions)

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if until():
                    return
            except Exception as error:
                last: object = error
            else:
                last = "not yet"
            time.sleep(0.1)
        raise AssertionError(f"the cluster is not whole after {seconds:.0f} s: {last}")
