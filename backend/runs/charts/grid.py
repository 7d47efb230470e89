"""What the pages of a run show, read from its rows: rounds, the grid of clients, lanes, the timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from django.db.models import Avg, Max, QuerySet, Sum

from backend.deployments.live.events import names, values
from backend.deployments.models import ClientRound, ControlRecord, Deployment, Member, Round, State
from backend.runs.ordering import natural

ROUNDS = 50
"""Rounds that a page shows at a time."""
CLIENTS = 100
"""Clients that a page shows at a time."""

CODES: Mapping[str, str] = {
    "waiting": "w", "training": "t", "uploaded": "u", "accepted": "a", "left out": "o", "stale": "s", "refused": "r",
    "dead": "d",
}  # fmt: skip
"""What a client is doing in a round, and the class of its cell."""
SIGNS: Mapping[str, str] = {
    "w": "·", "t": "▸", "u": "↑", "a": "✓", "o": "○", "s": "↺", "r": "✕", "d": "∅", "": "",
}  # fmt: skip
LIVE: Mapping[str, str] = {
    "waiting": "w", "training": "t", "accepted": "u", "refused": "r", "silent": "d", "left": "d", "failed": "d",
    "removed": "d",
}  # fmt: skip
"""A member's state while its round is open."""
MOMENTS = ("opened", "stopped", "resumed", "rolled_back", "changed", "finished", "failed")


def told_rounds(deployment: Deployment, upto: int | None = None) -> list[Round]:
    """The newest rounds that the run's model descends from (up to round `upto`), in order, with their sums."""
    lineage = deployment.lineage
    rows = deployment.rounds.all() if upto is None else deployment.rounds.filter(number__lte=upto)
    newest = rows.order_by("-seq").values_list("pk", "version").iterator(ROUNDS * 2)
    shown = list(islice((key for key, version in newest if version in lineage), ROUNDS))
    return list(with_sums(deployment.rounds.filter(pk__in=shown)).order_by("seq"))  # sums of these rounds alone


def with_sums(rounds: QuerySet[Round]) -> QuerySet[Round]:
    """Each round with `train_avg`, `train_max`, `upload_avg`, `upload_max` in seconds and `nbytes`."""
    return rounds.annotate(
        train_avg=Avg("clients__train_seconds"),
        train_max=Max("clients__train_seconds"),
        upload_avg=Avg("clients__upload_seconds"),
        upload_max=Max("clients__upload_seconds"),
        nbytes=Sum("clients__nbytes"),
    )


def open_round(deployment: Deployment, rounds: Sequence[Round]) -> int | None:
    """The number of the round that is open; None where none is."""
    if deployment.ended or deployment.state == State.OPENING:
        return None
    return (rounds[-1].number if rounds else deployment.round) + 1


# ---------------------------------------------------------------- grid
@dataclass(frozen=True, slots=True)
class Row:
    """A client's line in the grid: (class, text) a round."""

    client: str
    cells: list[tuple[str, str]]


def grid(
    deployment: Deployment, rounds: Sequence[Round], members: Sequence[Member], current: int | None, show: str = ""
) -> list[Row]:
    """A row for each of `members`: `rounds`, then the open one. `show` names a metric in the place of signs."""
    cells: dict[str, dict[int, tuple[str, str]]] = {member.client: {} for member in members}
    column = {round_.pk: index for index, round_ in enumerate(rounds)}
    numbers = {round_.number: index for index, round_ in enumerate(rounds)}
    refused = deployment.refusals.filter(round__in=numbers, client__in=cells)
    for client, number, reason in refused.values_list("client", "round", "reason"):
        if client is not None:
            code = "s" if reason == "stale" else "r"
            cells[client][numbers[number]] = (code, SIGNS[code])
    fields = ("round_id", "client", "left_out", *(("training",) if show else ()))
    taken = ClientRound.objects.filter(round__in=list(column), client__in=cells).values_list(*fields)
    for round_id, client, left_out, *measured in taken:
        code = "o" if left_out else "a"
        text = _figure(values(measured[0]).get(show)) if show else SIGNS[code]
        cells[client][column[round_id]] = (code, text)
    empty = ("", "")
    found = []
    for member in members:
        row = [cells[member.client].get(index, empty) for index in range(len(rounds))]
        if current is not None:
            code = LIVE.get(member.state, "w")
            row.append((code, SIGNS[code]))
        found.append(Row(member.client, row))
    return found


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


