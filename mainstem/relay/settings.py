"""A logger's settings from its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mainstem.errors import ConfigError
from mainstem.runtime import endpoints
from mainstem.runtime.api_token import token_from
from mainstem.runtime.endpoints import Endpoint
from mainstem.runtime.environ import optional

DEFAULT_API = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """Which Kafka, which backend, which token."""

    bootstrap: str
    client_config: str | None
    api: str
    token: Callable[[], str]

    @staticmethod
    def for_cloud(environ: Mapping[str, str]) -> LoggerSettings:
        """Of the logger that reads the cloud's Kafka; raises ConfigError naming the variable."""
        return _settings(environ, endpoints.cloud(environ), endpoints.CLOUD_SERVERS, "cloud")

    @staticmethod
    def for_data(environ: Mapping[str, str]) -> LoggerSettings:
        """Of the logger that reads the data Kafka, which defaults to the cloud's; raises ConfigError."""
        return _settings(environ, endpoints.data(environ), endpoints.DATA_SERVERS, "data")


def _settings(environ: Mapping[str, str], kafka: Endpoint, variable: str, whose: str) -> LoggerSettings:
    if not kafka.servers:
        raise ConfigError(f"environment variable {variable} is missing: give the {whose} Kafka's host:port")
    api = optional(environ, "MAINSTEM_API") or DEFAULT_API
    return LoggerSettings(kafka.servers, kafka.properties, api, token_from(environ, "a logger's token"))
