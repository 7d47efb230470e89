"""A broker as the only process of a container: settings from the environment, then this process becomes Java.

    MAINSTEM_KAFKA_ADVERTISED=kafka:9092 MAINSTEM_KAFKA_EXTERNAL=localhost:31162 python -m mainstem.kafka.broker.node

One node that is controller and broker, in plaintext: who may reach it is for the network to say. Clients inside come
to port 9092, those outside, where MAINSTEM_KAFKA_EXTERNAL says how they find it, to 9094. SIGTERM ends it cleanly.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mainstem.errors import BrokerError, ConfigError
from mainstem.kafka.broker import java, storage
from mainstem.kafka.client.properties import broker_properties
from mainstem.runtime.addresses import address, host_and_port
from mainstem.runtime.program import Program, run
from mainstem.runtime.variables import LOGS, Variable

CLIENT_PORT, CONTROLLER_PORT, EXTERNAL_PORT = 9092, 9093, 9094
DEFAULT_DATA = "/var/lib/mainstem"
DEFAULT_HEAP = "256m"

_HEAP = re.compile(r"[1-9][0-9]*[mg]")


def node_properties(environ: Mapping[str, str], data: Path) -> dict[str, str]:
    """`server.properties`; raises ConfigError naming the variable.

    MAINSTEM_KAFKA_ADVERTISED and MAINSTEM_KAFKA_EXTERNAL are host:port (`[::1]:9092` for IPv6) as clients reach the two
    listeners; without the latter there is no second one. MAINSTEM_KAFKA_CONFIG names a property file, written as Java
    reads them, whose lines win over ours.
    """
    inside = _address(environ, "MAINSTEM_KAFKA_ADVERTISED", f"localhost:{CLIENT_PORT}")
    listeners = [f"CLIENT://{_any(inside)}:{CLIENT_PORT}", f"CONTROLLER://127.0.0.1:{CONTROLLER_PORT}"]
    advertised = [f"CLIENT://{inside}"]
    protocols = ["CLIENT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
    if outside := _address(environ, "MAINSTEM_KAFKA_EXTERNAL", ""):
        listeners.append(f"EXTERNAL://{_any(outside)}:{EXTERNAL_PORT}")
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


def _any(advertised: str) -> str:
    """All of this machine's addresses of the advertised one's kind; those of IPv6 take IPv4's along."""
    return "[::]" if advertised.startswith("[") else "0.0.0.0"  # noqa: S104


def _address(environ: Mapping[str, str], name: str, default: str) -> str:
    value = environ.get(name, "").strip() or default
    try:
        return address(*host_and_port(value)) if value else ""
    except ConfigError as error:
        raise ConfigError(f"{name} is {value!r}; {error}") from error


def broker_command(environ: Mapping[str, str]) -> list[str]:
    """Make the directory MAINSTEM_KAFKA_DATA ready; the command line that runs the broker on it.

    Raises ConfigError, BrokerError or OSError.
    """
    directory = Path(environ.get("MAINSTEM_KAFKA_DATA", "").strip() or DEFAULT_DATA)
    heap = environ.get("MAINSTEM_KAFKA_HEAP", "").strip() or DEFAULT_HEAP
    if not _HEAP.fullmatch(heap):
        raise ConfigError(f"MAINSTEM_KAFKA_HEAP is {heap!r}; it must be as Java's -Xmx takes it, such as 512m")
    data, settings = directory / "data", directory / "server.properties"
    storage.write_properties(settings, node_properties(environ, data))
    storage.format_data(data)
    return [*java.command(heap), "kafka.Kafka", str(settings)]


PROGRAM = Program(
    "mainstem.kafka.broker.node",
    "kafka",
    "Become a broker, as the only process of a container: one node that is controller and broker, in plaintext.",
    {
        "The broker": (
            Variable("MAINSTEM_KAFKA_ADVERTISED", "host:port as clients inside reach it", f"localhost:{CLIENT_PORT}"),
            Variable("MAINSTEM_KAFKA_EXTERNAL", "host:port as those outside do", otherwise="no second listener"),
            Variable("MAINSTEM_KAFKA_CONFIG", "a file of the broker's own settings", otherwise="none"),
            Variable("MAINSTEM_KAFKA_DATA", "where it keeps its log", DEFAULT_DATA),
            Variable("MAINSTEM_KAFKA_HEAP", "Java heap, as for -Xmx", DEFAULT_HEAP),
        ),
        "Its log, until it is Java": LOGS,
    },
)


def main(arguments: list[str] | None = None) -> int:
    """Become the broker, or fail with a sentence."""
    return run(PROGRAM, _become, arguments)


def _become(options: argparse.Namespace, stop: threading.Event) -> NoReturn:
    try:
        command = broker_command(os.environ)
        os.execv(command[0], command)  # noqa: S606  our own command; process 1 gets the signals
    except OSError as error:
        raise BrokerError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
