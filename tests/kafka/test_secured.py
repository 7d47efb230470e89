"""A real broker with TLS, SCRAM and ACLs: the way in that the overlay shows, and the sentence for each way of not
getting in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType

from inject_scripts import inject_dummy_training_data as dummy
from mainstem.cli import doctor
from mainstem.cli import main as cli
from mainstem.errors import LogError
from mainstem.kafka.client import door, group_source
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.door import knock
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.log import KafkaLog
from mainstem.kafka.client.overview import topic_overviews
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.protocol import topics
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import TopicSpec, stream_spec
from tests.support.patience import PATIENCE, until
from tests.support.secured import USERS, Secured, secured_kafka

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "kustomize/production/client.properties.example"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker, one for all of these tests."""
    with secured_kafka(tmp_path_factory.mktemp("secured")) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SECONDS", PATIENCE)
    monkeypatch.setattr(door, "CONNECT_SECONDS", PATIENCE)


def example(secured: Secured, folder: Path) -> Path:
    """The overlay's example, with this broker's password and authority in it."""
    text = EXAMPLE.read_text().replace("YOUR-PASSWORD", USERS["mainstem"])
    path = folder / "client.properties"
    path.write_text(text.replace("/etc/mainstem/kafka/ca.crt", str(secured.authority.certificate)))
    return path


def test_the_overlay_s_client_configuration_works(secured: Secured, tmp_path: Path) -> None:
    """Topics are made, records written and read, all over TLS and SCRAM."""
    log = KafkaLog(client_config(secured.at("secure"), example(secured, tmp_path)))
    try:
        log.create_topics(topics.shared_topics())
        (offset,) = log.append(topics.MODEL_CONTROL, [Outgoing(b"value", key=b"ddy6heod")])
        (partition,) = [
            n for n in range(log.partitions(topics.MODEL_CONTROL)) if log.bounds(topics.MODEL_CONTROL, n)[1]
        ]
        (record,) = log.read(topics.MODEL_CONTROL, partition, offset, offset + 1)
        assert (record.key, record.value) == (b"ddy6heod", b"value")
    finally:
        log.close()


def test_a_password_arrives_as_it_is(secured: Secured, tmp_path: Path) -> None:
    """With umlauts, a backslash, a hash, and a blank at its end: from librdkafka's file, from Java's, and to where the
    broker has it from its own file."""
    assert knock(secured.config(tmp_path, user="alice"), PATIENCE) == 1
    plain: dict[str, str | None] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    assert knock(secured.config(tmp_path, "login", "alice", **plain), PATIENCE) == 1
    quoted = USERS["alice"].replace("\\", "\\" * 4)  # JAAS takes half of them, and the file half of these
    java = tmp_path / "java.properties"
    java.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
        f'  username="alice" \\\n  password="{quoted}";\n'
        f"ssl.truststore.type=PEM\nssl.truststore.location={secured.authority.certificate}\n",
        "utf-8",
    )
    assert knock(client_config(secured.at("secure"), java), PATIENCE) == 1


def test_ipv6_is_a_way_in(secured: Secured) -> None:
    """For librdkafka, and for what we try ourselves."""
    assert knock(client_config(secured.at("six")), PATIENCE) == 1
    with pytest.raises(LogError, match=r"Kafka at \[::1\]:\d+ speaks no TLS there"):
        knock({**client_config(secured.at("six")), "security.protocol": "ssl"}, PATIENCE)


