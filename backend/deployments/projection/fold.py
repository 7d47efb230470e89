"""From control records to rows, without a database: what one record means, given the chain up to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from backend.deployments.models import State
from backend.deployments.projection.columns import whole
from mainstem.protocol.chain import Head
from mainstem.protocol.control import Entry
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import (
    Accepted,
    Failed,
    Finished,
    MemberState,
    Metrics,
    Opened,
    Progress,
    Refused,
    Rejected,
    RolledBack,
    Round,
    Rules,
    Snapshot,
    Stopped,
    Weights,
)
from mainstem.rounds.membership import remark

Row = dict[str, Any]

STATES = {"open": State.RUNNING, "stopped": State.STOPPED, "finished": State.FINISHED, "failed": State.FAILED}
REJECTED = "The last command was rejected: "
WAITING_PHASES = ("unborn", "waiting")


@dataclass(slots=True)
class Changes:
    """What a record changes: columns of the deployment, and rows to insert or update by their keys."""

    deployment: Row = field(default_factory=dict)
    version: Row | None = None
    round: Row | None = None
    clients: list[Row] = field(default_factory=list)
    refusals: list[Row] = field(default_factory=list)
    members: list[Row] = field(default_factory=list)
    present: frozenset[str] | None = None
    """Of a commit: everyone whom its snapshot names."""
    evaluations: dict[int, Row] = field(default_factory=dict)
    """What was measured of a version, by its number."""


def changes_of(entry: Entry, head: Head | None) -> Changes:
    """The changes that `entry` makes; `head` is the chain's head after it. A record that does not count makes none."""
    record = entry.record
    if entry.problem is not None or head is None:
        return Changes()
    if isinstance(record, Progress):
        return _progress(record, head) if record.federation == head.opened.federation else Changes()
    if isinstance(record, Rejected):
        return Changes(deployment={"detail": f"{REJECTED}{record.detail}"})
    if entry.link is None:
        return Changes()
    changes = Changes(deployment=_of_head(head, entry))
    match record:
        case Opened():
            changes.deployment |= _of_opened(record, entry)
            changes.version = _version(0, None, record.weights, entry, 0)
        case Round():
            changes.version = _version(record.version, record.base.version, record.weights, entry, record.seq)
            changes.version["unchanged"] = head.unchanged > 0
            changes.round = _round(record, entry) | {"unchanged": head.unchanged > 0}
            changes.clients = [_client(accepted) for accepted in record.accepted]
            changes.refusals = [_refusal(refused, record.round) for refused in record.refused]
            changes.members = _members(record.snapshot, {a.client for a in record.accepted}, head.rules)
            changes.present = frozenset(member.client for member in record.snapshot.members)
            if record.evaluation is not None:
                changes.evaluations[record.base.version] = _metrics(record.evaluation)
        case Finished():
            measured = {"evaluation": _metrics(record.evaluation), "personal": _metrics(record.personal)}
            changes.deployment |= {**measured, "ended_ms": entry.timestamp_ms}
            changes.members = [
                {
                    "client": client,
                    "evaluation": _metrics(record.evaluations.get(client)),
                    "personal": _metrics(record.personals.get(client)),
                }
                for client in sorted(record.evaluations.keys() | record.personals.keys())
            ]
            if record.evaluation is not None:
                changes.evaluations[record.version] = _metrics(record.evaluation)
        case RolledBack():
            changes.deployment |= {"detail": f"It was rolled back to version {record.version}."}
        case Failed():
            changes.deployment |= {"detail": record.detail, "ended_ms": entry.timestamp_ms}
        case Stopped():
            changes.deployment |= {"ended_ms": entry.timestamp_ms}
    return changes


def _of_head(head: Head, entry: Entry) -> Row:
    started = head.round > 0 or head.state != "open"
    return {
        "state": STATES[head.state] if started else State.WAITING,
        "detail": _standstill(head),
        "round": head.round,
        "version": head.base.version,
        "sha256": head.weights.sha256,
        "rules": whole(head.rules),
        "head": {
            "seq": head.link.record.seq,
            "hash": head.link.hash,
            "offset": entry.offset,
            "lineage": sorted({base.version for base in head.lineage}),
        },
        "phase": "",
        "deadline_ms": None,
        "ended_ms": None,
        "trouble": "",
    }


def _standstill(head: Head) -> str:
    """A sentence where the newest version holds its parent's weights; empty where it does not."""
    count, version = head.unchanged, head.base.version
    if count == 0:
        return ""
    since = f"round {head.round} changed no weight" if count == 1 else f"the last {count} rounds changed no weight"
    return (
        f"Version {version} equals its parent, version {version - 1}: {since}. Look at the learning rate and the loss."
    )


