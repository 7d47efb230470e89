"""A broker with TLS and SCRAM, reached with the client configuration that the production overlay shows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from mainstem import topics
from mainstem.errors import LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.kafka.log import KafkaLog
from mainstem.ports import Outgoing
from mainstem.processes import free_port

pytestmark = pytest.mark.kafka

EXAMPLE = Path(__file__).parents[2] / "kustomize/production/client.properties.example"
USER, PASSWORD = "mainstem", "not-a-password-of-anyone"


@dataclass(frozen=True, slots=True)
class Secured:
    """Where it listens with TLS, and what vouches for it."""

    servers: str
    authority: Path

    def properties(self, folder: Path, password: str = PASSWORD) -> Path:
        """The overlay's example, with this broker's password and authority in it."""
        text = EXAMPLE.read_text().replace("YOUR-PASSWORD", password)
        path = folder / "client.properties"
        path.write_text(text.replace("/etc/mainstem/kafka/ca.crt", str(self.authority)))
        return path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One node with a certificate for localhost; SCRAM users are made over its plain listener."""
    folder = tmp_path_factory.mktemp("secured")
    key, certificate, store = (folder / name for name in ("tls.key", "ca.crt", "store.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    store.write_text(key.read_text() + certificate.read_text())
    plain, secure, controller = free_port(), free_port(), free_port()
    settings = {
        "listeners": f"CLIENT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{plain},SECURE://localhost:{secure}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": str(store),
        "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config":
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    }  # fmt: skip
    with EmbeddedKafka(port=plain, config=settings) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        made = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())])
        for future in made.values():
            future.result(20)
        yield Secured(f"localhost:{secure}", certificate)


def test_the_overlay_s_client_configuration_works(secured: Secured, tmp_path: Path) -> None:
    """Topics are made, records written and read, all over TLS and SCRAM."""
    log = KafkaLog(client_config(secured.servers, secured.properties(tmp_path)))
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


def test_a_wrong_password_is_an_error_in_time(secured: Secured, tmp_path: Path) -> None:
    """It does not hang, and nothing is let in."""
    log = KafkaLog(client_config(secured.servers, secured.properties(tmp_path, "wrong")), timeout=5.0)
    try:
        with pytest.raises(LogError):
            log.create_topics(topics.shared_topics())
    finally:
        log.close()


def test_a_client_without_tls_gets_nothing(secured: Secured) -> None:
    """The secured listener speaks to nobody in plaintext."""
    log = KafkaLog(client_config(secured.servers), timeout=5.0)
    try:
        with pytest.raises(LogError):
            log.partitions(topics.MODEL_CONTROL)
    finally:
        log.close()
