"""The records themselves: of the control topic, of the aggregator topic, and the announcement."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainstem.protocol.messages.parts import (
    Accepted,
    Adaptation,
    Admission,
    Base,
    ClientId,
    Closed,
    Count,
    Data,
    Forest,
    Group,
    GroupName,
    InputSpec,
    Labels,
    Line,
    Metrics,
    Name,
    Note,
    Number,
    PageRef,
    Positive,
    PublicKey,
    RecordId,
    RecordPart,
    Refused,
    Report,
    Rules,
    Snapshot,
    StrategyChoice,
    TensorSpec,
    Text,
    Topics,
    Training,
    Weights,
)

SCHEMA = 1
"""The version of the protocol that every record names."""


class Recorded(RecordPart, frozen=True, kw_only=True, tag_field="type"):
    schema: int = msgspec.field(default_factory=lambda: SCHEMA)  # a factory: never left out


class Unknown(RecordPart, frozen=True, kw_only=True):
    """A record of a type that this version does not know and need not: it takes no place in the chain."""

    schema: int
    type: str


class Lifecycle(Recorded, frozen=True, kw_only=True):
    """A record of the run's chain. `prev` is the sha256 of the value of the record it follows."""

    federation: str
    seq: int
    prev: str


class Opened(Lifecycle, frozen=True, kw_only=True, tag="opened"):
    """The first record of a run: everything that defines it, and version 0's weights.

    `tensors` are the model's. `groups` are exchanged beside it. `untrained` are the numbers of the float tensors that
    change without a gradient, such as BatchNorm's statistics: no server optimizer steps them. `frozen` are those of
    the float tensors that do not change at all: like integers and booleans, no update carries them. `personal` are the
    numbers of those that stay at each site: no update carries them either, and every version has version 0's.
    `forest`: the model is one of trees, to which each round adds those of its updates. `platform` is the key that the
    run's lifecycle records are signed with; without it they are not.
    """

    name: str
    framework: str
    architecture: str
    input: InputSpec
    training: Training
    strategy: StrategyChoice
    rules: Rules
    data: Data
    topics: Topics
    tensors: tuple[TensorSpec, ...]
    weights: Weights
    parent: str | None = None
    groups: tuple[Group, ...] = ()
    untrained: tuple[Count, ...] = ()
    frozen: tuple[Count, ...] = ()
    adaptation: Adaptation = Adaptation()
    personal: tuple[Count, ...] = ()
    forest: Forest | None = None
    platform: PublicKey | None = None


class Round(Lifecycle, frozen=True, kw_only=True, tag="round"):
    """One round's commit: the new version, what it is made of, and the next round's snapshot.

    `state` has the groups that the run's server keeps, as they are after this round. `clients` is how many members
    were active when it closed. `evaluation` is what the clients measured of its base, `personal` what they measured of
    their own models in its place.
    """

    round: int
    version: int
    base: Base
    strategy: StrategyChoice
    accepted: tuple[Accepted, ...]
    weights: Weights
    snapshot: Snapshot
    closed: Closed
    opened_ms: int
    writer: str
    clients: Count = 0
    final: bool = False
    refused: tuple[Refused, ...] = ()
    refused_more: dict[str, int] = {}
    evaluation: Metrics | None = None
    personal: Metrics | None = None
    state: dict[GroupName, Weights] = {}


class StepRecord(Lifecycle, frozen=True, kw_only=True):
    """The commit of a step of the open round, which goes on with these clients and counts from this record."""

    round: int
    clients: tuple[ClientId, ...]


class Selected(StepRecord, frozen=True, kw_only=True, tag="selected"):
    """Who takes part in the open round, which counts from this record, and how many of them suffice at its deadline.

    At a deadline below that, another one with more clients may follow.
    """

    quorum: Positive


class RolledBack(Lifecycle, frozen=True, kw_only=True, tag="rolled_back"):
    """An earlier version becomes the head's model again, with the server's groups as they were after it."""

    version: int
    weights: Weights
    snapshot: Snapshot
    command: int
    state: dict[GroupName, Weights] = {}


class Stopped(Lifecycle, frozen=True, kw_only=True, tag="stopped"):
    """The run pauses; the open round's updates are kept for a resume."""

    command: int


class Resumed(Lifecycle, frozen=True, kw_only=True, tag="resumed"):
    """A stopped or failed run goes on from its last commit's snapshot."""

    command: int


class Changed(Lifecycle, frozen=True, kw_only=True, tag="changed"):
    """The rules from here on; `removed` is a client whose processes so far no longer take part."""

    rules: Rules
    command: int
    removed: ClientId | None = None


class Finished(Lifecycle, frozen=True, kw_only=True, tag="finished"):
    """The last version stands; `evaluation` is what the clients measured of it on their own data, `personal` what they
    measured of their own models in its place."""

    version: int
    sha256: str
    evaluation: Metrics | None = None
    evaluations: dict[str, Metrics] = {}
    personal: Metrics | None = None
    personals: dict[str, Metrics] = {}


class Failed(Lifecycle, frozen=True, kw_only=True, tag="failed"):
    """The run cannot go on; the sentence says why."""

    detail: str


class Page(Recorded, frozen=True, kw_only=True, tag="page"):
    """A piece of a long record's JSON. Commits nothing."""

    data: str


class Paged(Lifecycle, frozen=True, kw_only=True, tag="paged"):
    """A lifecycle record whose JSON stands in pages, in order; `sha256` is over the whole text."""

    kind: str
    pages: tuple[PageRef, ...]
    sha256: str


