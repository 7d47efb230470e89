"""Long runs that tests write into the database hold what deliveries of the same records would have made."""

from __future__ import annotations

from typing import Any

import pytest
from django.forms.models import model_to_dict

from backend.deployments.live.events import events
from backend.deployments.models import ClientRound, ControlRecord, Deployment, Member, Round, Version
from backend.deployments.projection import projection
from mainstem.protocol.log import Record
from tests.support.long_runs import CLUSTER, Story, write

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def _rows(deployment: Deployment) -> list[dict[str, Any]]:
    tables: list[Any] = [
        Deployment.objects.filter(pk=deployment.pk),
        deployment.rounds.all(), deployment.versions.all(), deployment.members.all(),
        ClientRound.objects.filter(round__deployment=deployment), ControlRecord.of(deployment),
    ]  # fmt: skip
    return [model_to_dict(row) for table in tables for row in table]


@pytest.mark.parametrize("mode", ["sync", "buffered", "async"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_written_run_is_the_delivered_one(mode: str, finished: bool) -> None:
    """The same rows and events, whether they were written many at a time or folded again from the records."""
    deployment = write(Story("written1", 12, 7, mode=mode), finished=finished)
    assert deployment.state == ("finished" if finished else "running") and deployment.round == (7 if finished else 6)
    before, told = _rows(deployment), list(events(deployment, -1))
    assert Member.objects.count() == 12
    assert (Round.objects.count(), Version.objects.count()) == (deployment.round, deployment.round + 1)
    stored = list(ControlRecord.of(deployment))
    deployment.delete()
    ControlRecord.objects.all().delete()
    for row in stored:
        record = Record(row.topic, 0, row.offset, row.timestamp_ms, None, bytes(row.value or b""))
        projection.take(CLUSTER, [(row.topic_id, record)])
    again = Deployment.objects.get(federation="written1")
    assert list(events(again, -1)) == told
    keys = {"id", "deployment", "round"}
    strip = [[{k: v for k, v in row.items() if k not in keys} for row in rows] for rows in (before, _rows(again))]
    assert strip[0] == strip[1]
