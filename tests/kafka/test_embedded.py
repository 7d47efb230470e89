"""The embedded broker: real starts, real messages, real kills."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import BrokerError
from mainstem.kafka.broker import broker as broker_module
from mainstem.kafka.broker import jars
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.broker.prepare import exchange_message
from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka


def write(bootstrap_servers: str, topic: str, value: bytes) -> None:
    """Append one record, creating the topic when it is new, and wait for its acknowledgement."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    if topic not in admin.list_topics(timeout=PATIENCE).topics:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(PATIENCE)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(PATIENCE) == 0


def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    """The first `count` records of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [message.value() for message in consumer.consume(count, PATIENCE) if not message.error()]
    consumer.close()
    return [value for value in values if value is not None]


def wait_gone(pid: int, seconds: float) -> bool:
    """Whether process `pid` ends within `seconds` (a zombie has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_message_goes_through(kafka: EmbeddedKafka) -> None:
    """A started broker creates a topic and returns a message to a consumer group."""
    exchange_message(kafka.bootstrap_servers)


def test_restart_keeps_data_and_address(tmp_path: Path) -> None:
    """After a clean restart, and after a SIGKILL, clients find the old records at the old address."""
    with EmbeddedKafka(tmp_path) as broker:
        address = broker.bootstrap_servers
        write(address, "kept", b"one")
        broker.restart()
        assert broker.bootstrap_servers == address
        write(address, "kept", b"two")
        broker.kill()
        assert not broker.running
        broker.start()
        write(address, "kept", b"three")
        assert read(address, "kept", 3) == [b"one", b"two", b"three"]
    assert (tmp_path / "data").is_dir()


def test_a_socket_that_meets_itself_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from the port that it asks for, TCP answers itself."""
    port, connect = free_port(), socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda at, timeout: connect(at, timeout, source_address=at))
    with connect(("127.0.0.1", port), 1, source_address=("127.0.0.1", port)) as itself:
        assert itself.getsockname() == itself.getpeername()
    assert not broker_module._listens(free_port())


def test_a_slow_machine_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes minutes, as it does beside fifty other programs, is no failure; one that ends is, at once."""
    looks = itertools.count()
    slow = SimpleNamespace(monotonic=lambda: time.monotonic() + (200.0 if next(looks) else 0.0), sleep=time.sleep)
    monkeypatch.setattr(broker_module, "time", slow)  # three minutes go by before the first look
    with EmbeddedKafka(tmp_path) as broker:
        exchange_message(broker.bootstrap_servers)
    with pytest.raises(BrokerError, match="ended at once"):
        EmbeddedKafka(tmp_path / "other", config={"process.roles": "nonsense"}).start()


def test_a_second_broker_object_takes_the_data_over_at_a_fixed_port(tmp_path: Path) -> None:
    """A platform that is started again with the same directory and port is where it was, with what it held."""
    port = free_port()
    with EmbeddedKafka(tmp_path, port=port) as broker:
        assert broker.bootstrap_servers == f"127.0.0.1:{port}"
        write(broker.bootstrap_servers, "kept", b"one")
    with EmbeddedKafka(tmp_path, port=port) as broker:
        assert read(f"127.0.0.1:{port}", "kept", 1) == [b"one"]
        with pytest.raises(BrokerError, match="another broker uses"):
            EmbeddedKafka(tmp_path).start()
        assert broker.running


def test_a_broker_that_died_is_started_again(tmp_path: Path) -> None:
    """Whoever supervises one starts the same object once its process has gone, however that went."""
    with EmbeddedKafka(tmp_path) as broker:
        assert broker.process is not None
        broker.process.kill()
        broker.process.wait()
        write(broker.start().bootstrap_servers, "again", b"one")
        assert read(broker.bootstrap_servers, "again", 1) == [b"one"]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A fixed port that something else listens on is refused with a sentence that names it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is already in use"):
            EmbeddedKafka(tmp_path, port=port).start()


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A data directory with somebody's files is refused, and the files stay."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious")
    with pytest.raises(BrokerError, match="holds files but no Kafka log"):
        EmbeddedKafka(tmp_path).start()
    assert (tmp_path / "data" / "thesis.txt").read_text() == "precious"


def test_a_setting_that_kafka_refuses_is_reported(tmp_path: Path) -> None:
    """When the broker ends at once, the error carries the end of its log."""
    with pytest.raises(BrokerError, match=r"num\.io\.threads"):
        EmbeddedKafka(tmp_path, config={"num.io.threads": "many"}).start()


def test_the_broker_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the Python process that started it takes the broker along."""
    program = textwrap.dedent(
        f"""
        import time
        from mainstem.kafka.broker.embedded import EmbeddedKafka
        broker = EmbeddedKafka({str(tmp_path)!r}).start()
        print(broker.process.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert wait_gone(pid, PATIENCE)


def test_the_command_stops_cleanly_on_sigterm(tmp_path: Path) -> None:
    """`python -m mainstem.kafka.broker.embedded` says where it is, serves, and exits 0 on SIGTERM."""
    port = free_port()
    command = [sys.executable, "-m", "mainstem.kafka.broker.embedded", "--data-dir", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        exchange_message(f"127.0.0.1:{port}")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_no_network_and_no_jgo_once_prepared(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A prepared machine starts a broker without loading the downloader and with every proxy pointing nowhere."""
    program = textwrap.dedent(
        f"""
        import sys
        from mainstem.kafka.broker.embedded import EmbeddedKafka
        with EmbeddedKafka({str(tmp_path)!r}):
            assert "jgo" not in sys.modules and "requests" not in sys.modules
        """
    )
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", program], env=os.environ | nowhere, check=True, timeout=PATIENCE)


def test_a_jar_with_a_wrong_sum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download whose sha256 is not the pinned one never becomes part of the class path."""

    def forged(jar: jars.Jar, scratch: Path, count: object) -> Path:
        scratch.mkdir()
        (scratch / jar.filename).write_bytes(b"not a jar")
        return scratch / jar.filename

    monkeypatch.setenv("MAINSTEM_CACHE", str(tmp_path))
    monkeypatch.setattr(jars, "_download", forged)
    with pytest.raises(BrokerError, match="sha256"):
        jars.kafka_jars()
    assert not jars.jars_present()
    assert not list(tmp_path.rglob("*.jar"))
