"""A broker as the only process of a container: settings from the environment, then this process becomes Java.

    MAINSTEM_KAFKA_ADVERTISED=kafka:9092 MAINSTEM_KAFKA_EXTERNAL=localhost:31162 python -m mainstem.kafka.node

One node that is controller and broker, in plaintext: who may reach it is for the network to say. Clients inside come
to port 9092, those outside, where MAINSTEM_KAFKA_EXTERNAL says how they find it, to 9094. SIGTERM ends it cleanly.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mainstem.errors import ConfigError, MainstemError
from mainstem.kafka import java, storage
from mainstem.kafka.properties import broker_properties

CLIENT_PORT, CONTROLLER_PORT, EXTERNAL_PORT = 9092, 9093, 9094
DEFAULT_DATA = "/var/lib/mainstem"

_ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
_HEAP = re.compile(r"[1-9][0-9]*[mg]")


def node_properties(environ: Mapping[str, str], data: Path) -> dict[str, str]:
    """`server.properties`; raises ConfigError naming the variable.

    MAINSTEM_KAFKA_ADVERTISED and MAINSTEM_KAFKA_EXTERNAL are host:port as clients reach the two listeners; without
    the latter there is no second one. MAINSTEM_KAFKA_CONFIG names a property file whose lines win over ours.
    """
    listeners = [f"CLIENT://0.0.0.0:{CLIENT_PORT}", f"CONTROLLER://127.0.0.1:{CONTROLLER_PORT}"]
    advertised = [f"CLIENT://{_address(environ, 'MAINSTEM_KAFKA_ADVERTISED', f'localhost:{CLIENT_PORT}')}"]
    protocols = ["CLIENT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
    if outside := _address(environ, "MAINSTEM_KAFKA_EXTERNAL", ""):
        listeners.append(f"EXTERNAL://0.0.0.0:{EXTERNAL_PORT}")
        advertised.append(f"EXTERNAL://{outside}")
        protocols.append("EXTERNAL:PLAINTEXT")
    extra = {
        # There is no other node to take over: being fenced on a busy machine would only cost. Kafka's own default.
        "broker.session.timeout.ms": "9000",
        "broker.heartbeat.interval.ms": "1000",
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(protocols),
    }
    if path := environ.get("MAINSTEM_KAFKA_CONFIG", "").strip():
        extra |= broker_properties(Path(path))
    return storage.properties(data, CLIENT_PORT, CONTROLLER_PORT, extra)


def _address(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, "").strip() or default
    if value and not _ADDRESS.fullmatch(value):
        raise ConfigError(f"{name} is {value!r}; it must be host:port")
    return value


def broker_command(environ: Mapping[str, str]) -> list[str]:
    """Make the directory MAINSTEM_KAFKA_DATA ready; the command line that runs the broker on it.

    Raises ConfigError, BrokerError or OSError.
    """
    directory = Path(environ.get("MAINSTEM_KAFKA_DATA", "").strip() or DEFAULT_DATA)
    heap = environ.get("MAINSTEM_KAFKA_HEAP", "").strip() or "256m"
    if not _HEAP.fullmatch(heap):
        raise ConfigError(f"MAINSTEM_KAFKA_HEAP is {heap!r}; it must be as Java's -Xmx takes it, such as 512m")
    data, settings = directory / "data", directory / "server.properties"
    storage.write_properties(settings, node_properties(environ, data))
    storage.format_data(data)
    return [*java.command(heap), "kafka.Kafka", str(settings)]


def main() -> NoReturn:
    """Become the broker, or exit with 1 and a sentence."""
    try:
        command = broker_command(os.environ)
        os.execv(command[0], command)  # noqa: S606  our own command; process 1 gets the signals
    except (MainstemError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
