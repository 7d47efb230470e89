"""Which Kafka the commands mean: the environment's, else that of the platform in this home."""

from __future__ import annotations

import os

from mainstem.errors import ConfigError
from mainstem.kafka.client.config import client_config
from mainstem.platform.home import Home
from mainstem.runtime import endpoints
from mainstem.runtime.endpoints import Endpoint


def cloud_kafka(home: Home) -> Endpoint:
    """The cloud's Kafka; raises ConfigError where nothing names one."""
    return _known(home, endpoints.cloud(os.environ, otherwise=_running(home)))


def data_kafka(home: Home) -> Endpoint:
    """The data's Kafka, the cloud's where no other is named; raises ConfigError likewise."""
    return _known(home, endpoints.data(os.environ, otherwise=_running(home)))


def kafka_config(home: Home, servers: str | None = None) -> dict[str, str | int | float | bool]:
    """librdkafka settings for the cloud's Kafka, or for `servers` with the cloud's property file."""
    if servers:
        return client_config(servers, endpoints.cloud(os.environ).properties)
    kafka = cloud_kafka(home)
    return client_config(kafka.servers, kafka.properties)


def data_config(home: Home) -> dict[str, str | int | float | bool]:
    """librdkafka settings for the data's Kafka."""
    kafka = data_kafka(home)
    return client_config(kafka.servers, kafka.properties)


def _running(home: Home) -> str:
    running = home.running()
    return running.kafka if running else ""


def _known(home: Home, kafka: Endpoint) -> Endpoint:
    if not kafka.servers:
        raise ConfigError(
            f"no Kafka is known: {home.root} holds no platform; run this where `mainstem up` was started, or set "
            "MAINSTEM_HOME or KML_CLOUD_BOOTSTRAP_SERVERS"
        )
    return kafka
