"""What is the same in both loggers' commands: options, signals, exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from mainstem import logs
from mainstem.errors import MainstemError
from mainstem.kafka.config import client_config
from mainstem.kafka.overview import answers
from mainstem.metrics.health import Health
from mainstem.metrics.serving import serving
from mainstem.relay.http import Ingest
from mainstem.relay.loop import Relay
from mainstem.relay.meters import LaggingSource, MeteredSource, metered, passed_over
from mainstem.relay.settings import LoggerSettings
from mainstem.site import site_of

log = logging.getLogger(__name__)


class ClosingSource(LaggingSource, Protocol):
    """A source that holds connections."""

    def close(self) -> None: ...


def group_of(name: str, site: str | None) -> str:
    """The consumer group of the logger `name`, which is a site's own where there are several."""
    usual = f"mainstem-{name.replace('_', '-')}"
    return f"{usual}-{site}" if site else usual


def run_logger(
    name: str,
    *,
    description: str,
    path: str,
    settings: Callable[[], LoggerSettings],
    source: Callable[[LoggerSettings, str], ClosingSource],
    arguments: list[str] | None = None,
) -> int:
    """Run the logger `name` until SIGTERM or SIGINT, then return 0; 1 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog="Settings are environment variables: KML_CLOUD_BOOTSTRAP_SERVERS, DATA_BOOTSTRAP_SERVERS, MAINSTEM_API, "
        "MAINSTEM_TOKEN or MAINSTEM_TOKEN_FILE, and KML_CLOUD_CLIENT_CONFIG, DATA_CLIENT_CONFIG (librdkafka property "
        "files). Delivery is at least once and in order; what the backend refuses is logged and passed over.",
    )
    parser.add_argument("--once", action="store_true", help="deliver what is there now, then exit")
    usual = group_of(name, None)
    parser.add_argument("--group", help=f"consumer group (default: {usual}, at a site {usual}-$MAINSTEM_SITE)")
    options = parser.parse_args(arguments)
    logs.configure(name)
    stop, health = threading.Event(), Health()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        configured = settings()
        configured.token()
        site = site_of(os.environ)
        kafka = client_config(configured.bootstrap, configured.client_config)
        group = options.group or group_of(name, site)
        with (
            closing(Ingest(configured.api, path, configured.token)) as ingest,
            closing(source(configured, group)) as records,
            serving(name, health),
        ):
            log.info("reading %s as group %s, writing to %s%s", configured.bootstrap, group, configured.api, path)
            Relay(
                MeteredSource(records, health, answers=lambda: answers(kafka)),
                metered(ingest, health, ingest.healthy),
                stop,
                healthy=ingest.healthy,
                passed_over=passed_over,
            ).run(once=options.once)
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
