"""Every metric that a part of Mainstem exports: name, kind, help, labels. Pure, so that alerts can be checked by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FEDERATIONS_SHOWN: Final = 100
"""Federations that one process shows by their id; sums and maxima are over all of them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's declaration. A counter's samples are named `<name>_total`; `buckets` are a histogram's bounds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """The names under which Prometheus stores its values."""
        match self.kind:
            case "counter":
                return (f"{self.name}_total",)
            case "histogram":
                return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
            case _:
                return (self.name,)


_ALL: list[Metric] = []


def _counter(name: str, help: str, *labels: str) -> Metric:
    _ALL.append(Metric(f"mainstem_{name}", "counter", help, labels))
    return _ALL[-1]


def _gauge(name: str, help: str, *labels: str) -> Metric:
    _ALL.append(Metric(f"mainstem_{name}", "gauge", help, labels))
    return _ALL[-1]


def _histogram(name: str, help: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    _ALL.append(Metric(f"mainstem_{name}", "histogram", help, labels, buckets))
    return _ALL[-1]


ROUND_BUCKETS: Final = (0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
COMMIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300)
HTTP_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)

# every part
INFO = _gauge("info", "1, with the part's name and Mainstem's version.", "part", "version")
LOOP_AGE = _gauge("loop_age_seconds", "Since a loop of the process last turned.", "loop")
READY = _gauge("ready", "1 where the part can do its work now.")
DISK_FREE = _gauge("disk_free_bytes", "Room on the disks below the part's MAINSTEM_HOME.", "disk")
DISK_FLOOR = _gauge("disk_floor_bytes", "Below this rounds wait (MAINSTEM_DISK_FLOOR_BYTES).")

# aggregator
ROUNDS_COMMITTED = _counter("rounds_committed", "Rounds that this worker committed.")
ROUND_SECONDS = _histogram("round_seconds", "From a round's opening to its commit, in log time.", buckets=ROUND_BUCKETS)
COMMIT_SECONDS = _histogram(
    "round_commit_seconds", "From a round's close to its commit: folding and publishing.", buckets=COMMIT_BUCKETS
)
UPDATES_ACCEPTED = _counter("updates_accepted", "Updates in the rounds that this worker committed.")
UPDATES_LEFT_OUT = _counter("updates_left_out", "Of them, those that their round's strategy left out of its version.")
UPDATES_REFUSED = _counter(
    "updates_refused", "Records of clients that do not count, by the protocol's reason.", "reason"
)
SUPERSEDED = _counter("commits_superseded", "Records of this worker that came after another's and changed nothing.")
RUNS_ENDED = _counter("runs_ended", "Runs that this worker ended, by how: finished, failed, stopped.", "how")
RESUMES = _counter("federation_resumes", "A federation was taken up again from the log after an error.", "cause")
FEDERATIONS_OPEN = _gauge("federations_open", "Federations that this worker runs.")
FEDERATIONS_UNWITNESSED = _gauge(
    "federations_unwitnessed", "Of them those that stand still, since their log is not the one that was witnessed."
)
CLIENTS = _gauge("clients", "Clients of the federations that this worker runs, by state.", "state")
LAG = _gauge("federation_lag_records", "Records of an aggregator topic's partition 0 not yet digested.", "federation")
LAG_MAX = _gauge("federation_lag_records_max", "The largest of these over all federations of this worker.")
STEP_AGE = _gauge("federation_step_age_seconds", "Since a federation last took a step.", "federation")
STEP_AGE_MAX = _gauge("federation_step_age_seconds_max", "The largest of these over all federations of this worker.")
ROUND = _gauge("federation_round", "The last committed round.", "federation")
ROUND_AGE = _gauge("federation_round_age_seconds", "Since the open round, or the wait for it, began.", "federation")
CLOCK_AHEAD = _gauge(
    "federation_log_clock_ahead_seconds",
    "What Kafka stamped this worker's last tick with, less its own clock; below 0: behind.",
    "federation",
)

# aggregator and launcher
KAFKA_BYTES = _counter(
    "kafka_bytes", "Bytes of record values, by direction (in, out) and kind of topic.", "direction", "topic"
)
KAFKA_RECORDS = _counter("kafka_records", "Records, by direction (in, out) and kind of topic.", "direction", "topic")

# loggers
RELAYED = _counter("relay_records", "Records delivered: accepted, duplicate, refused, passed_over.", "outcome")
RELAY_BYTES = _counter("relay_bytes", "Bytes of keys and values delivered to the backend.")
RELAY_FAILURES = _counter(
    "relay_failures", "Attempts that failed, by what failed: kafka, backend, fault, body.", "what"
)
RELAY_REWINDS = _counter(
    "relay_rewinds", "Partitions that ended before what was read of them: Kafka was restored from an older copy."
)
RELAY_LAG = _gauge("relay_lag_records", "Records in Kafka that are not delivered yet.")
RELAY_BEHIND = _gauge("relay_behind_seconds", "Age of the oldest record that was read and is not delivered; 0: none.")

# launcher
DEPLOYMENTS = _gauge("deployments", "Deployments in the database, by state.", "state")
DEPLOYMENTS_UNWITNESSED = _gauge(
    "deployments_unwitnessed", "Deployments whose log has lost its tail, or has another one, and nobody accepted it."
)
JOBS = _gauge("jobs", "Training Jobs in the database, by state.", "state")
INFERENCES = _gauge("inferences", "Deployed versions in the database, by state.", "state")
OUTBOX = _gauge("outbox_pending", "What is still to be written to Kafka.")
OUTBOX_AGE = _gauge("outbox_age_seconds", "Age of the oldest of it.")
HISTORIES_DROPPED = _counter(
    "histories_dropped", "Runs whose rows were read again from the log, since it no longer held what was folded."
)
JOB_LAUNCHES = _counter("job_launches", "Jobs started, by outcome: started, refused, failed.", "outcome")
JOB_FAILURES = _counter("job_failures", "Jobs that ended in failure, each attempt.")
LOOP_FAILURES = _counter("loop_failures", "Turns of a launcher's loop that failed.", "loop")

# web
HTTP_REQUESTS = _counter(
    "http_requests", "Requests by method, route (a view's name) and status.", "method", "route", "status"
)
HTTP_SECONDS = _histogram("http_request_seconds", "Until the answer begins.", "route", buckets=HTTP_BUCKETS)

# operator
RECONCILES = _counter("operator_reconciles", "Looks at a FederatedDeployment: synced, refused, away, gone.", "outcome")

ALL: Final = tuple(_ALL)
