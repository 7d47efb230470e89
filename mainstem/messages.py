"""Control records and messages as typed classes, to and from JSON.

Every record carries `schema` and `type`. Unknown fields are ignored, an unknown `schema` or `type` is
refused. `docs/protocol.md` is the specification, `tests/vectors/` holds the JSON Schema and examples.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeVar

import msgspec

from mainstem.errors import DecodeError

SCHEMA = 1
Json = Any
"""A JSON value that Mainstem stores and compares but does not interpret."""


class Reason:
    """Why an update or a record was not counted: the codes that records and metrics carry."""

    MALFORMED = "malformed"
    UNKNOWN_CLIENT = "unknown_client"
    FULL = "full"
    STALE = "stale"
    UNKNOWN_BASE = "unknown_base"
    DUPLICATE = "duplicate"
    TOO_LARGE = "too_large"
    SHAPE = "shape"
    MISSING_CHUNKS = "missing_chunks"
    CHECKSUM = "checksum"
    NOT_FINITE = "not_finite"
    EXAMPLES = "examples"
    CLOSED = "closed"


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every part of a record."""


# ---------------------------------------------------------------- bounds, checked when a record is decoded
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]
Number = Annotated[float, msgspec.Meta(ge=-1e200, le=1e200)]
"""A metric: so bounded that no weighted sum of it leaves the numbers that JSON has."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
ClientId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]


# ---------------------------------------------------------------- parts
class TensorSpec(_Frozen, frozen=True, kw_only=True):
    """One tensor's name, NumPy dtype name (little-endian) and shape."""

    name: str
    dtype: str
    shape: tuple[Count, ...]


class ChunkRun(msgspec.Struct, frozen=True, array_like=True):
    """`count` chunk records at consecutive offsets of one partition, from `first` on."""

    partition: Count
    first: Count
    count: Positive


class Weights(_Frozen, frozen=True, kw_only=True):
    """A manifest: which records hold these tensors, and what they must hash to.

    `sha256` is over the ordered tensors (`weights.digest`), never over a file.
    """

    writer: Name
    update: Name
    tensors: tuple[TensorSpec, ...]
    chunks: tuple[ChunkRun, ...]
    nbytes: Count
    sha256: str


class InputSpec(_Frozen, frozen=True, kw_only=True):
    """Shape (without the batch dimension) and dtype of what the model takes and gives."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    label_shape: tuple[int, ...] = ()
    label_dtype: str = "float32"


class Topics(_Frozen, frozen=True, kw_only=True):
    """The federation's topics by role."""

    control: str
    data: str
    aggregator: str


class Training(_Frozen, frozen=True, kw_only=True):
    """What a client does with its data in one round."""

    batch_size: int = 32
    epochs: int = 1
    optimizer: Json = "adam"
    loss: Json = "categorical_crossentropy"
    metrics: tuple[str, ...] = ("accuracy",)
    learning_rate: float | None = None
    seed: int = 0
    shuffle: bool = True


class Strategy(_Frozen, frozen=True, kw_only=True):
    """An aggregation strategy by name, with its parameters."""

    name: str = "fedavg"
    params: dict[str, Json] = {}


class Rules(_Frozen, frozen=True, kw_only=True):
    """How rounds open and close. Times are milliseconds of log time."""

    mode: str = "sync"
    rounds: Positive = 1
    min_clients: Positive = 1
    max_clients: Positive = 1000
    quorum: Positive | None = None
    deadline_ms: Positive = 600_000
    below_quorum: Annotated[str, msgspec.Meta(pattern="^(extend|fail)$")] = "extend"
    wait_limit_ms: Count = 3_600_000
    final_wait_ms: Count = 60_000
    heartbeat_timeout_ms: Positive = 30_000
    max_update_bytes: Positive = 8 << 30
    max_examples: Positive = 1 << 40


class Data(_Frozen, frozen=True, kw_only=True):
    """Which streams fit: Kafka-ML's matching fields."""

    min_data: int = 1
    restriction: Json = None


class Base(_Frozen, frozen=True, kw_only=True):
    """The model that an update or a version starts from: the lifecycle record that set it."""

    seq: Count
    version: Count


class Metrics(_Frozen, frozen=True, kw_only=True):
    """Finite numbers by name; `examples` they were measured on."""

    examples: Count
    values: Annotated[dict[Name, Number], msgspec.Meta(max_length=256)] = {}


class Report(_Frozen, frozen=True, kw_only=True):
    """What a client tells about one update beside its weights. Seconds are wall time."""

    training: Metrics | None = None
    validation: Metrics | None = None
    evaluation: Metrics | None = None
    train_seconds: float = 0.0
    upload_seconds: float = 0.0


