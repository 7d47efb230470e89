"""Prometheus metrics of every part: `names` declares them, `health` and `serving` show them over HTTP.

    ROUNDS = counter(names.ROUNDS_COMMITTED)     # at a module's top: one object a process
    with serving("aggregator", health):          # where MAINSTEM_METRICS_PORT is set
        ROUNDS.labels("sync").inc()

No label is a client's, a user's or a topic's name. `federation` labels stand only on gauges that a process makes for
the federations which it runs now, FEDERATIONS_SHOWN at most.
"""

from mainstem.metrics.health import Health
from mainstem.metrics.objects import counter, gauge, histogram
from mainstem.metrics.serving import port_of, serving

__all__ = ["Health", "counter", "gauge", "histogram", "port_of", "serving"]
