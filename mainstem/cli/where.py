"""Which Kafka the commands mean: the environment's, else that of the platform in this home."""

from __future__ import annotations

import os

from mainstem.errors import ConfigError
from mainstem.kafka.config import client_config
from mainstem.platform.home import Home


def kafka_servers(home: Home) -> str:
    """`host:port` of the cloud's Kafka; raises ConfigError where nothing names one."""
    named = os.environ.get("KML_CLOUD_BOOTSTRAP_SERVERS", "").strip()
    running = home.running()
    if not named and running is None:
        raise ConfigError(
            f"no Kafka is known: {home.root} holds no platform; run this where `mainstem up` was started, or set "
            "MAINSTEM_HOME or KML_CLOUD_BOOTSTRAP_SERVERS"
        )
    return named or (running.kafka if running else "")


def data_servers(home: Home) -> str:
    """`host:port` of the data Kafka, the cloud's where no other is named."""
    return os.environ.get("DATA_BOOTSTRAP_SERVERS", "").strip() or kafka_servers(home)


def kafka_config(home: Home, servers: str | None = None) -> dict[str, str | int | float | bool]:
    """librdkafka settings for the cloud's Kafka, or for `servers`."""
    return client_config(servers or kafka_servers(home), os.environ.get("KML_CLOUD_CLIENT_CONFIG"))


def data_config(home: Home) -> dict[str, str | int | float | bool]:
    """librdkafka settings for the data's Kafka."""
    apart = os.environ.get("DATA_BOOTSTRAP_SERVERS", "").strip()
    return client_config(apart, os.environ.get("DATA_CLIENT_CONFIG")) if apart else kafka_config(home)
