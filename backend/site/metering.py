"""Counts requests, and answers Prometheus on a port of its own, which only the cluster's inside reaches.

gunicorn listens on MAINSTEM_METRICS_PORT beside the port for people (see `backend.project.gunicorn`); what comes in
there gets /metrics, /healthz and /readyz and nothing else, so no token is needed and no path of the API is taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from backend.rest.health import health
from mainstem.runtime import logs
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter, histogram
from mainstem.runtime.metrics.port import port_of

REQUESTS = counter(names.HTTP_REQUESTS)
SECONDS = histogram(names.HTTP_SECONDS)

FEDERATION_LENGTH: Final = 8
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MeteringMiddleware:
    """The outermost middleware. Routes are views' names: as many as there are, whatever is asked for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response
        self._port = str(port_of() or "")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a scrape, or pass the request on and count it."""
        if self._port and request.META.get("SERVER_PORT") == self._port:
            return _scraped(request)
        began = time.perf_counter()
        with logs.bind(federation=None):  # `process_view` says which; here that ends
            response = self._next(request)
        match = request.resolver_match
        route = (match.view_name if match is not None else "") or "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        SECONDS.labels(route).observe(time.perf_counter() - began)
        return response

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: dict[str, Any]) -> None:
        """Put the federation that the address names into what is logged while it is answered."""
        named = str(kwargs.get("id", ""))
        if len(named) == FEDERATION_LENGTH:
            logs.bind(federation=named)


def _scraped(request: HttpRequest) -> HttpResponseBase:
    match request.path_info:
        case "/metrics":
            return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)
        case "/healthz":
            return HttpResponse("ok\n", content_type="text/plain")
        case "/readyz":
            return health(request)
    return HttpResponse("/metrics, /healthz, /readyz\n", status=404, content_type="text/plain")


def _registry() -> CollectorRegistry:
    """This process' own, or the sum over gunicorn's workers, which share a directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