class Command(Recorded, frozen=True, kw_only=True, tag="command"):
    """What a person asks of the run: stop, resume, deadline, rollback, remove, admission."""

    federation: str
    action: str
    id: str
    by: str = ""
    deadline_ms: Count | None = None
    version: Count | None = None
    client: ClientId | None = None
    admission: Admission | None = None


class Rejected(Recorded, frozen=True, kw_only=True, tag="rejected"):
    """The aggregator's answer to a command that it will not carry out."""

    federation: str
    command: int
    detail: str


class MemberState(RecordPart, frozen=True, kw_only=True):
    """A member in a progress record. `state`: waiting, training, accepted, refused, silent, left, failed, removed.

    `awaited`: the open round waits for its answer.
    """

    client: str
    state: str
    awaited: bool = False
    last_ms: int
    examples: int = 0
    detail: str = ""


class Failure(RecordPart, frozen=True, kw_only=True):
    """Why a client that is no member (any more) gave up, in its own words."""

    client: str
    detail: str


class Progress(Recorded, frozen=True, kw_only=True, tag="progress"):
    """What the aggregator sees between commits, for people. Decides nothing, may repeat.

    `failures` are the newest; `detail` says what keeps the aggregator itself from going on.
    """

    federation: str
    phase: str
    round: int
    needed: int
    deadline_ms: int | None
    members: tuple[MemberState, ...]
    refused: tuple[Refused, ...] = ()
    refused_counts: dict[str, int] = {}
    failures: tuple[Failure, ...] = ()
    detail: str = ""


class Announcement(Recorded, frozen=True, kw_only=True, tag="announcement"):
    """An open federation, for those who look for one. `revision` grows with every announcement.

    `platform` is the key that it and the run's lifecycle records are signed with; without it they are not.
    """

    federation: str
    name: str
    revision: int
    framework: str
    input: InputSpec
    data: Data
    min_clients: int
    max_clients: int
    topics: Topics
    platform: PublicKey | None = None


class Audited(Recorded, frozen=True, kw_only=True, tag="audited"):
    """Who did what: a record of FEDERATED_AUDIT_TOPIC. It counts once, by its `id`. No field holds what is secret.

    `who` acted by means of `by`, with `token` (its number and name) where that is one, from `address`. `action` is
    `<kind of object>.<what was done>`, `object` the object's id and `name` its name; `detail` is a sentence, or says
    what was changed. `begun` is followed by a record of how it ended.
    """

    id: RecordId
    at_ms: Count
    who: Line
    by: Literal["session", "token", "password", "command", "platform"]
    action: Name
    result: Literal["done", "begun", "refused", "failed"] = "done"
    token: Line = ""
    object: Line = ""
    name: Line = ""
    address: Line = ""
    detail: Note = ""


class Joined(Recorded, frozen=True, kw_only=True, tag="joined"):
    """A client is there. `incarnation` is new at every start of its process; said again it renews what it says.

    `labels` are its samples by label, where the federation's selection asks for them. `growing`: its updates may say
    more examples than this, each at least as many as the one before. `note` is for people: what it leaves out of its
    stream, and why.
    """

    federation: Name
    client: ClientId
    incarnation: Name
    examples: Count
    software: Text = ""
    labels: Labels = {}
    growing: bool = False
    note: Note = ""


class Heartbeat(Recorded, frozen=True, kw_only=True, tag="heartbeat"):
    """A client is alive; `phase` waiting, training, uploading, evaluating; `progress` in 0..1."""

    client: ClientId
    incarnation: Name
    phase: Name
    base: Count | None = None
    progress: float = 0.0


class Update(Recorded, frozen=True, kw_only=True, tag="update"):
    """An update's manifest: it makes the payload beside it, or the chunks before it, an update.

    `extra` has the groups that go `up`. `steps` are those of the client's optimizer in this training (0: not said),
    `loss` is that of the base's model on the samples that it trained on, where the run's strategy asks for it.
    `tensors` are, where sites may differ (`adapt` partial or slice), those of the model that it carries, or their
    leading parts; empty: all of them, whole.
    """

    client: ClientId
    incarnation: Name
    base: Base
    number: Count
    examples: Count
    weights: Weights
    steps: Count = 0
    loss: Number | None = None
    report: Report = Report()
    tensors: tuple[TensorSpec, ...] = ()
    extra: dict[GroupName, Weights] = {}


class ClientFailed(Recorded, frozen=True, kw_only=True, tag="client_failed"):
    """A client gives up and says why."""

    client: ClientId
    incarnation: Name
    detail: Text


class Left(Recorded, frozen=True, kw_only=True, tag="left"):
    """A client leaves; after the last round with what it measured of the final model, and of its own."""

    client: ClientId
    incarnation: Name
    version: Count | None = None
    evaluation: Metrics | None = None
    personal: Metrics | None = None


class Tick(Recorded, frozen=True, kw_only=True, tag="tick"):
    """The aggregator lets round time pass. `seq` is that of the head that its writer follows: the first tick of a head
    starts its time."""

    writer: str
    seq: Count | None = None


ControlRecord = (
    Opened | Round | Selected | RolledBack | Stopped | Resumed | Changed | Finished | Failed
    | Page | Paged | Command | Rejected | Progress
)  # fmt: skip
ClientRecord = Joined | Heartbeat | Update | ClientFailed | Left | Tick
