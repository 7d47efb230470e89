"""Prometheus metrics of every part: `names` declares them, `health` and `serving` show them over HTTP.

    ROUNDS = counter(names.ROUNDS_COMMITTED)     # at a module's top: one object a process
    with serving("aggregator", health):          # where MAINSTEM_METRICS_PORT is set
        ROUNDS.inc()

No label is a client's, a user's or a topic's name. `federation` labels stand only on gauges that a process makes for
the federations which it runs now, FEDERATIONS_SHOWN at most. This package imports nothing: the web server says where
its workers count together before prometheus-client is imported.
"""
