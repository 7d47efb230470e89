"""What the launcher process counts, and what it shows of the database when it is scraped."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from backend.deployments.models import Deployment, OutboxEntry, State
from backend.inference.models import Inference, ServingState
from backend.launchers.models import Job, JobState
from mainstem.metrics import names
from mainstem.metrics.objects import counter
from mainstem.metrics.serving import family

LAUNCHES = counter(names.JOB_LAUNCHES)
FAILURES = counter(names.JOB_FAILURES)
LOOP_FAILURES = counter(names.LOOP_FAILURES)

OUTBOX_SECONDS = 1800.0
"""Until an outbox that does not turn is called stuck: it may write the weights of a large model in one go."""


class DatabaseCollector(Collector):
    """Deployments, Jobs, deployed versions, the outbox. Where the database does not answer, they are left out."""

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
        return [
            _by_state(names.DEPLOYMENTS, Deployment.objects.all(), State.values),
            _by_state(names.JOBS, Job.objects.all(), JobState.values),
            _by_state(names.INFERENCES, Inference.objects.all(), ServingState.values),
            number,
            age,
        ]


def _by_state(
    metric: names.Metric, rows: QuerySet[Deployment] | QuerySet[Job] | QuerySet[Inference], states: list[str]
) -> Metric:
    found = dict(rows.order_by().values_list("state").annotate(number=Count("pk")))
    shown = family(metric)
    for state in states:
        shown.add_metric([state], found.get(state, 0))
    return shown
