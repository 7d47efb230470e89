"""Knocking at Kafka's door: why a client does not get in, found out by trying once its own call has failed."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client import access, probe
from mainstem.kafka.client.access import Certificate, ErrorReport, Listener
from mainstem.runtime.addresses import address, host_and_port

Config = Mapping[str, Any]

SECONDS: float = 5.0
"""How long to knock."""
REMEMBERED: Final = 5.0
"""Seconds for which an answer holds: many calls fail at a time."""

CONNECT_SECONDS: float = 3.0
_OTHERS: Final = ("group.id", "transactional.id", "statistics.interval.ms")
"""Settings of what a client does once it is in; its callbacks are the others."""
_NO_CHECK_TIME, _PARTIAL_CHAIN = 0x200000, 0x80000  # OpenSSL's X509_V_FLAGs

_lock = threading.Lock()
_known: dict[int, tuple[float, str | None]] = {}


def explanation(config: Config, error: KafkaError, operation: str = "Describe", name: str = "") -> str:
    """What a failed call tells people: why Kafka refuses, else librdkafka's own words.

    `operation` and `name` are the right that the call needs and the topic that it needs it for. Where the call only
    got no answer, it is found out why: that may take `SECONDS`.
    """
    code, words = error.code(), str(error.str() or error.name())
    if code in access.SILENT:
        return closed(config) or f"Kafka at {config.get('bootstrap.servers')} does not answer: {words}"
    return access.missing_right(config, code, operation, name) or access.clock(code, datetime.now(UTC)) or words


def closed(config: Config) -> str | None:
    """Why a new client gets in nowhere; None where it gets in. Asked again within `REMEMBERED` it says the same."""
    key = hash(frozenset((name, str(value)) for name, value in _way_in(config).items()))
    with _lock:
        asked, answer = _known.get(key, (float("-inf"), None))
        if time.monotonic() - asked > REMEMBERED:
            answer = None
            try:
                knock(config, SECONDS)
            except LogError as error:
                answer = str(error)
            _known[key] = time.monotonic(), answer
        return answer


def knock(config: Config, seconds: float) -> int:
    """Get in, trying for so long; how many brokers there are. Raises LogError saying why it did not work.

    Who is refused is told at once; that nothing answers is known only at the end.
    """
    heard: list[ErrorReport] = []
    settings = _way_in(config)
    settings |= {"log_level": 0, "error_cb": lambda error: heard.append(ErrorReport(error.code(), error.str()))}
    client = AdminClient(settings)
    deadline = time.monotonic() + seconds
    while True:
        try:
            brokers = client.list_topics(timeout=max(0.1, min(0.25, deadline - time.monotonic()))).brokers
        except KafkaException:
            client.poll(0)
        else:
            _reach(config, [(str(b.host), b.port) for b in brokers.values()])
            return len(brokers)
        down = any(one.code == KafkaError._ALL_BROKERS_DOWN for one in heard)
        if down and (why := _explained(config, heard)):
            raise LogError(why)
        if time.monotonic() > deadline:
            said = access.unreachable(heard) or f"nothing came within {seconds:g} s"
            raise LogError(f"Kafka at {config['bootstrap.servers']} does not answer: {said}")
        time.sleep(0.02)


def _way_in(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _OTHERS and not name.endswith("_cb")}


def _explained(config: Config, heard: list[ErrorReport]) -> str | None:
    """Why this client is not let in, where that is certain."""
    broker = access.unverified(heard)
    if broker and (certificate := _certificate(config, broker)):
        return access.distrust(config, broker, certificate)
    if why := access.refusal(config, heard):
        return why
    if access.unreachable(heard):
        return None  # it may be about to start
    for server in str(config["bootstrap.servers"]).split(","):
        with contextlib.suppress(OSError, ConfigError):
            host, port = host_and_port(server.strip().rpartition("://")[2])
            with socket.create_connection((host, port), CONNECT_SECONDS):
                pass
            tls = _peer(host, port) is not None
            listener = Listener(not tls and probe.answers(port, CONNECT_SECONDS, host), tls)
            if why := access.misplaced(config, address(host, port), listener):
                return why
    return None


def _reach(config: Config, brokers: Iterable[tuple[str, int]]) -> None:
    """Raises LogError where none of the brokers is reached at the address that the cluster tells of it."""
    why = ""
    for host, port in brokers:
        try:
            with socket.create_connection((host, port), CONNECT_SECONDS):
                return
        except OSError as error:
            said = error.strerror or "no answer"
            why = access.astray(address(host, port), config["bootstrap.servers"], said)
    if why:
        raise LogError(why)


def _peer(host: str, port: int) -> bytes | None:
    """The certificate of what speaks TLS there, as it is; None where nothing does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((host, port), CONNECT_SECONDS) as there:
        with context.wrap_socket(there, server_hostname=host) as wrapped:
            return wrapped.getpeercert(binary_form=True)
    return None


def _certificate(config: Config, broker: str) -> Certificate | None:
    """What is wrong with the broker's certificate, tried by ourselves: librdkafka only says that something is."""
    try:
        host, port = host_and_port(broker)
        authorities = config.get("ssl.ca.location") or None
        folder = authorities is not None and Path(authorities).is_dir()
        trust = ssl.create_default_context(
            cafile=None if folder or authorities == "probe" else authorities,
            capath=authorities if folder else None,
            cadata=config.get("ssl.ca.pem"),
        )
        trust.check_hostname = config.get("ssl.endpoint.identification.algorithm", "https") != "none"
        _shake(trust, host, port)
    except ssl.SSLCertVerificationError as error:
        return _described(host, port, error)
    except (ConfigError, OSError):
        return None
    return None


def _described(host: str, port: int, error: ssl.SSLCertVerificationError) -> Certificate:
    code, reason = error.verify_code, error.verify_message
    said: dict[str, Any] = {}
    if der := _peer(host, port):
        itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusting it alone, so that it can be read
        itself.check_hostname = False
        itself.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME | _PARTIAL_CHAIN)
        with contextlib.suppress(OSError):
            itself.load_verify_locations(cadata=der)
            said = _shake(itself, host, port)
    names = tuple(str(value) for _, value in said.get("subjectAltName", ()))
    issuer = ", ".join(f"{key}={value}" for part in said.get("issuer", ()) for key, value in part)
    begins, ends = (
        ssl.cert_time_to_seconds(said[when]) if when in said else None for when in ("notBefore", "notAfter")
    )
    return Certificate(code, reason, names, issuer, begins, ends)


def _shake(context: ssl.SSLContext, host: str, port: int) -> dict[str, Any]:
    with socket.create_connection((host, port), CONNECT_SECONDS) as there:
        with context.wrap_socket(there, server_hostname=host) as wrapped:
            return dict(wrapped.getpeercert() or {})
