"""A federation's chain of lifecycle records: which record follows which, judged from the control topic alone."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mainstem.messages import (
    Base,
    Changed,
    Failed,
    Finished,
    Lifecycle,
    Opened,
    Resumed,
    RolledBack,
    Round,
    Rules,
    Selected,
    Snapshot,
    Stopped,
    Weights,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A lifecycle record in its place. `hash` is the sha256 of its value, by which its successor names it."""

    offset: int
    timestamp_ms: int
    hash: str
    record: Lifecycle


@dataclass(frozen=True, slots=True)
class Head:
    """The run as the chain so far defines it. Immutable: `follow` gives the next one.

    `base` names the record that set the model; `lineage` the models that the head's model descends from, itself
    last; `models` their weights, one each; `since_ms` is the stamp of its record, from which the open round counts;
    `selected` says whom it asks, None where it asks all or has not chosen yet; `resumed`: after a resume it has not
    chosen again; `removals` are clients that people have removed, each with the `seq` of the record that says so, as
    far as no snapshot tells it yet.
    """

    link: Link
    opened: Opened
    rules: Rules
    base: Base
    weights: Weights
    lineage: tuple[Base, ...]
    models: tuple[Weights, ...]
    round: int
    version: int
    snapshot: Snapshot
    since_ms: int
    state: str
    command: int
    selected: Selected | None = None
    resumed: bool = False
    removals: tuple[tuple[str, int], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether no round is open: stopped, finished or failed."""
        return self.state in ("stopped", "finished", "failed")

    @property
    def final(self) -> bool:
        """Whether the last round of the rules is committed."""
        return self.round >= self.rules.rounds

    @property
    def unchanged(self) -> int:
        """How many of the newest versions, one after the other, hold the same weights as the version before them."""
        steps = list(zip(self.lineage, self.models, strict=True))
        count = 0
        for (base, weights), (parent, before) in zip(steps[:0:-1], steps[-2::-1], strict=True):
            if weights.sha256 != before.sha256 or base.version == parent.version:
                break
            count += 1
        return count

    def model(self, version: int) -> Weights | None:
        """The weights of a version that the head's model descends from; None where it is no such version."""
        found = (weights for base, weights in zip(self.lineage, self.models, strict=True) if base.version == version)
        return next(found, None)


def begin(link: Link) -> Head | None:
    """The head that an `opened` record makes; None where the record cannot begin a chain."""
    record = link.record
    if not isinstance(record, Opened) or record.seq != 0 or record.prev != "":
        return None
    base = Base(seq=0, version=0)
    return Head(
        link=link,
        opened=record,
        rules=record.rules,
        base=base,
        weights=record.weights,
        lineage=(base,),
        models=(record.weights,),
        round=0,
        version=0,
        snapshot=Snapshot(position=0, time_ms=0),
        since_ms=link.timestamp_ms,
        state="open",
        command=-1,
    )


def follow(head: Head, link: Link) -> Head | None:
    """The head after `link`; None where the record does not follow this head (it is superseded)."""
    record = link.record
    valid = record.seq == head.link.record.seq + 1 and record.prev == head.link.hash
    if not valid or record.federation != head.opened.federation:
        return None
    changes: dict[str, object] = {"link": link, "since_ms": link.timestamp_ms}
    match record:
        case Round():
            base = Base(seq=record.seq, version=record.version)
            weights = _lean(record.weights, head.opened.weights)
            changes |= {
                "base": base,
                "weights": weights,
                "lineage": (*head.lineage, base),
                "models": (*head.models, weights),
                "round": record.round,
                "version": record.version,
                "snapshot": record.snapshot,
                "state": "open",
                "selected": None,
                "resumed": False,
                "removals": (),
            }
        case Selected():
            changes |= {"selected": record, "resumed": False}
        case RolledBack():
            model = head.model(record.version)
            if model is None or record.weights != model:
                return None  # it names a model that the head does not descend from
            kept = tuple(b for b in head.lineage if b.version <= record.version)
            base = Base(seq=record.seq, version=record.version)
            changes |= {
                "base": base,
                "weights": model,
                "lineage": (*kept, base),
                "models": (*head.models[: len(kept)], model),
                "round": len({b.version for b in kept if b.version > 0}),
                "snapshot": record.snapshot,
                "command": record.command,
                "state": "open",
                "selected": None,
                "resumed": False,
            }
        case Stopped():
            changes |= {"state": "stopped", "command": record.command}
        case Resumed():
            changes |= {"state": "open", "command": record.command, "resumed": True}
        case Changed():
            changes |= {"rules": record.rules, "command": record.command}
            if record.removed is not None:
                changes |= {"removals": (*head.removals, (record.removed, record.seq))}
        case Finished():
            if (record.version, record.sha256) != (head.base.version, head.weights.sha256):
                return None  # it ends the run with another model than the head's
            changes |= {"state": "finished"}
        case Failed():
            changes |= {"state": "failed"}
        case _:
            return None
    return _replace(head, changes)


def _lean(weights: Weights, first: Weights) -> Weights:
    """The manifest with version 0's specs in the place of equal ones of its own: a long run keeps them once."""
    return msgspec.structs.replace(weights, tensors=first.tensors) if weights.tensors == first.tensors else weights


def _replace(head: Head, changes: dict[str, object]) -> Head:
    fields = {name: getattr(head, name) for name in Head.__slots__}
    return Head(**(fields | changes))


class Chain:
    """Offers links in log order and keeps the head: the first valid successor wins, for every reader."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.superseded = 0

    def offer(self, link: Link) -> bool:
        """Whether the link took its place in the chain."""
        head = begin(link) if self.head is None else follow(self.head, link)
        if head is None:
            self.superseded += 1
            return False
        self.head = head
        return True
