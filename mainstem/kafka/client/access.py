"""Why a client does not get into Kafka, or may not do there what it wants, in a sentence. No I/O.

librdkafka tells it in codes and phrases of its own, and mostly not to the call that fails. A sentence names the broker,
the user, and what to set; never a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import KafkaError

Config = Mapping[str, object]

PLACE: Final = re.compile(r"(?:\w+://)?(\[[^\]]+\]:\d+|[^\s/]+:\d+)/(\w+): ")
"""How librdkafka begins what it tells of a broker: `sasl_ssl://host:port/bootstrap: ` or `.../1: `."""

_RIGHTS: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional-id",
}
_CLOCK: Final = (KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD)

SILENT: Final = frozenset(
    (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._AUTHENTICATION,
    )
)
"""What a call is told where its client does not get in, whatever the reason."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What a client told beside its calls: a code of KafkaError, and librdkafka's text."""

    code: int
    text: str

    @property
    def broker(self) -> str:
        """`host:port` of the broker that it is about; empty where it is about none."""
        found = PLACE.match(self.text)
        return found[1] if found else ""

    @property
    def announced(self) -> bool:
        """Whether the broker's address is one that the cluster named, and not one of `bootstrap.servers`."""
        found = PLACE.match(self.text)
        return found is not None and found[2] != "bootstrap"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A broker's certificate that does not verify: OpenSSL's code and reason, and what the certificate says."""

    code: int
    reason: str
    names: tuple[str, ...] = ()
    issuer: str = ""
    begins: float | None = None
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """What listens at an address: whether it speaks Kafka in plain, whether it speaks TLS."""

    kafka: bool
    tls: bool


def user(config: Config) -> str:
    """Whom Kafka takes this client for."""
    if "SASL" in str(config.get("security.protocol", "")).upper() and config.get("sasl.username"):
        return f"user {config['sasl.username']!r}"
    if config.get("ssl.certificate.location") or config.get("ssl.keystore.location"):
        certificate = config.get("ssl.certificate.location") or config["ssl.keystore.location"]
        return f"the holder of the certificate {certificate}"
    return "whoever comes without a login (User:ANONYMOUS)"


def missing_right(config: Config, code: int, operation: str, name: str) -> str | None:
    """That Kafka lets this user in, but not do this; None where the code is no such refusal.

    `operation` and `name` are what was wanted of which topic (`Read`, `data`), as Kafka's ACLs call it.
    """
    kind = _RIGHTS.get(code)
    if kind is None:
        return None
    if kind == "group":
        operation, name = "Read", str(config.get("group.id") or name)
    elif kind == "cluster" and operation == "Write":  # an idempotent producer may where it may write to any topic
        kind = "topic"
    elif kind == "cluster":
        name = ""
    elif kind == "transactional-id":
        operation, name = "Write", str(config.get("transactional.id") or name)
    what = f"{kind} {name}".strip()
    flag = f"--{kind} {name}".strip()
    return (
        f"Kafka at {config.get('bootstrap.servers')} does not allow {user(config)} the operation {operation} on the "
        f"{what}: who looks after it can grant that (kafka-acls --add --operation {operation} {flag} "
        "--allow-principal User:...)"
    )


def clock(code: int, now: datetime) -> str | None:
    """Why a record was refused, where its time stamp may be the reason."""
    if code not in _CLOCK:
        return None
    return (
        f"Kafka refused the record as invalid: is this machine's clock right? It says {_moment(now.timestamp())}, and "
        "Kafka takes no record that is further from its own clock than the topic allows "
        "(message.timestamp.after.max.ms, usually one hour ahead). A compacted topic takes none without a key either"
    )


def refusal(config: Config, heard: Sequence[ErrorReport]) -> str | None:
    """Why this client is not let in, from the last that was heard about it; None where nobody has refused it.

    A certificate that does not verify is told without the reason: see `distrust`.
    """
    for one in reversed(heard):
        where = f"Kafka at {one.broker or config.get('bootstrap.servers')}"
        if one.code == KafkaError._AUTHENTICATION:
            return _login(config, where, one.text)
        if one.code == KafkaError._RESOLVE:
            return _unresolved(config, one)
        if "certificate required" in one.text or "alert handshake failure" in one.text:
            return f"{where} asks for a certificate of the client: set ssl.certificate.location and ssl.key.location"
        if alert := re.search(r"alert (unknown ca|bad certificate|certificate \w+)", one.text):
            named = config.get("ssl.certificate.location") or config.get("ssl.keystore.location")
            return f"{where} does not take the client's certificate {named}: it answers {alert[1]!r}"
        if one.code == KafkaError._SSL:
            return f"there is no TLS with {where}: {reason(one.text)}"
    return None


def barred(config: Config, heard: Sequence[ErrorReport]) -> str | None:
    """As `refusal`, where no broker is left that may still let this client in."""
    down = any(one.code == KafkaError._ALL_BROKERS_DOWN for one in heard)
    return refusal(config, heard) if down else None


def unverified(heard: Sequence[ErrorReport]) -> str:
    """`host:port` of the last broker whose certificate did not verify; empty where there is none."""
    return next((h.broker for h in reversed(heard) if "certificate verify failed" in h.text), "")


def distrust(config: Config, broker: str, certificate: Certificate) -> str:
    """What is wrong with a broker's certificate."""
    where = f"the certificate of Kafka at {broker}"
    if certificate.code == 10 and certificate.ends is not None:
        return f"{where} expired at {_moment(certificate.ends)}: it must be renewed there"
    if certificate.code == 9 and certificate.begins is not None:
        return f"{where} holds from {_moment(certificate.begins)} on only: is this machine's clock right?"
    if certificate.code in (62, 64):
        names = ", ".join(certificate.names) or "no name at all"
        host = broker.rpartition(":")[0].strip("[]")
        return f"{where} is for {names}, not for {host}: name the broker so, or have a certificate made for {host}"
    if certificate.code in (2, 18, 19, 20, 21):
        by = certificate.issuer or "an authority without a name"
        given = next((config[name] for name in ("ssl.ca.location", "ssl.ca.pem") if config.get(name)), None)
        known = f"no authority in ssl.ca.location ({given})" if given else "none of this machine's authorities"
        known = "no authority in ssl.ca.pem" if given and not config.get("ssl.ca.location") else known
        return f"{where} is issued by {by}, which is {known}: put that authority's certificate there"
    return f"{where} does not verify: {certificate.reason}"


