"""What records are made of: specs, manifests, settings, members, and the bounds of every field."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Json = Any
"""A JSON value that Mainstem stores and compares but does not interpret."""


class Reason:
    """Why an update or a record was not counted: the codes that records and metrics carry."""

    MALFORMED = "malformed"
    UNKNOWN_CLIENT = "unknown_client"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
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
    NOT_SELECTED = "not_selected"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every part of a record."""


# ---------------------------------------------------------------- bounds, checked when a record is decoded
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
Number = Annotated[float, msgspec.Meta(ge=-1e200, le=1e200)]
"""A metric: so bounded that no weighted sum of it leaves the numbers that JSON has."""
Staleness = Annotated[int, msgspec.Meta(ge=0, le=1000)]
"""Commits between an update's base and the head."""
Exponent = Annotated[float, msgspec.Meta(ge=0, le=16)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
MOST_VALUES = 256
"""Values of all metrics together: a metric may have one for each class."""
ClientId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]
Note = Annotated[str, msgspec.Meta(max_length=400)]
"""A sentence for people that goes with a member from record to record."""
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Labels = Annotated[dict[Name, Count], msgspec.Meta(max_length=1000)]
"""Samples by label."""


# ---------------------------------------------------------------- parts
class TensorSpec(Part, frozen=True, kw_only=True):
    """One tensor's name, NumPy dtype name (little-endian) and shape."""

    name: str
    dtype: str
    shape: tuple[Count, ...]


class ChunkRun(msgspec.Struct, frozen=True, array_like=True):
    """`count` chunk records at consecutive offsets of one partition, from `first` on."""

    partition: Count
    first: Count
    count: Positive


class Weights(Part, frozen=True, kw_only=True):
    """A manifest: which records hold these tensors, and what they must hash to.

    `sha256` is over the ordered tensors (`weights.digest`), never over a file.
    """

    writer: Name
    update: Name
    tensors: tuple[TensorSpec, ...]
    chunks: tuple[ChunkRun, ...]
    nbytes: Count
    sha256: str


class InputSpec(Part, frozen=True, kw_only=True):
    """Shape (without the batch dimension) and dtype of what the model takes and gives."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    label_shape: tuple[int, ...] = ()
    label_dtype: str = "float32"


class Topics(Part, frozen=True, kw_only=True):
    """The federation's topics by role."""

    control: str
    data: str
    aggregator: str


class Training(Part, frozen=True, kw_only=True):
    """What a client does with its data in one round.

    Optimizer, loss and metrics are names or Keras configs, as `mainstem.compiling` knows them. `class_weight` is how
    much a sample of a class counts in the loss, by the class' number; 1 where it is not named.
    """

    batch_size: int = 32
    epochs: int = 1
    optimizer: Json = "adam"
    loss: Json = "categorical_crossentropy"
    metrics: tuple[Json, ...] = ("accuracy",)
    learning_rate: float | None = None
    seed: int = 0
    shuffle: bool = True
    class_weight: dict[str, Weight] = {}


class Strategy(Part, frozen=True, kw_only=True):
    """An aggregation strategy by name, with its parameters."""

    name: str = "fedavg"
    params: dict[str, Json] = {}


class Selection(Part, frozen=True, kw_only=True):
    """How a round's clients are chosen, by name, with its parameters."""

    name: str = "all"
    params: dict[str, Json] = {}


class Rules(Part, frozen=True, kw_only=True):
    """How rounds open and close. Times are milliseconds of log time.

    `target` (sync) is how many updates suffice. `buffer` (buffered) closes a round; there an update may start up to
    `max_staleness` commits before the head, and its weight falls by (1 + staleness)^-`staleness_exponent`.
    `keep_updates` is of how many committed rounds the clients' updates stay in the log; None keeps them for ever.
    After `missed_limit` deadlines in a row without a word a member is waited for no longer; 0 waits always.
    """

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
    target: Positive | None = None
    buffer: Positive = 10
    max_staleness: Staleness = 10
    staleness_exponent: Exponent = 0.5
    selection: Selection = Selection()
    keep_updates: Positive | None = None
    missed_limit: Count = 3


class Data(Part, frozen=True, kw_only=True):
    """Which streams fit: Kafka-ML's matching fields."""

    min_data: int = 1
    restriction: Json = None


class Base(Part, frozen=True, kw_only=True):
    """The model that an update or a version starts from: the lifecycle record that set it."""

    seq: Count
    version: Count


class Metrics(Part, frozen=True, kw_only=True):
    """Finite numbers by name; `examples` they were measured on.

    `undefined`: of how many clients a metric has no value, such as the AUC of samples of one class. Among several
    clients a value is the mean over those who have one, by their examples.
    """

    examples: Count
    values: Annotated[dict[Name, Number], msgspec.Meta(max_length=MOST_VALUES)] = {}
    undefined: Annotated[dict[Name, Positive], msgspec.Meta(max_length=MOST_VALUES)] = {}


class Report(Part, frozen=True, kw_only=True):
    """What a client tells about one update beside its weights. Seconds are wall time."""

    training: Metrics | None = None
    validation: Metrics | None = None
    evaluation: Metrics | None = None
    train_seconds: float = 0.0
    upload_seconds: float = 0.0


class Member(Part, frozen=True, kw_only=True):
    """A client as the aggregator knows it. `last_ms` is the log time of its newest record.

    `counted` is the `seq` of the newest base from which an update of it counted: no other from there or from before
    ever will. `seconds` is how long it last said that it trained, or how long a
    round that asked it was open without an answer, where that is more (0: unknown). `growing`: its updates may say
    more examples than the one before. `superseded` are its earlier incarnations, the newest last: none of them counts.
    `note` is what its `joined` told people. `status` is active, left, failed or removed. `missed` are the deadlines in
    a row that passed while a round waited for it and it said nothing.
    """

    client: ClientId
    incarnation: Name
    joined: Count
    examples: Count = 0
    status: str = "active"
    last_ms: int = 0
    counted: Count | None = None
    seconds: float = 0.0
    labels: Labels = {}
    growing: bool = False
    superseded: tuple[str, ...] = ()
    note: Note = ""
    missed: Count = 0


class Accepted(Part, frozen=True, kw_only=True):
    """An update that counts: where it is, what it hashes to, and its weight in the sum.

    `sha256` is over its tensors, `record` over the value of its manifest's record at `offset`.
    """

    client: str
    offset: int
    sha256: str
    record: str
    nbytes: int
    base: Base
    number: int
    examples: int
    coefficient: float
    received_ms: int
    report: Report = Report()


class Refused(Part, frozen=True, kw_only=True):
    """A record that does not count, and why."""

    client: str | None
    offset: int
    reason: str
    detail: str


class Snapshot(Part, frozen=True, kw_only=True):
    """What the next round needs, complete: a successor starts from here and nowhere else.

    `position` is the next offset to read of the aggregator topic's partition 0, `time_ms` the round time at its close.
    `forgotten` is the newest `counted` of those who are gone and no longer named: who joins anew begins with it, so
    that nothing counts twice.
    """

    position: int
    time_ms: int
    members: tuple[Member, ...] = ()
    forgotten: Count | None = None


class Closed(Part, frozen=True, kw_only=True):
    """Why and when a round closed: by `all` answers, at its `target`, a full `buffer`, or the `deadline`."""

    by: str
    offset: int
    time_ms: int


class PageRef(Part, frozen=True, kw_only=True):
    """A page of a long record: its offset in the same topic and its value's sha256."""

    offset: int
    sha256: str
