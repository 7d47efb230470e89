"""librdkafka settings: ours, and those of a site's property file (TLS, SCRAM, ...)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from mainstem.errors import ConfigError
from mainstem.kafka.client.properties import client_properties
from mainstem.kafka.client.property_names import NAMES, is_secret, unknown

Config = Mapping[str, str | int | float | bool]

_FILES: Final = tuple(f"ssl.{what}.location" for what in ("ca", "key", "certificate", "keystore", "crl"))


def client_config(bootstrap: str, properties: str | Path | None = None) -> dict[str, str | int | float | bool]:
    """Settings of any client of this cluster; raises ConfigError where librdkafka would not take those of the file.

    The file has `name=value` lines as librdkafka names them (`security.protocol`, `sasl.username`, ...), or is a Java
    client's: see `client_properties`.
    """
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "log_level": 2,  # a broker that is away would fill the logs: LogError tells of it
    }
    if properties:
        given = client_properties(Path(properties))
        config |= given
        try:
            _readable(given)
            AdminClient({**config, "log_level": 0})  # nothing else checks names, values and what the files hold
        except ConfigError as error:
            raise ConfigError(f"{properties}: {error}") from error
        except (KafkaException, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{properties}: {unusable(error, given)}") from None  # it may hold a password
    return config


def _readable(given: Mapping[str, str]) -> None:
    for name in _FILES:
        path = given.get(name, "")
        if path and (name, path) != ("ssl.ca.location", "probe") and not Path(path).is_dir():
            try:
                open(path, "rb").close()
            except OSError as error:
                raise ConfigError(f"{name} names {path!r}: {error.strerror}") from error


def unusable(error: Exception, given: Mapping[str, str]) -> str:
    """Why librdkafka takes no such settings, in a sentence without secrets."""
    first = error.args[0] if error.args else ""
    if not isinstance(first, KafkaError):  # names that mean something to its Python client alone
        return unknown(next((name for name in given if name not in NAMES), ""))
    text = re.sub(r"^Failed to create \w+ client: ", "", first.str()).strip()
    if named := re.search(r'No such configuration property: "(.*)"', text):
        return unknown(named[1])
    if invalid := re.search(r'Invalid value "(.*)" for configuration property "(.*)"', text, re.DOTALL):
        value, name = invalid[1], invalid[2]
        blank = ", and ends with a blank" if value != value.rstrip() else ""
        return f"{name} is not what it can be" if is_secret(name) else f"{name} cannot be {value!r}{blank}"
    if "No provider for SASL mechanism" in text:
        mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms"))
        what = f"sasl.mechanism {mechanism} is not built in here" if mechanism else "sasl.mechanism is missing"
        return f"{what}; PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are"
    if failed := re.match(r"(ssl\.(?:key|certificate|ca)\.location) failed", text):
        password = " that ssl.key.password opens" if failed[1] == "ssl.key.location" else ""
        what = "private key" if failed[1] == "ssl.key.location" else "certificate"
        return f"{failed[1]} names {given.get(failed[1], '')}, which holds no {what} in PEM form{password}"
    if any(value and value in text for name, value in given.items() if is_secret(name)):
        return "librdkafka does not take the settings for TLS and the login"
    return text
