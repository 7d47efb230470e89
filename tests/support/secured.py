"""A broker with SASL, TLS and ACLs: a listener for each way of not getting in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.runtime.processes import free_port
from tests.support.certificates import Authority

USERS = {"mainstem": "not-a-password-of-anyone", "alice": "Größe\\ ist #1 ! "}
"""`mainstem` may do everything; `alice` only what a test allows. Her password has what files may lose."""


@dataclass(frozen=True, slots=True)
class Secured:
    """Where it listens.

    Listeners: secure, expired, foreign (a certificate for another host), mutual (asks for the client's certificate),
    login (SASL without TLS), six (IPv6), lost (sends its clients to a name that nobody finds), plain.
    """

    ports: dict[str, int]
    folder: Path
    authority: Authority
    stranger: Authority
    admin: AdminClient

    def at(self, listener: str) -> str:
        """`host:port` of one."""
        host = {"plain": "127.0.0.1", "six": "[::1]"}.get(listener, "localhost")
        return f"{host}:{self.ports[listener]}"

    def settings(self, user: str = "mainstem", **changes: str | None) -> dict[str, str]:
        """A client's; `changes` with `_` for the points, None takes a setting away."""
        found: dict[str, str | None] = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": USERS.get(user, "nobody's"),
            "ssl.ca.location": str(self.authority.certificate),
        }
        found |= {name.replace("_", "."): value for name, value in changes.items()}
        return {name: value for name, value in found.items() if value is not None}

    def file(self, folder: Path, user: str = "mainstem", **changes: str | None) -> Path:
        """The same as a property file."""
        path = folder / "client.properties"
        path.write_text("".join(f"{n}={v}\n" for n, v in self.settings(user, **changes).items()), "utf-8")
        return path

    def config(
        self, folder: Path, listener: str = "secure", user: str = "mainstem", **changes: str | None
    ) -> dict[str, str | int | float | bool]:
        """A client's settings out of such a file."""
        return client_config(self.at(listener), self.file(folder, user, **changes))

    def allow(self, user: str, operation: AclOperation, kind: ResourceType, name: str) -> None:
        """Give a right."""
        binding = AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )
        for future in self.admin.create_acls([binding]).values():
            future.result(30)


LISTENERS = {
    "plain": "PLAINTEXT", "secure": "SASL_SSL", "expired": "SASL_SSL", "foreign": "SASL_SSL", "mutual": "SSL",
    "login": "SASL_PLAINTEXT", "six": "PLAINTEXT", "lost": "SASL_SSL", "controller": "PLAINTEXT",
}  # fmt: skip


@contextmanager
def secured_kafka(folder: Path) -> Iterator[Secured]:
    """The broker with its users; whoever comes to its plain listener may do everything."""
    authority, stranger = Authority.made(folder, "authority"), Authority.made(folder, "stranger")
    good = authority.issue(folder, "good", "localhost")
    stores = {
        "secure": good, "mutual": good, "lost": good,
        "expired": authority.issue(folder, "expired", "localhost", days=-1),
        "foreign": authority.issue(folder, "foreign", "kafka.example.org"),
    }  # fmt: skip
    ports = {name: free_port() for name in LISTENERS}
    names = {name: "CLIENT" if name == "plain" else name.upper() for name in LISTENERS}
    hosts = dict.fromkeys(LISTENERS, "localhost") | {"plain": "127.0.0.1", "six": "[::1]", "lost": "broker.invalid"}
    config = {
        "listeners": ",".join(
            f"{names[n]}://{'[::1]' if n == 'six' else '127.0.0.1'}:{port}" for n, port in ports.items()
        ),
        "advertised.listeners": ",".join(
            f"{names[n]}://{hosts[n]}:{port}" for n, port in ports.items() if n != "controller"
        ),
        "listener.security.protocol.map": ",".join(f"{names[n]}:{kind}" for n, kind in LISTENERS.items()),
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports['controller']}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:mainstem",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.login.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.login.plain.sasl.jaas.config": (
            'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="{}";'.format(
                USERS["alice"].replace("\\", "\\\\")
            )
        ),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": str(authority.certificate),
    }
    for name, store in stores.items():
        config[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
        config[f"listener.name.{name}.ssl.keystore.location"] = str(store)
    for name, kind in LISTENERS.items():
        if kind.startswith("SASL"):
            config[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            )
    with EmbeddedKafka(port=ports["plain"], config=config) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(user, credential, word.encode()) for user, word in USERS.items()
        ]
        for future in admin.alter_user_scram_credentials(users).values():
            future.result(30)
        yield Secured(ports, folder, authority, stranger, admin)