def _of_opened(record: Opened, entry: Entry) -> Row:
    specs = exchange(record).model
    return {
        "name": record.name,
        "framework": record.framework,
        "parent": record.parent,
        "architecture": record.architecture,
        "tensors": msgspec.to_builtins(record.tensors),
        "training": whole(record.training),
        "strategy": whole(record.strategy),
        "data": whole(record.data),
        "input": whole(record.input),
        "adaptation": whole(record.adaptation),
        "personal_tensors": [specs[number].name for number in record.personal if number < len(specs)],
        "opened_ms": entry.timestamp_ms,
    }


def _version(number: int, parent: int | None, weights: Weights, entry: Entry, seq: int) -> Row:
    return {
        "number": number,
        "seq": seq,
        "parent": parent,
        "sha256": weights.sha256,
        "nbytes": weights.nbytes,
        "fetched": weights.nbytes if weights.change is None else weights.change.nbytes,
        "weights": msgspec.to_builtins(weights),
        "offset": entry.offset,
        "created_ms": entry.timestamp_ms,
    }


def _round(record: Round, entry: Entry) -> Row:
    return {
        "seq": record.seq,
        "number": record.round,
        "version": record.version,
        "base_version": record.base.version,
        "strategy": whole(record.strategy),
        "opened_ms": record.opened_ms,
        "closed_ms": record.closed.time_ms,
        "closed_by": record.closed.by,
        "committed_ms": entry.timestamp_ms,
        "examples": sum(accepted.examples for accepted in record.accepted),
        "accepted": len(record.accepted),
        "left_out": sum(bool(accepted.left_out) for accepted in record.accepted),
        "refused": len(record.refused) + sum(record.refused_more.values()),
        "refused_more": dict(record.refused_more),
        "evaluation": _metrics(record.evaluation),
        "personal": _metrics(record.personal),
        "writer": record.writer,
        "offset": entry.offset,
        "final": record.final,
    }


def _client(accepted: Accepted) -> Row:
    report = accepted.report
    return {
        "client": accepted.client,
        "examples": accepted.examples,
        "steps": accepted.steps,
        "loss": accepted.loss,
        "coefficient": accepted.coefficient,
        "scale": accepted.scale,
        "score": accepted.score,
        "left_out": accepted.left_out,
        "sha256": accepted.sha256,
        "nbytes": accepted.nbytes,
        "offset": accepted.offset,
        "base_version": accepted.base.version,
        "number": accepted.number,
        "received_ms": accepted.received_ms,
        "training": _metrics(report.training),
        "validation": _metrics(report.validation),
        "evaluation": _metrics(report.evaluation),
        "personal": _metrics(report.personal),
        "train_seconds": report.train_seconds,
        "upload_seconds": report.upload_seconds,
        "encoding_error": report.encoding_error,
    }


def _refusal(refused: Refused, round_: int) -> Row:
    return {
        "client": refused.client,
        "offset": refused.offset,
        "round": round_,
        "reason": refused.reason,
        "detail": refused.detail,
    }


def _members(snapshot: Snapshot, sent: set[str], rules: Rules) -> list[Row]:
    return [
        {
            "client": member.client,
            "state": member.status if member.status != "active" else "accepted" if member.client in sent else "waiting",
            "awaited": False,
            "examples": member.examples,
            "last_ms": member.last_ms,
            "detail": remark(member, rules, member.note),
        }
        for member in snapshot.members
    ]


def _progress(record: Progress, head: Head) -> Changes:
    changes = Changes(refusals=[_refusal(refused, record.round) for refused in record.refused])
    if not head.ended:  # a late word of a worker that had not seen the end yet
        changes.members = [_member(state) for state in record.members]
        changes.deployment = {
            "state": State.WAITING if record.phase in WAITING_PHASES else State.RUNNING,
            "phase": record.phase,
            "needed": record.needed,
            "deadline_ms": record.deadline_ms,
            "failures": [{"client": failure.client, "detail": failure.detail} for failure in record.failures],
            "trouble": record.detail,
        }
    return changes


def _member(state: MemberState) -> Row:
    return {
        "client": state.client,
        "state": state.state,
        "awaited": state.awaited,
        "examples": state.examples,
        "last_ms": state.last_ms,
        "detail": state.detail,
    }


def _metrics(metrics: Metrics | None) -> Any:
    if metrics is None:
        return None
    undefined = {"undefined": dict(metrics.undefined)} if metrics.undefined else {}
    return {"examples": metrics.examples, "values": dict(metrics.values), **undefined}
