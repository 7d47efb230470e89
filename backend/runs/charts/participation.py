"""Whose updates the rounds of a run counted, and whose their strategy left out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.db.models import Count, F, FloatField, Q, QuerySet, Sum
from django.db.models.functions import Cast

from backend.deployments.models import ClientRound, Deployment
from backend.runs.ordering import natural
from backend.runs.reasons.overlooked import Tally
from mainstem.aggregation.strategies import make
from mainstem.errors import ConfigError

LEFT_OUT = ~Q(left_out="")
RUNS = 64
"""Whose tallies are remembered."""


def counts(deployment: Deployment) -> QuerySet[ClientRound, Any]:
    """A row for each client that sent what counted or was left out, in the rounds that the run's model descends from:
    `client`, `updates`, `out` and `turns` as `Tally` has them."""
    lineage = deployment.lineage
    undone = [pk for pk, version in deployment.rounds.values_list("pk", "version") if version not in lineage]
    sent = ClientRound.objects.filter(round__deployment=deployment).exclude(round__in=undone)
    turn = 1.0 - Cast(F("round__left_out"), FloatField()) / F("round__accepted")
    columns = {"updates": Count("pk"), "out": Count("pk", filter=LEFT_OUT), "turns": Sum(turn)}
    return sent.order_by("client").values("client").annotate(**columns)


def tally(row: Mapping[str, Any]) -> Tally:
    """One of these rows."""
    return Tally(row["client"], row["updates"], row["out"], row["turns"])


_known: OrderedDict[str, tuple[tuple[object, ...], list[Tally]]] = OrderedDict()
"""By federation, with the state of its rounds: pages ask every second, and a long run has many rows."""
_lock = threading.Lock()


def tallies(deployment: Deployment) -> list[Tally]:
    """Of every client, who was left out most first; none of a run whose rounds left nobody out."""
    mark = (deployment.refolds, deployment.head.get("seq"), deployment.head.get("lineage"))
    with _lock:
        known, found = _known.get(deployment.federation, (None, []))
    if known != mark:
        some = deployment.rounds.filter(left_out__gt=0).exists()
        found = sorted(map(tally, counts(deployment)), key=_most_first) if some else []
    with _lock:
        _known[deployment.federation] = (mark, found)
        _known.move_to_end(deployment.federation)
        while len(_known) > RUNS:
            _known.popitem(last=False)
    return found


def _most_first(one: Tally) -> tuple[float, object]:
    return -one.left_out / one.updates, natural(one.client)


def scored_by(strategy: Mapping[str, Any]) -> str:
    """What a score of a round's record means, by the strategy that it names; empty where that gives none."""
    with suppress(ConfigError):  # a record may name one that this release does not know
        return make(strategy.get("name", ""), strategy.get("params") or {}).scored
    return ""
