"""A Java client's settings (`sasl.jaas.config`, `ssl.truststore.*` ...) in librdkafka's words. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from mainstem.errors import ConfigError

_FILES: Final = ("ssl.truststore.", "ssl.keystore.")
_JAVA_ONLY: Final = frozenset(
    """
    sasl.jaas.config ssl.keystore.type ssl.keystore.key ssl.keystore.certificate.chain ssl.enabled.protocols
    ssl.protocol ssl.provider ssl.trustmanager.algorithm ssl.keymanager.algorithm ssl.secure.random.implementation
    ssl.engine.factory.class sasl.client.callback.handler.class sasl.login.callback.handler.class sasl.login.class
    key.serializer value.serializer key.deserializer value.deserializer
    """.split()
)
_OF_THE_PROGRAM: Final = frozenset(
    """
    key.serializer value.serializer key.deserializer value.deserializer ssl.protocol ssl.provider
    ssl.trustmanager.algorithm ssl.keymanager.algorithm ssl.secure.random.implementation
    """.split()
)
"""What says how a Java program does its work, and nothing about the way into Kafka."""

_SAME: Final = ("ssl.keystore.location", "ssl.keystore.password")
"""librdkafka means a PKCS#12 file by them."""

_MODULES: Final = {"PlainLoginModule": "PLAIN", "ScramLoginModule": "SCRAM-SHA-512"}
_JAAS: Final = re.compile(r"\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b(.*?);?\s*", re.DOTALL | re.I)
_OPTION: Final = re.compile(
    r"""\s*([\w.$-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^\s;"']+))""", re.DOTALL
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b", "a": "\a", "v": "\v"}


def is_java(names: Iterable[str]) -> bool:
    """Whether these are the settings of a Java client."""
    return any(name in _JAVA_ONLY or name.startswith("ssl.truststore.") for name in names)


def translated(java: Mapping[str, str], where: str) -> dict[str, str]:
    """The same settings for librdkafka; raises ConfigError with what to write where there is no counterpart.

    `where` names the file. What librdkafka calls the same stays as it is.
    """
    given = {name: value for name, value in java.items() if name not in _OF_THE_PROGRAM}
    found: dict[str, str] = {}
    if "sasl.jaas.config" in given:
        found |= _login(given.pop("sasl.jaas.config"), where)
    found |= _trusted(given, where) | _own(given, where)
    if given.get("ssl.endpoint.identification.algorithm") == "":
        given["ssl.endpoint.identification.algorithm"] = "none"
    for name in given:
        if name in _JAVA_ONLY or (name.startswith(_FILES) and name not in _SAME):
            raise ConfigError(f"{where}: {name} is Java's, and has no counterpart in librdkafka: leave it out")
    return found | given


def _login(jaas: str, where: str) -> dict[str, str]:
    """User, password and a mechanism that fits; a `sasl.mechanism` of the file wins."""
    whole = _JAAS.fullmatch(jaas)
    module = whole[1].rpartition(".")[2] if whole else ""
    if whole is None or module not in _MODULES:
        what = f"asks for {module}" if module else 'does not read `a.LoginModule required name="value" ...;`'
        raise ConfigError(
            f"{where}: sasl.jaas.config {what}, which cannot be translated: write librdkafka's sasl.mechanism with "
            "sasl.username and sasl.password, or with sasl.oauthbearer.*"
        )
    options = {name: _plain(double or single) or bare for name, double, single, bare in _OPTION.findall(whole[2])}
    missing = [name for name in ("username", "password") if name not in options]
    if missing:
        raise ConfigError(f"{where}: sasl.jaas.config names no {missing[0]}")
    return {
        "sasl.mechanism": _MODULES[module],
        "sasl.username": options["username"],
        "sasl.password": options["password"],
    }


def _plain(quoted: str) -> str:
    """As Java's StreamTokenizer reads what stands between quotes."""
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted, flags=re.DOTALL)


def _trusted(given: dict[str, str], where: str) -> dict[str, str]:
    kind = given.pop("ssl.truststore.type", "JKS").upper()
    location, inline = given.pop("ssl.truststore.location", None), given.pop("ssl.truststore.certificates", None)
    given.pop("ssl.truststore.password", None)
    if inline is not None:
        return {"ssl.ca.pem": inline}
    if location is None:
        return {}
    if kind != "PEM":
        raise ConfigError(
            f"{where}: ssl.truststore.location is a Java key store ({kind}), which librdkafka does not read: write its "
            "certificates into a file (keytool -exportcert -rfc -keystore ... -alias ... -file ca.crt) and name it as "
            "ssl.ca.location"
        )
    return {"ssl.ca.location": location}


def _own(given: dict[str, str], where: str) -> dict[str, str]:
    kind = given.pop("ssl.keystore.type", "JKS").upper()
    key, chain = given.pop("ssl.keystore.key", None), given.pop("ssl.keystore.certificate.chain", None)
    if key is not None or chain is not None:
        return {"ssl.key.pem": key or "", "ssl.certificate.pem": chain or ""}
    location = given.get("ssl.keystore.location")
    if location is None or kind == "PKCS12":
        return {}
    if kind != "PEM":
        raise ConfigError(
            f"{where}: ssl.keystore.location is a Java key store ({kind}), which librdkafka does not read: convert it "
            "(keytool -importkeystore -srckeystore ... -destkeystore client.p12 -deststoretype PKCS12) and set "
            "ssl.keystore.type=PKCS12"
        )
    del given["ssl.keystore.location"]
    given.pop("ssl.keystore.password", None)
    return {"ssl.key.location": location, "ssl.certificate.location": location}
