"""/metrics, /healthz and /readyz of a process, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from mainstem.errors import ConfigError
from mainstem.runtime.disk import Disks
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.beat import beating
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.port import HOST, PORT, port_of

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class HealthCollector(Collector):
    """The process' own word about itself, as metrics."""

    def __init__(self, part: str, health: Health) -> None:
        self._part, self._health = part, health

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        info = family(names.INFO)
        info.add_metric([self._part, metadata.version("mainstem")], 1)
        ages = family(names.LOOP_AGE)
        for loop, age in self._health.ages().items():
            ages.add_metric([loop], age)
        ready = family(names.READY)
        ready.add_metric([], self._health.ready)
        yield from (info, ages, ready)


class DisksCollector(Collector):
    """How much room there is where this process' files are."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        free, floor = family(names.DISK_FREE), family(names.DISK_FLOOR)
        for disk in self._disks.look():
            free.add_metric([disk.name], disk.free)
        floor.add_metric([], self._disks.floor)
        yield from (free, floor)


def family(metric: names.Metric) -> GaugeMetricFamily:
    """A gauge whose values are made when it is asked for."""
    assert metric.kind == "gauge"
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def application(health: Health, registry: CollectorRegistry = REGISTRY) -> Application:
    """Answers /metrics, /healthz (503: a loop hangs, or is stranded) and /readyz (503: the part cannot work)."""
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                return metrics(environ, start)  # type: ignore[no-any-return]
            case "/healthz":
                stuck, stranded = health.stuck(), health.stranded()
                problems = [f"does not turn: {', '.join(stuck)}", *stranded] if stuck else stranded
                return _say(start, not problems, "; ".join(problems) or "ok")
            case "/readyz":
                return _say(start, health.ready, "ok" if health.ready else "not ready")
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics, /healthz, /readyz\n"]

    return answer


def _say(start: Callable[..., Any], well: bool, text: str) -> Iterable[bytes]:
    start("200 OK" if well else "503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    timeout = 15

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape each 30 s is no news."""


@contextlib.contextmanager
def serving(part: str, health: Health, *collectors: Collector) -> Iterator[int | None]:
    """Serve the default registry and `collectors` until the block ends; the port, None where it is not set.

    It listens on all addresses, or on MAINSTEM_METRICS_HOST. Raises ConfigError where it cannot. Meanwhile the process
    beats for who started it, as long as none of its loops hangs.
    """
    port = port_of()
    with beating(lambda: not health.stuck()):
        if port is None:
            yield None
        else:
            with _listening(part, health, port, collectors):
                yield port


@contextlib.contextmanager
def _listening(part: str, health: Health, port: int, collectors: Iterable[Collector]) -> Iterator[None]:
    ours = (HealthCollector(part, health), DisksCollector(Disks.from_environ()), *collectors)
    try:
        host = os.environ.get(HOST, "").strip().strip("[]")
        server = make_server(host, port, application(health), _Server6 if ":" in host else _Server, _Silent)
    except OSError as error:
        raise ConfigError(f"{PORT} {port} cannot be listened on: {error.strerror}") from error
    for collector in ours:
        REGISTRY.register(collector)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for collector in ours:
            REGISTRY.unregister(collector)