class Member(_Frozen, frozen=True, kw_only=True):
    """A client as the aggregator knows it. `last_ms` is the log time of its newest record."""

    client: ClientId
    incarnation: Name
    joined: Count
    examples: Count = 0
    status: str = "active"
    last_ms: int = 0


class Accepted(_Frozen, frozen=True, kw_only=True):
    """An update that counts: where it is, what it hashes to, and its weight in the sum."""

    client: str
    offset: int
    sha256: str
    nbytes: int
    base: Base
    number: int
    examples: int
    coefficient: float
    received_ms: int
    report: Report = Report()


class Refused(_Frozen, frozen=True, kw_only=True):
    """A record that does not count, and why."""

    client: str | None
    offset: int
    reason: str
    detail: str


class Snapshot(_Frozen, frozen=True, kw_only=True):
    """What the next round needs, complete: a successor starts from here and nowhere else.

    `position` is the next offset to read of the aggregator topic's partition 0, `time_ms` the
    running maximum of its LogAppendTime.
    """

    position: int
    time_ms: int
    members: tuple[Member, ...] = ()


class Closed(_Frozen, frozen=True, kw_only=True):
    """Why and when a round closed: by `all` answers, at the `deadline`, ..."""

    by: str
    offset: int
    time_ms: int


class PageRef(_Frozen, frozen=True, kw_only=True):
    """A page of a long record: its offset in the same topic and its value's sha256."""

    offset: int
    sha256: str


# ---------------------------------------------------------------- records
class _Record(_Frozen, frozen=True, kw_only=True, tag_field="type"):
    schema: int = msgspec.field(default_factory=lambda: SCHEMA)  # a factory: never left out


class Lifecycle(_Record, frozen=True, kw_only=True):
    """A record of the run's chain. `prev` is the sha256 of the value of the record it follows."""

    federation: str
    seq: int
    prev: str


class Opened(Lifecycle, frozen=True, kw_only=True, tag="opened"):
    """The first record of a run: everything that defines it, and version 0's weights."""

    name: str
    framework: str
    architecture: str
    input: InputSpec
    training: Training
    strategy: Strategy
    rules: Rules
    data: Data
    topics: Topics
    weights: Weights
    parent: str | None = None
    encodings: tuple[str, ...] = ("raw",)


class Round(Lifecycle, frozen=True, kw_only=True, tag="round"):
    """One round's commit: the new version, what it is made of, and the next round's snapshot."""

    round: int
    version: int
    base: Base
    strategy: Strategy
    accepted: tuple[Accepted, ...]
    weights: Weights
    snapshot: Snapshot
    closed: Closed
    opened_ms: int
    writer: str
    final: bool = False
    refused: tuple[Refused, ...] = ()
    refused_more: dict[str, int] = {}
    evaluation: Metrics | None = None


class RolledBack(Lifecycle, frozen=True, kw_only=True, tag="rolled_back"):
    """An earlier version becomes the head's model again."""

    version: int
    weights: Weights
    snapshot: Snapshot
    command: int


class Stopped(Lifecycle, frozen=True, kw_only=True, tag="stopped"):
    """The run pauses; the open round's updates are kept for a resume."""

    command: int


class Resumed(Lifecycle, frozen=True, kw_only=True, tag="resumed"):
    """A stopped or failed run goes on from its last commit's snapshot."""

    command: int


class Changed(Lifecycle, frozen=True, kw_only=True, tag="changed"):
    """The rules from here on."""

    rules: Rules
    command: int


class Finished(Lifecycle, frozen=True, kw_only=True, tag="finished"):
    """The last version stands; `evaluation` is what the clients measured of it on their own data."""

    version: int
    sha256: str
    evaluation: Metrics | None = None
    evaluations: dict[str, Metrics] = {}


class Failed(Lifecycle, frozen=True, kw_only=True, tag="failed"):
    """The run cannot go on; the sentence says why."""

    detail: str


class Page(_Record, frozen=True, kw_only=True, tag="page"):
    """A piece of a long record's JSON. Commits nothing."""

    data: str


class Paged(Lifecycle, frozen=True, kw_only=True, tag="paged"):
    """A lifecycle record whose JSON stands in pages, in order; `sha256` is over the whole text."""

    kind: str
    pages: tuple[PageRef, ...]
    sha256: str


class Command(_Record, frozen=True, kw_only=True, tag="command"):
    """What a person asks of the run: stop, resume, deadline, rollback."""

    federation: str
    action: str
    id: str
    by: str = ""
    deadline_ms: Count | None = None
    version: Count | None = None


