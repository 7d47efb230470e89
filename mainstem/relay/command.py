"""What is the same in both loggers' commands."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.overview import answers
from mainstem.relay.http import Ingest
from mainstem.relay.loop import Relay
from mainstem.relay.meters import LaggingSource, MeteredSource, metered, passed_over
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.serving import serving
from mainstem.runtime.program import Program, run
from mainstem.runtime.site import site_of
from mainstem.runtime.variables import API, LOGS, METRICS, Variable

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
    variables: Sequence[Variable],
    arguments: list[str] | None = None,
) -> int:
    """Run the logger `name`, which finds its Kafka by these variables; its exit code."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="deliver what is there now, then exit")
        usual = group_of(name, None)
        parser.add_argument("--group", help=f"consumer group (default: {usual}, at a site {usual}-$MAINSTEM_SITE)")

    def carry(options: argparse.Namespace, stop: threading.Event) -> None:
        configured, health = settings(), Health()
        configured.token()
        kafka = client_config(configured.bootstrap, configured.client_config)
        group = options.group or group_of(name, site_of(os.environ))
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

    site = Variable("MAINSTEM_SITE", "the site's name, where several share one cloud", otherwise="the cloud itself")
    groups = {"Where Kafka is": variables, "The backend": (*API, site), "Metrics": METRICS, "Its log": LOGS}
    text = f"{description} At least once and in order; what the backend refuses is logged and passed over."
    return run(Program(name, name, text, groups, add), carry, arguments)
