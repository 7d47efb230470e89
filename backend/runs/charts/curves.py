"""What the charts of a run show: one metric over its rounds, thinned where they are many, and the rounds' phases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import FloatField, Max, Min, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from backend.deployments.live.events import values
from backend.deployments.models import ClientRound, Deployment
from backend.runs.charts.thinning import indices_of_extremes, stretches

POINTS = 400
"""Of a longer line the lowest and the highest of every stretch are drawn, at most so many points."""
LINES = 5_000
"""Clients by points up to which every client has a line; beyond, the band from the lowest to the highest is drawn."""
BAND_ROWS = 300_000
"""Updates that are looked through for the band; of a longer run only those of the drawn rounds."""


@dataclass(frozen=True, slots=True)
class Span:
    """Rounds by their numbers, both ends included; None is the run's own end."""

    first: int | None = None
    last: int | None = None

    def of(self, field: str) -> dict[str, int]:
        """As a filter on a column."""
        ends = {f"{field}__gte": self.first, f"{field}__lte": self.last}
        return {name: end for name, end in ends.items() if end is not None}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A committed round as the charts need it."""

    pk: int
    number: int
    version: int
    closed_ms: int
    committed_ms: int


def places(deployment: Deployment, span: Span) -> list[CurvePoint]:
    """The rounds of the span that the run's model descends from, in order."""
    lineage = deployment.lineage
    rows = deployment.rounds.filter(**span.of("number")).order_by("seq")
    found = rows.values_list("pk", "number", "version", "closed_ms", "committed_ms")
    return [CurvePoint(*row) for row in found if row[2] in lineage]


def drawn(deployment: Deployment, span: Span, metric: str, clients: Sequence[str]) -> dict[str, Any]:
    """One metric over the run's rounds: of the global model and of `clients`; and the seconds of each phase.

    `rounds` are those that are drawn, out of `total`. Either every client has a line (`clients`, by name), or `band`
    holds the lowest and the highest that any client of the run measured around each drawn round. The global model of a
    round is measured by the next round's clients, so its newest point may be missing.
    """
    all_ = places(deployment, span)
    measured = dict(told_versions(deployment, Span(all_[0].version, all_[-1].version))) if all_ else {}
    line = [short(measured.get(place.version, {}).get(metric)) for place in all_]
    at = indices_of_extremes(line, POINTS)
    told: dict[str, Any] = {
        "metric": metric,
        "total": len(all_),
        "rounds": [all_[index].number for index in at],
        "global": [line[index] for index in at],
        "phases": _phases(deployment, span, all_),
    }
    if not banded(len(clients), len(all_)):
        return told | {"clients": _lines([all_[index] for index in at], metric, clients)}
    return told | {"band": _band(deployment, span, metric, all_, at)}


def banded(clients: int, rounds: int) -> bool:
    """Whether so many clients over so many rounds are drawn as a band: their lines would be a smear, and heavy."""
    return clients * min(rounds, POINTS) > LINES


def told_versions(deployment: Deployment, span: Span | None = None) -> list[tuple[int, dict[str, float]]]:
    """(version, what was measured of it) of the versions that the run's model descends from, in order."""
    lineage = deployment.lineage
    rows = deployment.versions.filter(**(span or Span()).of("number")).exclude(evaluation=None).order_by("number")
    return [(number, values(told)) for number, told in rows.values_list("number", "evaluation") if number in lineage]


def thin(points: Sequence[tuple[int, float]], most: int = POINTS) -> list[tuple[int, float]]:
    """At most `most` of them, the lowest and the highest of every stretch included."""
    return [points[index] for index in indices_of_extremes([value for _, value in points], most)]


def spread(rows: QuerySet[ClientRound], metric: str) -> dict[int, tuple[float, float]]:
    """The lowest and the highest that a client measured in training, by the round's key."""
    value = Cast(KeyTextTransform(metric, KeyTransform("values", "training")), FloatField())
    found = rows.order_by().values("round_id").annotate(low=Min(value), high=Max(value))
    return {key: (low, high) for key, low, high in found.values_list("round_id", "low", "high") if low is not None}


# ---------------------------------------------------------------- clients
def _lines(shown: Sequence[CurvePoint], metric: str, clients: Iterable[str]) -> dict[str, list[float | None]]:
    column = {place.pk: index for index, place in enumerate(shown)}
    lines: dict[str, list[float | None]] = {client: [None] * len(shown) for client in clients}
    taken = ClientRound.objects.filter(round__in=list(column), client__in=lines).order_by()
    for key, client, training in taken.values_list("round_id", "client", "training"):
        lines[client][column[key]] = short(values(training).get(metric))
    return lines


def _band(
    deployment: Deployment, span: Span, metric: str, all_: Sequence[CurvePoint], at: Sequence[int]
) -> dict[str, list[float | None]]:
    rows = _updates(deployment, span)
    if rows.count() > BAND_ROWS:
        rows = rows.filter(round__in=[all_[index].pk for index in at])
    found = spread(rows, metric)
    ends = [*at[1:], len(all_)]
    around = [[found[p.pk] for p in all_[start:end] if p.pk in found] for start, end in zip(at, ends, strict=True)]
    return {
        "low": [short(min((low for low, _ in pairs), default=None)) for pairs in around],
        "high": [short(max((high for _, high in pairs), default=None)) for pairs in around],
    }


# ---------------------------------------------------------------- phases
def _phases(deployment: Deployment, span: Span, all_: Sequence[CurvePoint]) -> dict[str, list[Any]]:
    """Of each stretch of rounds the slowest; `rounds` are where the stretches end."""
    slowest = _updates(deployment, span).order_by().values("round_id")
    found = slowest.annotate(train=Max("train_seconds"), upload=Max("upload_seconds"))
    seconds = {key: (train, upload) for key, train, upload in found.values_list("round_id", "train", "upload")}
    parts = [[all_[index] for index in stretch] for stretch in stretches(len(all_), POINTS // 2)]

    def most(of: Callable[[CurvePoint], float | None]) -> list[float | None]:
        return [short(max((value for p in part if (value := of(p)) is not None), default=None)) for part in parts]

    return {
        "rounds": [part[-1].number for part in parts],
        "train": most(lambda p: _first(seconds, p.pk, 0)),
        "upload": most(lambda p: _first(seconds, p.pk, 1)),
        "commit": most(lambda p: (p.committed_ms - p.closed_ms) / 1000),
    }


def _first(seconds: Mapping[int, tuple[float, float]], key: int, which: int) -> float | None:
    return seconds[key][which] if key in seconds else None


def _updates(deployment: Deployment, span: Span) -> QuerySet[ClientRound]:
    return ClientRound.objects.filter(round__deployment=deployment, **span.of("round__number"))


def short(value: float | None) -> float | None:
    """With four digits, which is more than a chart shows."""
    return None if value is None else float(f"{value:.4g}")
