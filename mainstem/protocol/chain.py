"""A federation's chain of lifecycle records: which record follows which, judged from the control topic alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from mainstem.protocol.changes import Way, is_whole
from mainstem.protocol.encodings import RAW
from mainstem.protocol.exchange import published
from mainstem.protocol.messages import (
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
    StepRecord,
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
    last; `models` their weights, one each, and `states` the groups that were published with them, by name; `since_ms`
    is the stamp of its record, from which the open round counts; `steps` are the records of the steps that it has
    finished; `resumed`: after a resume it has not chosen again whom it asks; `removals` are clients that people have
    removed, each with the `seq` of the record that says so, as far as no snapshot tells it yet.
    """

    link: Link
    opened: Opened
    rules: Rules
    base: Base
    weights: Weights
    lineage: tuple[Base, ...]
    models: tuple[Weights, ...]
    states: tuple[Mapping[str, Weights], ...]
    round: int
    version: int
    snapshot: Snapshot
    since_ms: int
    state: str
    command: int
    steps: tuple[StepRecord, ...] = ()
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
    def selected(self) -> Selected | None:
        """Whom the open round has chosen to ask; None where it asks all or has not chosen yet."""
        return next((record for record in self.steps if isinstance(record, Selected)), None)

    @property
    def asked(self) -> tuple[str, ...] | None:
        """The clients with whom the open round goes on, as its newest finished step says; None where none has."""
        return self.steps[-1].clients if self.steps else None

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

    @property
    def groups(self) -> Mapping[str, Weights]:
        """The groups that were published with the head's model; those that no round has published yet are zeros."""
        return self.states[-1]

    def model(self, version: int) -> Weights | None:
        """The weights of a version that the head's model descends from; None where it is no such version."""
        newest = zip(reversed(self.lineage), reversed(self.models), strict=True)
        return next((weights for base, weights in newest if base.version == version), None)

    def way(self, version: int) -> Way | None:
        """How a version is read that the head's model descends from; None where it is no such version."""
        place, steps = self.place(version), list[Weights]()
        while place is not None and not is_whole(self.models[place]):
            steps.append(self.models[place])
            place = self.place(self.lineage[place - 1].version)  # where it was made, not where it was gone back to
        return None if place is None else Way(self.models[place], tuple(reversed(steps)))

    def place(self, version: int) -> int | None:
        """Where in the lineage a version stands first; None where the head's model does not descend from it."""
        return next((place for place, base in enumerate(self.lineage) if base.version == version), None)


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
        states=({},),
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
            if record.state.keys() != published(head.opened).keys():
                return None  # it publishes other groups than the run keeps
            if (record.weights.change is None) != (head.opened.rules.encoding_down.name == RAW):
                return None  # its version travels otherwise than the run's do
            base = Base(seq=record.seq, version=record.version)
            changes |= {
                "base": base,
                "weights": record.weights,
                "lineage": (*head.lineage, base),
                "models": (*head.models, record.weights),
                "states": (*head.states, record.state),
                "round": record.round,
                "version": record.version,
                "snapshot": record.snapshot,
                "state": "open",
                "steps": (),
                "resumed": False,
                "removals": (),
            }
        case StepRecord():
            before = takewhile(lambda earlier: type(earlier) is not type(record), head.steps)
            changes |= {"steps": (*before, record)}  # said again, it takes its own place: what came after it is void
            if isinstance(record, Selected):
                changes |= {"resumed": False}
        case RolledBack():
            place = head.place(record.version)
            if place is None or (record.weights, record.state) != (head.models[place], head.states[place]):
                return None  # it names a model that the head does not descend from
            model, state = head.models[place], head.states[place]
            kept = tuple(b for b in head.lineage if b.version <= record.version)
            base = Base(seq=record.seq, version=record.version)
            changes |= {
                "base": base,
                "weights": model,
                "lineage": (*kept, base),
                "models": (*head.models[: len(kept)], model),
                "states": (*head.states[: len(kept)], state),
                "round": len({b.version for b in kept if b.version > 0}),
                "snapshot": record.snapshot,
                "command": record.command,
                "state": "open",
                "steps": (),
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


def _replace(head: Head, changes: dict[str, object]) -> Head:
    fields = {name: getattr(head, name) for name in Head.__slots__}
    return Head(**(fields | changes))


class Chain:
    """Offers links in log order and keeps the head: the first valid successor wins, for every reader."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.hashes: list[str] = []
        """The sha256 of each record of the chain, the oldest first."""
        self.superseded = 0

    def offer(self, link: Link) -> bool:
        """Whether the link took its place in the chain."""
        head = begin(link) if self.head is None else follow(self.head, link)
        if head is None:
            self.superseded += 1
            return False
        self.head = head
        self.hashes.append(link.hash)
        return True
