"""What the launcher process counts, and what it shows of the database when it is scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backend.deployments.models import Deployment, OutboxEntry, State
from backend.launchers.extensions import COUNTED
from backend.launchers.models import Job, JobState
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter
from mainstem.runtime.metrics.serving import family

LAUNCHES = counter(names.JOB_LAUNCHES)
FAILURES = counter(names.JOB_FAILURES)
LOOP_FAILURES = counter(names.LOOP_FAILURES)

OUTBOX_SECONDS = 1800.0
"""Until an outbox that does not turn is called stuck: it may write the weights of a large model in one go."""


class DatabaseCollector(Collector):
    """Deployments, Jobs, the outbox, what other apps count. Where the database does not answer, they are left out."""

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`. Each scrape has a thread of its own, so a connection too."""
        close_old_connections()
        try:
            yield from self._metrics()
        except DatabaseError:
            return
        finally:
            connection.close()

    @staticmethod
    def _metrics() -> list[Metric]:
        pending = OutboxEntry.objects.filter(done_at=None)
        oldest = pending.aggregate(at=Min("created_at"))["at"]
        number, age = family(names.OUTBOX), family(names.OUTBOX_AGE)
        number.add_metric([], pending.count())
        age.add_metric([], 0.0 if oldest is None else (timezone.now() - oldest).total_seconds())
        unwitnessed = family(names.DEPLOYMENTS_UNWITNESSED)
        unwitnessed.add_metric([], Deployment.objects.filter(lost_count__gt=0).count())
        return [
            unwitnessed,
            by_state(names.DEPLOYMENTS, Deployment.objects.all(), State.values),
            by_state(names.JOBS, Job.objects.all(), JobState.values),
            *(count() for count in COUNTED),
            number,
            age,
        ]


def by_state(metric: names.Metric, rows: QuerySet[Any], states: list[str]) -> Metric:
    """The number of rows in each state."""
    found = dict(rows.order_by().values_list("state").annotate(number=Count("pk")))
    shown = family(metric)
    for state in states:
        shown.add_metric([state], found.get(state, 0))
    return shown
