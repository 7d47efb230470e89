"""A run as the flight recorder plays it: every turn in a line, so small that a browser holds all of a long run.

What a client did is one letter (see `runs.CODES`; a blank where it did nothing), in the order of the first line's
clients: 1,000 rounds of 100 clients are 200 kB of text, a tenth of that over the wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from backend.deployments.live.events import SILENT, values
from backend.deployments.models import ClientRound, ControlRecord, Deployment
from backend.runs.charts.curves import LINES, short, spread
from backend.runs.charts.grid import LIVE
from mainstem.protocol.messages import Finished, Progress, RolledBack, Selected

Line = dict[str, Any]

WORDS = 2_000
"""Progress records that are told: of more, evenly chosen ones."""
BATCH = 200

_told = msgspec.json.Decoder(Progress | Selected | RolledBack | Finished)


def lines(deployment: Deployment, clients: Sequence[str], metric: str) -> Iterator[Line]:
    """First `clients`, and in `words` which part of the progress records is told; then the run's turns in order."""
    records = ControlRecord.of(deployment).filter(problem="").exclude(kind__in=SILENT)
    turns = list(records.values_list("offset", "timestamp_ms", "kind"))
    progress = [offset for offset, _, kind in turns if kind == "progress"]
    step = max(1, -(-len(progress) // WORDS))
    left_out = {offset for at, offset in enumerate(progress) if (len(progress) - 1 - at) % step}
    yield {"clients": list(clients), "every": step}
    tape = _Tape(deployment, clients, metric)
    kept = [turn for turn in turns if turn[0] not in left_out]
    for batch in (kept[at : at + BATCH] for at in range(0, len(kept), BATCH)):
        rounds = tape.rounds([offset for offset, _, kind in batch if kind == "round"])
        wanted = [offset for offset, _, kind in batch if kind in ("progress", "selected", "rolled_back", "finished")]
        told = dict(ControlRecord.of(deployment).filter(offset__in=wanted).values_list("offset", "value"))
        for offset, at, kind in batch:
            body = rounds.get(offset) or tape.other(told.get(offset))
            yield {"kind": kind, "at": at, **body}


class _Tape:
    """Makes the lines of one run."""

    def __init__(self, deployment: Deployment, clients: Sequence[str], metric: str) -> None:
        self._deployment, self._metric, self._clients = deployment, metric, clients
        self._place = {client: at for at, client in enumerate(clients)}
        self._each = deployment.rounds.count() * len(clients) <= LINES

    def rounds(self, offsets: Sequence[int]) -> dict[int, Line]:
        """Committed rounds by their offsets."""
        fields = ("pk", "offset", "seq", "number", "version", "accepted", "left_out", "refused", "evaluation")
        rows = list(self._deployment.rounds.filter(offset__in=offsets).values_list(*fields))
        cells = {key: [" "] * len(self._clients) for key, *_ in rows}
        curves: dict[int, list[float | None]] = {key: [None] * len(self._clients) for key, *_ in rows}
        self._mark_refused(cells, {number: key for key, _, _, number, *_ in rows})
        updates = ClientRound.objects.filter(round__in=list(cells)).order_by()
        columns = ("round_id", "client", "left_out", *(("training",) if self._each else ()))
        for key, client, left_out, *training in updates.values_list(*columns):
            if (at := self._place.get(client)) is not None:
                cells[key][at] = "o" if left_out else "a"
                curves[key][at] = self._value(training[0]) if training else None
        band = {} if self._each or not self._metric else spread(updates, self._metric)
        found: dict[int, Line] = {}
        for key, offset, seq, number, version, accepted, left_out, refused, evaluation in rows:
            found[offset] = {
                "seq": seq, "round": number, "version": version, "updates": accepted, "refused": refused,
                **({"left_out": left_out} if left_out else {}),
                "cells": "".join(cells[key]), "value": self._value(evaluation),
                **({"lines": curves[key]} if self._each else {"band": band.get(key)}),
            }  # fmt: skip
        return found

    def other(self, value: bytes | memoryview | None) -> Line:
        """What else a record tells; nothing of one that is so long that it was paged."""
        try:
            record = None if value is None else _told.decode(bytes(value))  # its grammar was judged as it came
        except msgspec.DecodeError:
            return {}
        match record:
            case Progress():
                cells = [" "] * len(self._clients)
                for member in record.members:
                    if (at := self._place.get(member.client)) is not None:
                        cells[at] = LIVE.get(member.state, "w")
                awaited = sum(member.awaited for member in record.members)
                return {"phase": record.phase, "round": record.round, "awaited": awaited, "cells": "".join(cells)}
            case Selected():
                return {"round": record.round, "chosen": len(record.clients)}
            case RolledBack():
                return {"version": record.version}
            case Finished(evaluation=evaluation):
                return {"value": self._value({"values": evaluation.values} if evaluation is not None else None)}
        return {}

    def _mark_refused(self, cells: dict[int, list[str]], keys: dict[int, int]) -> None:
        refused = self._deployment.refusals.filter(round__in=keys, client__isnull=False)
        for client, number, reason in refused.values_list("client", "round", "reason"):
            if (at := self._place.get(str(client))) is not None:
                cells[keys[number]][at] = "s" if reason == "stale" else "r"

    def _value(self, metrics: Any) -> float | None:
        return short(values(metrics).get(self._metric))
