"""The result of a long run over REST: bounded, with its pages beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.deployments.models import ClientRound, Deployment, Member, Refusal, Round, Version
from backend.deployments.projection import projection
from tests.backend.test_projection import CLUSTER, VALUES, records
from tests.vectors.examples import FEDERATION

pytestmark = pytest.mark.django_db


def grown(kind: type[Any], rows: Sequence[dict[str, Any]]) -> list[Any]:
    """A copy of the run's last row of this kind for each of `rows`, with these values in it."""
    first = kind.objects.filter(**({} if kind is ClientRound else {"deployment__federation": FEDERATION})).last()
    kept = {field.attname: getattr(first, field.attname) for field in kind._meta.concrete_fields if field.name != "id"}
    return list(kind.objects.bulk_create([kind(**{**kept, **values}) for values in rows]))


def grow(rounds: int, clients: int) -> None:
    """Add rounds in which so many clients took part, with their versions, and refusals and members."""
    numbers = range(1000, 1000 + rounds)
    made = grown(Round, [{"seq": n, "number": n, "version": n, "accepted": clients} for n in numbers])
    grown(ClientRound, [{"round_id": row.pk, "client": f"c{n:05d}"} for row in made for n in range(clients)])
    grown(Version, [{"seq": n, "number": n} for n in numbers])
    grown(Refusal, [{"offset": n} for n in numbers])


@pytest.mark.parametrize(("rounds", "clients", "shown"), [(300, 10, 50), (60, 100, 20), (2, 2500, 1)])
def test_a_result_is_bounded(client_of: Callable[[str], APIClient], rounds: int, clients: int, shown: int) -> None:
    """Its newest rounds with at most 2,000 clients between them, one at least; everything is in the pages it names."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    grow(rounds, clients)
    grown(Member, [{"client": f"c{n:05d}"} for n in range(1200)])
    viewer = client_of("viewer")
    answer = viewer.get(f"/api/results/{FEDERATION}/")
    found = answer.json()
    assert len(answer.content) < 2 << 20
    last = 1000 + rounds
    assert [row["number"] for row in found["rounds"]] == list(range(last - shown, last))
    assert [row["number"] for row in found["versions"]][-1] == last - 1
    assert all(len(row["clients"]) == clients for row in found["rounds"])
    pages = found["pages"]
    assert (pages["rounds"]["shown"], pages["rounds"]["count"]) == (shown, rounds + 1)
    assert (pages["versions"]["shown"], pages["versions"]["count"]) == (min(50, rounds + 2), rounds + 2)
    assert (pages["members"]["shown"], pages["members"]["count"]) == (1000, 1203)
    for name, part in pages.items():
        assert len(found[name]) == part["shown"]
        assert viewer.get(part["address"], {"page_size": 1}).json()["count"] == part["count"]


def test_pages_of_rounds_are_bounded_too(client_of: Callable[[str], APIClient]) -> None:
    """A round has all its clients, so that a page holds a hundred of them at most."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    grow(120, 1)
    page = client_of("viewer").get(f"/api/results/{FEDERATION}/rounds/", {"page_size": 1000}).json()
    assert (len(page["results"]), page["count"]) == (100, 121) and page["next"]
    assert Deployment.objects.get(federation=FEDERATION).rounds.count() == 121
