"""Which processes make the platform, with which environment, and at which ports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from mainstem.errors import ConfigError
from mainstem.platform.children import ProcessChild
from mainstem.platform.home import Home
from mainstem.protocol.signing import SITE_KEY_FILE
from mainstem.runtime import endpoints
from mainstem.runtime.metrics.port import HOST as METRICS_HOST
from mainstem.runtime.metrics.port import PORT as METRICS_PORT
from mainstem.runtime.metrics.port import port_of
from mainstem.runtime.processes import next_free_port, port_is_free
from mainstem.runtime.site import site_of

HOST = "127.0.0.1"
PORT, KAFKA_PORT = 8000, 9092
LEASE = "MAINSTEM_LEASE"  # the variable with the random name of who has the database


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this platform is reached. `kafka_port` is None on a Kafka that is not ours."""

    port: int
    kafka: str
    kafka_port: int | None

    @property
    def web(self) -> str:
        """The web UI; the API is below it at /api/."""
        return f"http://{HOST}:{self.port}"


def choose_port(asked: int | None, remembered: int | None, usual: int, option: str) -> int:
    """The port to listen on: as asked, else as last time, else the usual one or the next that is free.

    Raises ConfigError when the port that was asked for is taken.
    """
    if asked is not None:
        if not port_is_free(asked, HOST):
            raise ConfigError(f"{option} {asked} is already in use: end what uses it, or choose another port")
        return asked
    if remembered is not None and port_is_free(remembered, HOST):
        return remembered
    return next_free_port(usual, HOST)


def environment(home: Home, addresses: Addresses, *, log_json: bool) -> dict[str, str]:
    """What every process gets: this process's environment and the platform's variables, but no secret."""
    inherited = {name: value for name, value in os.environ.items() if not _is_secret(name)}
    ours = {
        endpoints.CLOUD_SERVERS: addresses.kafka,
        **endpoints.data_environ(endpoints.data({**inherited, endpoints.CLOUD_SERVERS: addresses.kafka})),
        "MAINSTEM_HOME": str(home.root),
        "MAINSTEM_API": addresses.web,
        "MAINSTEM_LOG_STREAM": "off",
        SITE_KEY_FILE: inherited.get(SITE_KEY_FILE) or str(home.site_key),
        "DATABASE_URL": inherited.get("DATABASE_URL") or home.database_url,
        "PYTHONUNBUFFERED": "1",
    }
    if log_json:
        ours["MAINSTEM_LOG_FORMAT"] = "json"
    return inherited | ours


def _is_secret(name: str) -> bool:
    return name.startswith("MAINSTEM_") and name.removesuffix("_FILE") in (
        "MAINSTEM_SECRET_KEY", "MAINSTEM_ADMIN_PASSWORD", "MAINSTEM_TOKEN", "MAINSTEM_PLATFORM_KEY",
    )  # fmt: skip


def processes(
    base: dict[str, str],
    secrets: dict[str, str],
    addresses: Addresses,
    logs: Path,
    lease: str = "",
    signing: dict[str, str] | None = None,
) -> list[ProcessChild]:
    """The platform's own processes in starting order; each gets the secrets that it needs and no other.

    `lease` names who has taken the database for all of them; `signing` is for those that write in the platform's name.
    """
    key = {name: secrets[name] for name in ("MAINSTEM_SECRET_KEY",)}
    token = {name: secrets[name] for name in ("MAINSTEM_TOKEN",)}
    apart = {name: value for name, value in base.items() if name != "DATABASE_URL"}  # it may hold a password
    web = [
        "--config", "python:backend.project.gunicorn", "--graceful-timeout", "5", "--log-level", "warning",
        "backend.project.wsgi:application",
    ]  # fmt: skip
    signs = signing or {}
    held = {LEASE: lease} if lease else {}
    bound = {"MAINSTEM_BIND": f"{HOST}:{addresses.port}", "MAINSTEM_WEB_WORKERS": "1"}
    parts = {
        "web": ("gunicorn", web, base | key | bound),
        "control_logger": ("control_logger", [], apart | token),
        "data_control_logger": ("data_control_logger", [], apart | token),
        "aggregator": ("mainstem.aggregator", [], apart | token | signs),
        "launchers": ("backend.launchers", [], base | key | held | signs),
    }
    ports = _metrics_ports(base, list(parts))
    if site_of(base) is not None:
        del parts["aggregator"]  # the cloud's own commit for all sites
    return [
        ProcessChild.of_module(name, module, *arguments, environment=environment | ports.get(name, {}), logs=logs)
        for name, (module, arguments, environment) in parts.items()
    ]


def _metrics_ports(base: dict[str, str], names: list[str]) -> dict[str, dict[str, str]]:
    """MAINSTEM_METRICS_PORT is the web's; the others' metrics are at the ports after it. Raises ConfigError."""
    first = port_of(base)
    if first is None:
        return {}
    host = base.get(METRICS_HOST) or HOST
    return {name: {METRICS_PORT: str(first + number), METRICS_HOST: host} for number, name in enumerate(names)}


def manage(*arguments: str) -> list[str]:
    """A command of the backend's own."""
    return [sys.executable, "-m", "backend.manage", *arguments]


MIGRATE = manage("migrate", "--no-input", "--verbosity", "0")
BOOTSTRAP = manage("bootstrap")  # the admin's password and the loggers' token, from the environment


def claim(home: Home, addresses: Addresses) -> list[str]:
    """The command that takes the database for this process (MAINSTEM_LEASE), and prepares it."""
    told = f"`mainstem up` in {home.root} ({addresses.web})"
    return manage("claim", "--pid", str(os.getpid()), "--told", told)
