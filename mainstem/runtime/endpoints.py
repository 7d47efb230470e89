"""Which Kafka: the cloud's, where the federations are, and that of the data streams. One rule for every process.

KML_CLOUD_BOOTSTRAP_SERVERS names the cloud's, DATA_BOOTSTRAP_SERVERS that of the data where it is another. Each has a
property file for TLS and a login, KML_CLOUD_CLIENT_CONFIG and DATA_CLIENT_CONFIG. The cloud's file counts for the data
too where both are one Kafka and the data have no file of their own; never for another Kafka, which would be shown the
cloud's password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mainstem.runtime.environ import optional

CLOUD_SERVERS: Final = "KML_CLOUD_BOOTSTRAP_SERVERS"
CLOUD_PROPERTIES: Final = "KML_CLOUD_CLIENT_CONFIG"
DATA_SERVERS: Final = "DATA_BOOTSTRAP_SERVERS"
DATA_PROPERTIES: Final = "DATA_CLIENT_CONFIG"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Kafka as its clients find it: `host:port,...`, empty where none is known, and the path of a property file."""

    servers: str
    properties: str | None = None


def cloud(environ: Mapping[str, str], *, otherwise: str = "") -> Endpoint:
    """The cloud's Kafka: the variable's, else that of the caller."""
    return Endpoint(optional(environ, CLOUD_SERVERS) or otherwise, optional(environ, CLOUD_PROPERTIES))


def data(environ: Mapping[str, str], *, otherwise: str = "") -> Endpoint:
    """The Kafka of the data streams, which is the cloud's unless another is named; `otherwise` as for `cloud`."""
    shared = cloud(environ, otherwise=otherwise)
    servers = optional(environ, DATA_SERVERS) or shared.servers
    own = optional(environ, DATA_PROPERTIES)
    return Endpoint(servers, own or (shared.properties if _brokers(servers) == _brokers(shared.servers) else None))


def data_environ(endpoint: Endpoint) -> dict[str, str]:
    """The variables that name this Kafka as that of the data, for a child process that sees no other."""
    named = {DATA_SERVERS: endpoint.servers, DATA_PROPERTIES: endpoint.properties}
    return {name: value for name, value in named.items() if value}


def _brokers(servers: str) -> set[str]:
    return {server.strip() for server in servers.split(",")}
