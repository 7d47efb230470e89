"""The injection scripts' command line: shared options, progress, and errors in one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from inject_scripts.announcement import deployment_key
from inject_scripts.injection import Announcing
from mainstem.errors import ConfigError, MainstemError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.platform.home import Home
from mainstem.protocol.topics import DATA_CONTROL, check_federation_id
from mainstem.runtime import endpoints
from mainstem.runtime.environ import DEFAULT_HOME
from mainstem.runtime.exits import Exit
from mainstem.runtime.program import at_once, handling
from mainstem.streams.codecs import FORMATS

FORWARDED = "localhost:31162"
"""Where `./port_fwd.sh` opens the cluster's Kafka."""
DEFAULT_TOPIC = "FED-DEBUG-data_topic"
CHECKOUT = Path(__file__).resolve().parents[1]


def default_bootstrap() -> str:
    """What `endpoints.data` says, else the Kafka of a platform that runs in MAINSTEM_HOME, here or in the checkout."""
    if named := endpoints.data(os.environ).servers:
        return named
    for home in (Home.locate(), Home(CHECKOUT / DEFAULT_HOME)):
        running = home.running()
        if running is not None and home.is_held():
            return running.kafka
    return FORWARDED


def rate(text: str) -> float:
    """A part of the stream, from 0 up to, not including, 1 (an argparse type)."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be from 0 up to, not including, 1")
    return value


def whole(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} must be at least {minimum}")
        return value

    parse.__name__ = "whole number"
    return parse


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every script has."""
    stream = parser.add_argument_group("the stream and its announcement")
    stream.add_argument("--topic", default=DEFAULT_TOPIC, help="data topic, created if missing (default: %(default)s)")
    stream.add_argument("--format", choices=FORMATS, default="RAW", type=str.upper, help="default: %(default)s")
    stream.add_argument("--validation-rate", type=rate, default=0.0, metavar="R", help="part for validation (0)")
    stream.add_argument(
        "--restriction", default="{}", metavar="JSON", help="dataset restriction that a federation must share ({})"
    )
    stream.add_argument("--description", metavar="TEXT", help="text for people")
    key = stream.add_mutually_exclusive_group()
    key.add_argument("--federation", metavar="ID", help="the only federation meant (the message's key)")
    key.add_argument("--deployment", type=whole(0), metavar="N", help="Kafka-ML's number as the key: means nobody")
    kafka = parser.add_argument_group("Kafka")
    kafka.add_argument(
        "--bootstrap",
        default=default_bootstrap(),
        metavar="HOST:PORT",
        help="brokers (default: DATA_BOOTSTRAP_SERVERS, KML_CLOUD_BOOTSTRAP_SERVERS, the platform that runs here, or "
        "that of ./port_fwd.sh; now %(default)s)",
    )
    kafka.add_argument(
        "--client-config",
        metavar="FILE",
        help="librdkafka property file for TLS and SCRAM (default: DATA_CLIENT_CONFIG, for the cloud's brokers else "
        "KML_CLOUD_CLIENT_CONFIG)",
    )
    kafka.add_argument("--control-topic", default=DATA_CONTROL, metavar="TOPIC", help="default: %(default)s")
    kafka.add_argument("--timeout", type=whole(1), default=15, metavar="S", help="seconds without progress (15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object about what was done")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--progress", action="store_true", help="a line on stderr each second: progress N of M")


def announcing(options: argparse.Namespace, input_config: dict[str, Any]) -> Announcing:
    """The options' part of every announcement; raises ConfigError."""
    try:
        restrictions = json.loads(options.restriction)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--restriction is not JSON: {error}") from error
    if options.federation is not None:
        check_federation_id(options.federation)
    return Announcing(
        control_topic=options.control_topic,
        key=deployment_key(options.federation if options.federation is not None else options.deployment),
        input_format=options.format,
        input_config=input_config,
        restrictions=restrictions,
        validation_rate=options.validation_rate,
    )


def producer(options: argparse.Namespace) -> StreamProducer:
    """A producer for the options' Kafka; raises ConfigError."""
    kafka = endpoints.data({**os.environ, endpoints.DATA_SERVERS: options.bootstrap})
    config = client_config(kafka.servers, options.client_config or kafka.properties)
    return StreamProducer(config, timeout=options.timeout)


class ProgressLine:
    """A line on stderr: redrawn on a terminal, one for each finished stream elsewhere."""

    def __init__(self, title: str, total: int | None, *, quiet: bool, lines: bool = False) -> None:
        self._title, self._total, self._quiet, self._lines = title, total, quiet, lines
        self._live = sys.stderr.isatty() and not quiet
        self._began = self._drawn = time.monotonic()
        self._count = 0

    def __call__(self, count: int) -> None:
        """`count` records are queued."""
        self._count = count
        now = time.monotonic()
        if self._live and now - self._drawn > 0.1:
            self._drawn = now
            sys.stderr.write(f"\r\x1b[K{self._text()}")
            sys.stderr.flush()
        if self._lines and now - self._drawn > 1:
            self._drawn = now
            print(f"progress {count} of {self._total or count}", file=sys.stderr, flush=True)

    def done(self, where: str) -> None:
        """The stream is announced."""
        if not self._quiet:
            clear = "\r\x1b[K" if self._live else ""
            seconds = time.monotonic() - self._began
            print(f"{clear}{self._title}: {self._count} records in {seconds:.1f} s -> {where}", file=sys.stderr)

    def _text(self) -> str:
        if not self._total:
            return f"{self._title}: {self._count} records"
        part = min(self._count / self._total, 1.0)
        return f"{self._title}: [{'#' * int(24 * part):24}] {self._count}/{self._total}"


def finish(options: argparse.Namespace, streams: list[dict[str, Any]], **about: Any) -> None:
    """The JSON object on stdout, or a short line."""
    if options.json:
        body = {
            "bootstrap": options.bootstrap,
            "control_topic": options.control_topic,
            "format": options.format,
            **about,
            "streams": streams,
        }
        print(json.dumps(body))
    elif not options.quiet:
        print(f"Announced {len(streams)} stream{'s' * (len(streams) != 1)} on {options.control_topic}.")


def run(body: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None) -> int:
    """`body(argv)`, with errors as one line on stderr; the exit code."""
    try:
        with handling(_interrupted):
            return body(argv)
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.FAILED


def _interrupted(number: int, frame: FrameType | None) -> None:
    """End at once: as an exception it could be lost in a callback of the Kafka client. Nothing is left half done."""
    print("\ninterrupted: the unfinished stream is not announced", file=sys.stderr, flush=True)
    at_once(number, frame)