def misplaced(config: Config, broker: str, listener: Listener) -> str | None:
    """What is wrong with `security.protocol`, where what listens at the broker's address speaks otherwise."""
    protocol = str(config.get("security.protocol", "plaintext")).upper()
    where = f"Kafka at {broker}"
    if "SSL" in protocol:
        if listener.tls:
            return None if "SASL" in protocol else _no_login(where, protocol, "SASL_SSL")
        if listener.kafka:
            plain = protocol.replace("SASL_SSL", "SASL_PLAINTEXT").replace("SSL", "PLAINTEXT", protocol == "SSL")
            return (
                f"{where} speaks no TLS there, and security.protocol is {protocol}: set {plain}, or take another port"
            )
    elif listener.tls:
        secure = "SASL_SSL" if "SASL" in protocol else "SSL or SASL_SSL"
        return f"{where} speaks TLS there, and security.protocol is {protocol}: set {secure}"
    elif listener.kafka:
        return None if "SASL" in protocol else _no_login(where, protocol, "SASL_PLAINTEXT")
    return f"what listens at {broker} does not speak as Kafka does: is the port right?"


def unreachable(heard: Sequence[ErrorReport]) -> str:
    """What became of the last attempt to connect; empty where there was none that failed."""
    for one in reversed(heard):
        if one.code == KafkaError._TRANSPORT and (found := re.search(r"Connect to \S+ failed: ([^(]*)", one.text)):
            said = found[1].strip()
            if "refused" in said:
                return f"nothing listens at {one.broker}: {said}"
            return f"no way leads to {one.broker}: {said}"
    return ""


def astray(announced: str, bootstrap: object, why: str) -> str:
    """That the cluster sends its clients to an address that this machine does not reach."""
    return (
        f"Kafka at {bootstrap} sends its clients on to {announced}, which does not work from here: {why}. Its "
        "advertised.listeners must be an address that clients reach"
    )


def reason(text: str) -> str:
    """librdkafka's text without its broker and its state."""
    return re.sub(r" \(after \d+ms in state \w+.*\)$", "", PLACE.sub("", text, count=1))


def _login(config: Config, where: str, text: str) -> str:
    mechanism = config.get("sasl.mechanism") or config.get("sasl.mechanisms") or "GSSAPI"
    if offered := re.search(r"supported mechanisms: ?([\w,-]*)", text):
        if offered[1]:
            return f"{where} offers no login by {mechanism}, only by {offered[1]}: set sasl.mechanism"
        plain = "SSL" if str(config.get("security.protocol", "")).upper() == "SASL_SSL" else "PLAINTEXT"
        return f"{where} asks for no login there: set security.protocol to {plain}, or take the port that does"
    said = "" if re.search("invalid credentials|Authentication failed", text) else f" ({reason(text)})"
    password = str(config.get("sasl.password", ""))
    blank = "; the password given ends with a blank" if password != password.rstrip() else ""
    return (
        f"{where} refuses {user(config)} with {mechanism}: the user is not known there, or the password is another"
        f"{blank}{said} (sasl.username, sasl.password)"
    )


def _unresolved(config: Config, heard: ErrorReport) -> str:
    host = heard.broker.rpartition(":")[0]
    if heard.announced:
        return astray(heard.broker, config.get("bootstrap.servers"), "Name or service not known")
    return f"this machine finds no address for the name {host} of {heard.broker}: is it spelt right?"


def _no_login(where: str, protocol: str, secure: str) -> str:
    return (
        f"{where} closes the connection of a client without a login, and security.protocol is {protocol}: "
        f"set {secure}, with sasl.mechanism, sasl.username and sasl.password"
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
