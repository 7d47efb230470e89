"""A run's events for the live page: one a control record that counts, named by the record's offset.

An event is made from the stored record and the rows folded from it and from nothing else, so that a reconnect, another
web worker and a rebuilt database all tell the same events under the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from django.db.models import Prefetch, QuerySet

from backend.deployments.models import ClientRound, ControlRecord, Deployment, Refusal, Round
from mainstem.errors import DecodeError
from mainstem.protocol.messages import Finished, Progress, RolledBack, Selected, decode_control

BATCH = 200
"""Events that are made at one time."""
SILENT = ("", "unknown", "page", "command")
"""Records without an event of their own: what they carry shows in the record that answers or names them."""

_encoder = msgspec.json.Encoder()


def events(deployment: Deployment, after: int, before: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(offset, event as it goes over the wire) of the records with offset in (`after`, `before`), in order."""
    while True:
        rows = list(ControlRecord.of(deployment).filter(offset__gt=after, **_below(before))[:BATCH])
        for row, data in zip(rows, events_of(deployment, rows), strict=True):
            if data is not None:
                yield row.offset, framed(deployment.federation, row.offset, data)
        if len(rows) < BATCH:
            return
        after = rows[-1].offset


def events_of(deployment: Deployment, rows: list[ControlRecord]) -> list[dict[str, Any] | None]:
    """What each record tells, as JSON values; None for one that tells nothing."""
    offsets = [row.offset for row in rows if row.kind == "round"]
    rounds = {round_.offset: round_ for round_ in _rounds(deployment).filter(offset__in=offsets)}
    refused: dict[int, list[Refusal]] = {}
    if rounds:
        numbers = [round_.number for round_ in rounds.values()]
        for refusal in deployment.refusals.filter(round__in=numbers):
            refused.setdefault(refusal.round, []).append(refusal)
    found: list[dict[str, Any] | None] = []
    for row in rows:
        round_ = rounds.get(row.offset)
        body = round_told(round_, refused.get(round_.number, [])) if round_ is not None else _of(row)
        found.append(None if body is None else {"kind": row.kind, "at": row.timestamp_ms, **body})
    return found


def framed(federation: str, offset: int, data: dict[str, Any]) -> bytes:
    """The event in the format of server-sent events (WHATWG HTML, section 9.2)."""
    return b"id: %s:%d\ndata: %s\n\n" % (federation.encode(), offset, _encoder.encode(data))


def round_told(round_: Round, refusals: list[Refusal]) -> dict[str, Any]:
    """A committed round with its clients: what charts, grid and tables show of it."""
    return {
        "seq": round_.seq,
        "round": round_.number,
        "version": round_.version,
        "base": round_.base_version,
        "opened": round_.opened_ms,
        "closed": round_.closed_ms,
        "committed": round_.committed_ms,
        "by": round_.closed_by,
        "examples": round_.examples,
        "refused": [[refusal.client, refusal.reason, refusal.detail] for refusal in refusals],
        "refused_count": round_.refused,
        "measured": values(round_.evaluation),
        "unchanged": round_.unchanged,
        "clients": [client_told(client) for client in round_.clients.all()],
    }


def client_told(client: ClientRound) -> dict[str, Any]:
    """One accepted update; `left_out` says why its round's strategy left it out, where it did."""
    return {
        "client": client.client,
        "examples": client.examples,
        "base": client.base_version,
        "nbytes": client.nbytes,
        "received": client.received_ms,
        "train": round(client.train_seconds, 3),
        "upload": round(client.upload_seconds, 3),
        "training": values(client.training),
        "evaluation": values(client.evaluation),
        "personal": values(client.personal),
        **({"left_out": client.left_out} if client.left_out else {}),
    }


def values(metrics: Any) -> dict[str, float]:
    """The numbers of a metrics column by name."""
    found = metrics.get("values") if isinstance(metrics, dict) else None
    return {name: float(f"{number:.6g}") for name, number in (found or {}).items() if isinstance(number, int | float)}


def names(metrics: Any) -> set[str]:
    """The names in a metrics column, also of what has no value."""
    undefined = metrics.get("undefined") if isinstance(metrics, dict) else None
    return {*values(metrics), *(undefined or {})}


def _of(row: ControlRecord) -> dict[str, Any] | None:
    if row.problem or row.kind in SILENT:
        return None
    if row.kind not in ("progress", "selected", "finished", "rolled_back"):
        return {}
    try:
        record = decode_control(None if row.value is None else bytes(row.value))
    except DecodeError:
        return None
    match record:
        case Progress():
            return _progress(record)
        case Selected():
            return {"round": record.round, "clients": list(record.clients)}
        case RolledBack():
            return {"version": record.version}
        case Finished():
            measured = record.evaluation.values if record.evaluation is not None else {}
            return {"version": record.version, "measured": values({"values": measured})}
    return {}  # long enough to be paged: it is told without its details


def _progress(record: Progress) -> dict[str, Any]:
    return {
        "phase": record.phase,
        "round": record.round,
        "needed": record.needed,
        "deadline": record.deadline_ms,
        "members": [
            [member.client, member.state, int(member.awaited), member.last_ms, member.examples, member.detail]
            for member in record.members
        ],
        "refused": [[refused.client, refused.reason, refused.detail] for refused in record.refused],
    }


def _below(before: int | None) -> dict[str, int]:
    return {} if before is None else {"offset__lt": before}


def _rounds(deployment: Deployment) -> QuerySet[Round]:
    return deployment.rounds.prefetch_related(Prefetch("clients", ClientRound.objects.order_by("client")))