class Rejected(_Record, frozen=True, kw_only=True, tag="rejected"):
    """The aggregator's answer to a command that it will not carry out."""

    federation: str
    command: int
    detail: str


class MemberState(_Frozen, frozen=True, kw_only=True):
    """A member in a progress record. `state`: waiting, training, accepted, refused, silent, left, failed."""

    client: str
    state: str
    last_ms: int
    examples: int = 0
    detail: str = ""


class Progress(_Record, frozen=True, kw_only=True, tag="progress"):
    """What the aggregator sees between commits, for people. Decides nothing, may repeat."""

    federation: str
    phase: str
    round: int
    needed: int
    deadline_ms: int | None
    members: tuple[MemberState, ...]
    refused: tuple[Refused, ...] = ()
    refused_counts: dict[str, int] = {}


class Announcement(_Record, frozen=True, kw_only=True, tag="announcement"):
    """An open federation, for those who look for one. `revision` grows with every announcement."""

    federation: str
    name: str
    revision: int
    framework: str
    input: InputSpec
    data: Data
    min_clients: int
    max_clients: int
    topics: Topics


class Joined(_Record, frozen=True, kw_only=True, tag="joined"):
    """A client is there. `incarnation` is new at every start of its process."""

    federation: Name
    client: ClientId
    incarnation: Name
    examples: Count
    software: Text = ""


class Heartbeat(_Record, frozen=True, kw_only=True, tag="heartbeat"):
    """A client is alive; `phase` waiting, training, uploading, evaluating; `progress` in 0..1."""

    client: ClientId
    incarnation: Name
    phase: Name
    base: Count | None = None
    progress: float = 0.0


class Update(_Record, frozen=True, kw_only=True, tag="update"):
    """An update's manifest: it makes the chunks before it an update."""

    client: ClientId
    incarnation: Name
    base: Base
    number: Count
    examples: Count
    weights: Weights
    report: Report = Report()
    signature: Text | None = None


class ClientFailed(_Record, frozen=True, kw_only=True, tag="client_failed"):
    """A client gives up and says why."""

    client: ClientId
    incarnation: Name
    detail: Text


class Left(_Record, frozen=True, kw_only=True, tag="left"):
    """A client leaves; after the last round with what it measured of the final model."""

    client: ClientId
    incarnation: Name
    version: Count | None = None
    evaluation: Metrics | None = None


class Tick(_Record, frozen=True, kw_only=True, tag="tick"):
    """The aggregator lets log time pass when nobody else writes."""

    writer: str


ControlRecord = (
    Opened | Round | RolledBack | Stopped | Resumed | Changed | Finished | Failed
    | Page | Paged | Command | Rejected | Progress
)  # fmt: skip
ClientRecord = Joined | Heartbeat | Update | ClientFailed | Left | Tick


class _Envelope(msgspec.Struct):
    schema: int
    type: str


_Message = TypeVar("_Message")
_encoder = msgspec.json.Encoder(order="deterministic")
_envelope = msgspec.json.Decoder(_Envelope)
_control: msgspec.json.Decoder[ControlRecord] = msgspec.json.Decoder(ControlRecord)
_client: msgspec.json.Decoder[ClientRecord] = msgspec.json.Decoder(ClientRecord)
_announcement = msgspec.json.Decoder(Announcement)


def encode(record: msgspec.Struct) -> bytes:
    """The record as JSON bytes; the same record always gives the same bytes."""
    return _encoder.encode(record)


def sha256(value: bytes) -> str:
    """The hash by which a lifecycle record's successor names it."""
    return hashlib.sha256(value).hexdigest()


def _decode(decoder: msgspec.json.Decoder[_Message], value: bytes | None) -> _Message:
    if value is None:
        raise DecodeError("the record is empty where a JSON object was expected")
    try:
        envelope = _envelope.decode(value)
        if envelope.schema != SCHEMA:
            raise DecodeError(f"schema {envelope.schema} is not known here (this is schema {SCHEMA})")
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a record of this protocol: {error}") from error


def decode_control(value: bytes | None) -> ControlRecord:
    """A record of a federation's control topic; raises DecodeError."""
    return _decode(_control, value)


def decode_client(value: bytes | None) -> ClientRecord:
    """A record (not a chunk) of a federation's aggregator topic; raises DecodeError."""
    return _decode(_client, value)


def decode_announcement(value: bytes | None) -> Announcement:
    """A record of FEDERATED_MODEL_CONTROL_TOPIC; raises DecodeError."""
    return _decode(_announcement, value)