# ---------------------------------------------------------------- metrics
def metric_names(deployment: Deployment, rounds: Sequence[Round]) -> list[str]:
    """The metrics that this run has, the loss first."""
    found: set[str] = set(names(deployment.evaluation))
    for round_ in rounds[-2:]:
        found |= names(round_.evaluation)
        for client in round_.clients.all()[:3]:
            found |= names(client.training)
    return sorted(found, key=lambda name: (name != "loss", name))


# ---------------------------------------------------------------- lanes
@dataclass(frozen=True, slots=True)
class Lane:
    """A client's time, as parts of the drawing's width (0 to 1000).

    `seconds` is how long after the round's opening its update came: below zero where it came before, as it does in
    the modes that do not wait. `behind` is how many versions before the round's own base it started from.
    """

    client: str
    train: tuple[float, float]
    upload: tuple[float, float]
    seconds: float
    behind: int


@dataclass(frozen=True, slots=True)
class Lanes:
    """One round's lanes, the last to come first; `opened` and `closed` are where the round was opened and closed.

    The drawing begins with the round, or `early` seconds before it, where the first of its updates began.
    """

    round: Round
    lanes: list[Lane]
    opened: float
    closed: float
    early: float
    seconds: float
    total: int


def lanes(round_: Round, clients: Sequence[ClientRound], most: int) -> Lanes:
    """Where each client's time went until the round's commit, told by the client itself."""
    shown = sorted(clients, key=lambda client: (-client.received_ms, natural(client.client)))[:most]
    begins = [_began(client) for client in shown if client.received_ms < round_.opened_ms]
    first = min([round_.opened_ms, *begins])
    span = max(1.0, round_.committed_ms - first)

    def place(ms: float) -> float:
        return round(min(1000.0, max(0.0, (ms - first) * 1000 / span)), 1)

    found = []
    for client in shown:
        start, middle, end = map(place, (_began(client), _sent(client), client.received_ms))
        seconds = (client.received_ms - round_.opened_ms) / 1000
        behind = max(0, round_.base_version - client.base_version)
        found.append(Lane(client.client, (start, middle - start), (middle, max(1.5, end - middle)), seconds, behind))
    early = (round_.opened_ms - first) / 1000
    whole = (round_.committed_ms - round_.opened_ms) / 1000
    return Lanes(round_, found, place(round_.opened_ms), place(round_.closed_ms), early, whole, len(clients))


def _sent(client: ClientRound) -> float:
    return client.received_ms - client.upload_seconds * 1000


def _began(client: ClientRound) -> float:
    return _sent(client) - client.train_seconds * 1000


# ---------------------------------------------------------------- timeline
@dataclass(frozen=True, slots=True)
class Moment:
    """A turn of the run: what happened, when, and for how long it stayed so (None: it still does)."""

    kind: str
    at_ms: int
    seconds: float | None


def timeline(deployment: Deployment) -> list[Moment]:
    """The run's turns in order; rounds and progress are no turns."""
    rows = ControlRecord.of(deployment).filter(kind__in=MOMENTS, problem="")
    turns = [(kind, at) for kind, at in rows.values_list("kind", "timestamp_ms")][-60:]
    first = deployment.rounds.order_by("seq").values_list("opened_ms", flat=True).first()
    if first is not None and turns and turns[0][0] == "opened":
        turns.insert(1, ("running", max(first, turns[0][1])))
    moments = [Moment(kind, at, (after - at) / 1000) for (kind, at), (_, after) in pairwise(turns)]
    return moments + [Moment(kind, at, None) for kind, at in turns[-1:]]