WAYS: dict[str, tuple[str, dict[str, str | None], str]] = {
    "password": (
        "secure",
        {"sasl_password": "wrong"},
        (
            r"^Kafka at {at} refuses user 'mainstem' with SCRAM-SHA-512: the user is not known there, or the "
            r"password is another \(sasl.username, sasl.password\)$"
        ),
    ),
    "blank": ("secure", {"sasl_password": "wrong "}, "is another; the password given ends with a blank"),
    "user": ("secure", {"sasl_username": "nobody"}, "^Kafka at {at} refuses user 'nobody' with SCRAM-SHA-512"),
    "mechanism": (
        "secure",
        {"sasl_mechanism": "PLAIN"},
        "^Kafka at {at} offers no login by PLAIN, only by SCRAM-SHA-512: set sasl.mechanism$",
    ),
    "expired": ("expired", {}, r"^the certificate of Kafka at {at} expired at 20\d\d-\d\d-\d\d \d\d:\d\d UTC"),
    "host": ("foreign", {}, "^the certificate of Kafka at {at} is for kafka.example.org, not for localhost: "),
    "authority": (
        "secure",
        {"ssl_ca_location": "{stranger}"},
        (
            r"^the certificate of Kafka at {at} is issued by commonName=authority, which is no authority in "
            r"ssl.ca.location \({stranger}\)"
        ),
    ),
    "no authority": (
        "secure",
        {"ssl_ca_location": None},
        "is issued by commonName=authority, which is none of this machine's authorities",
    ),
    "no TLS there": (
        "plain",
        {},
        "^Kafka at {at} speaks no TLS there, and security.protocol is SASL_SSL: set SASL_PLAINTEXT, or take ",
    ),
    "TLS there": (
        "secure",
        {"security_protocol": "PLAINTEXT"},
        "^Kafka at {at} speaks TLS there, and security.protocol is PLAINTEXT: set SSL or SASL_SSL$",
    ),
    "login there": (
        "login",
        {"security_protocol": "PLAINTEXT"},
        (
            "^Kafka at {at} closes the connection of a client without a login, and security.protocol is PLAINTEXT: set "
            "SASL_PLAINTEXT, with sasl.mechanism, sasl.username and sasl.password$"
        ),
    ),
    "login and TLS there": (
        "secure",
        {"security_protocol": "SSL"},
        "of a client without a login, and security.protocol is SSL: set SASL_SSL, with ",
    ),
    "certificate wanted": (
        "mutual",
        {"security_protocol": "SSL"},
        "^Kafka at {at} asks for a certificate of the client: set ssl.certificate.location and ssl.key.location$",
    ),
    "advertised name": ("lost", {}, "^Kafka at {at} sends its clients on to broker.invalid:"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_not_getting_in_has_its_sentence(secured: Secured, tmp_path: Path, way: str) -> None:
    """It names the broker, the user, and the setting to look at; the password is in none."""
    listener, changes, sentence = WAYS[way]
    stranger = str(secured.stranger.certificate)
    changes = {name: value and value.format(stranger=stranger) for name, value in changes.items()}
    config = secured.config(tmp_path, listener, "mainstem", **changes)
    with pytest.raises(LogError) as caught:
        knock(config, PATIENCE)
    assert re.search(sentence.format(at=secured.at(listener), stranger=stranger), str(caught.value)), str(caught.value)
    assert str(config["sasl.password"]).strip() not in str(caught.value)


def test_a_name_that_nobody_finds_is_said(tmp_path: Path) -> None:
    """Of the brokers that were given."""
    with pytest.raises(LogError, match=r"finds no address for the name kafka\.invalid of kafka\.invalid:9092"):
        knock(client_config("kafka.invalid:9092"), PATIENCE)


REFUSES = "refuses user 'mainstem' with SCRAM-SHA-512"


def _log(config: dict[str, str | int | float | bool]) -> None:
    log = KafkaLog(config, timeout=1.0)
    try:
        log.create_topics(topics.shared_topics())
    finally:
        log.close()


def _append(config: dict[str, str | int | float | bool]) -> None:
    log = KafkaLog(config, timeout=1.0)
    log._partitions["data"] = 1  # as one that has known the topic before
    try:
        log.append("data", [Outgoing(b"x")])
    finally:
        log.close()


def _logger(config: dict[str, str | int | float | bool]) -> None:
    source = GroupSource(config, group="g", topics=["^data$"])
    try:
        source.batch(0.1)
    finally:
        source.close()


CLIENTS: dict[str, Callable[[dict[str, str | int | float | bool]], object]] = {
    "a log": _log,
    "an append": _append,
    "the topics page": lambda config: topic_overviews(config, timeout=1.0),
    "an injection": lambda config: StreamProducer(config).ensure_topic(stream_spec("data")),
    "a logger": _logger,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_whoever_asks_is_told_of_the_wrong_password(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """And not that Kafka does not answer."""
    monkeypatch.setattr(group_source, "_TIMEOUT", 1.0)
    with pytest.raises(LogError) as caught:
        CLIENTS[client](secured.config(tmp_path, sasl_password="wrong"))
    assert REFUSES in str(caught.value), str(caught.value)


# ------------------------------------------------------------ rights


@pytest.fixture
def topic(secured: Secured) -> str:
    """A new topic, which nobody may use."""
    name = f"t{uuid.uuid4().hex[:12]}"
    log = KafkaLog({"bootstrap.servers": secured.at("plain")})
    log.create_topics([TopicSpec(name, 1, {})])
    log.close()
    return name


def test_a_missing_right_names_topic_operation_and_user(secured: Secured, tmp_path: Path, topic: str) -> None:
    """From right to right: describing, writing, creating, reading, deleting."""
    config = secured.config(tmp_path, user="alice")
    where = f"Kafka at {secured.at('secure')} does not allow user 'alice' the operation"

    def refused(do: Callable[[], object], operation: str, what: str) -> None:
        with pytest.raises(LogError) as caught:
            do()
        assert f"{where} {operation} on the {what}" in str(caught.value), str(caught.value)

    log = KafkaLog(config)
    try:
        refused(lambda: log.partitions(topic), "Describe", f"topic {topic}")
        refused(lambda: log.create_topics([TopicSpec(f"{topic}-new", 1, {})]), "Create", f"topic {topic}-new")
        secured.allow("alice", AclOperation.DESCRIBE, ResourceType.TOPIC, topic)
        until(lambda: not _refusal(lambda: log.partitions(topic)), what="the right to describe")
        refused(lambda: log.append(topic, [Outgoing(b"x")]), "Write", f"topic {topic}")
        secured.allow("alice", AclOperation.READ, ResourceType.GROUP, "mainstem-reader")
        until(lambda: "Read on the topic" in _refusal(lambda: log.cursor(topic, 0, 0).poll(PATIENCE)), what="reading")
        refused(lambda: log.cursor(topic, 0, 0).poll(PATIENCE), "Read", f"topic {topic}")
        refused(lambda: log.delete_topics([topic]), "Delete", f"topic {topic}")
    finally:
        log.close()
    producer = StreamProducer(config)
    producer.send(topic, b"x")
    refused(producer.flush, "Write", f"topic {topic}")
    producer.close(wait=False)
    refused(
        lambda: GroupSource(config, group="loggers", topics=[f"^{topic}$"]).batch(PATIENCE), "Read", "group loggers"
    )


def _refusal(do: Callable[[], object]) -> str:
    """What it is refused with; empty where it is not."""
    try:
        do()
    except LogError as error:
        return str(error)
    return ""


# ------------------------------------------------------------ commands


def test_injecting_says_it_in_a_line(secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At once, not after the time limit; so for a property that there is none of."""
    options = ["--bootstrap", secured.at("secure"), "--quiet", "--client-config"]
    assert dummy.main([*options, str(secured.file(tmp_path, sasl_password="wrong"))]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and REFUSES in told and told.count("\n") == 1
    assert dummy.main([*options, str(secured.file(tmp_path, sasl_usrname="x"))]) == 1
    told = capsys.readouterr().err
    assert told.endswith("librdkafka has no setting 'sasl.usrname'; is sasl.username meant?\n"), told


def test_doctor_and_up_say_it(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of a transport failure or a traceback."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", secured.at("secure"))
    monkeypatch.setenv("KML_CLOUD_CLIENT_CONFIG", str(secured.file(tmp_path, sasl_password="wrong")))
    monkeypatch.setattr(doctor, "SECONDS", PATIENCE)
    home = ["--home", str(tmp_path / "home")]
    cli.main(["doctor", *home])
    assert REFUSES in capsys.readouterr().out
    environment = {**os.environ, "MAINSTEM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "mainstem.cli", "up", "--port", "0"]
    done = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and REFUSES in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_record_from_a_wrong_clock_is_told_so(secured: Secured) -> None:
    """Kafka's own sentence, `Broker failed to validate record`, names no clock."""
    name = f"clock-{uuid.uuid4().hex[:8]}"
    producer = StreamProducer(client_config(secured.at("plain")))
    producer.ensure_topic(TopicSpec(name, 1, {"message.timestamp.before.max.ms": "0"}))
    producer.send(name, b"x")  # waits some milliseconds for others, and is too old then
    with pytest.raises(LogError, match=r"is this machine's clock right\? It says 20\d\d-.* UTC"):
        producer.flush()
    producer.close(wait=False)
