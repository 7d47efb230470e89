"""From a declaration to prometheus-client's object, registered in the process' default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from mainstem.runtime.metrics.names import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all samples, which say only when the process began


def counter(metric: Metric) -> Counter:
    """A counter; make it once, at a module's top."""
    assert metric.kind == "counter"
    return Counter(metric.name, metric.help, metric.labels)


def gauge(metric: Metric) -> Gauge:
    """A gauge; make it once, at a module's top."""
    assert metric.kind == "gauge"
    return Gauge(metric.name, metric.help, metric.labels)


def histogram(metric: Metric) -> Histogram:
    """A histogram; make it once, at a module's top."""
    assert metric.kind == "histogram"
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets)
