"""What records are made of: specs, manifests, settings, members, and the bounds of every field."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from mainstem.runtime.fields import Asked, said

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
    ENCODING = "encoding"
    NOT_FINITE = "not_finite"
    EXAMPLES = "examples"
    CLOSED = "closed"
    NOT_SELECTED = "not_selected"
    TREES = "trees"
    UNAUTHORISED = "unauthorised"


class RecordPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every part of a record."""


# ---------------------------------------------------------------- bounds, checked when a record is decoded
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
Number = Annotated[float, msgspec.Meta(ge=-1e200, le=1e200)]
"""A metric: so bounded that no weighted sum of it leaves the numbers that JSON has."""
Classes = Annotated[int, msgspec.Meta(ge=2, lt=1 << 31)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
MOST_VALUES = 256
"""Values of all metrics together: a metric may have one for each class."""
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
GroupName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}(?!\n)$")]
ClientId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
PublicKey = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}(?!\n)$")]
"""An Ed25519 public key: 32 bytes as base64url without padding."""
Text = Annotated[str, msgspec.Meta(max_length=100_000)]
Note = Annotated[str, msgspec.Meta(max_length=400)]
"""A sentence for people that goes with a member from record to record."""
Line = Annotated[str, msgspec.Meta(max_length=200)]
"""What somebody or something is called, or nothing."""
RecordId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")]
Strength = Annotated[float, msgspec.Meta(ge=1e-3, le=1000)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Labels = Annotated[dict[Name, Count], msgspec.Meta(max_length=1000)]
"""Samples by label."""


# ---------------------------------------------------------------- parts
class TensorSpec(RecordPart, frozen=True, kw_only=True):
    """One tensor's name, NumPy dtype name (little-endian) and shape."""

    name: str
    dtype: str
    shape: tuple[Count, ...]


class ChunkRun(msgspec.Struct, frozen=True, array_like=True):
    """`count` chunk records at consecutive offsets of one partition, from `first` on."""

    partition: Count
    first: Count
    count: Positive


class Payload(RecordPart, frozen=True, kw_only=True):
    """A manifest: which records hold the payload of some tensors, and what these must hash to.

    Which tensors they are the run's `opened` record says. `sha256` is over the ordered tensors (`weights.digest`),
    never over a file. Without `chunks` the payload is the value of the manifest's own record. `encoding`: what the
    trained tensors' change is encoded as; then the tensors are its bytes, and those that travel as they are.
    """

    writer: Name
    update: Name
    chunks: tuple[ChunkRun, ...] = ()
    nbytes: Count
    sha256: str
    encoding: Name = "raw"


class Weights(Payload, frozen=True, kw_only=True):
    """The manifest of a model, of an update, or of a group.

    A version with a `change` is its parent, and what that decodes to. Then it has chunks only where it is published
    whole too; `nbytes` and `sha256` are of its tensors.
    """

    change: Payload | None = None


class Group(RecordPart, frozen=True, kw_only=True):
    """Tensors that a run exchanges beside its model, by name.

    `direction`: `up` (an update carries them in `extra`), `down` (a round publishes them in `state`, clients fetch
    them with its version) or `server` (likewise, but only aggregators and proofs read them). Tensor by tensor they
    are like the model's trained ones, perhaps with another dtype. What no round has published yet is zeros.
    """

    name: GroupName
    tensors: tuple[TensorSpec, ...]
    direction: Annotated[str, msgspec.Meta(pattern="^(up|down|server)$")]


class Forest(RecordPart, frozen=True, kw_only=True):
    """What makes a run's model a forest (`protocol.forests`): how many trees each update brings, and the features of a
    sample, by which they may split."""

    trees: Positive
    features: Positive


class InputSpec(RecordPart, frozen=True, kw_only=True):
    """Shape (without the batch dimension) and dtype of what the model takes, and of the labels that its loss takes.

    Labels of `classes` are class numbers from 0 where `label_dtype` is one of whole numbers, else shares from 0 to 1:
    one a class along their last axis, or of a single value that of class 1. Without `classes` they are numbers from
    `label_low` to `label_high`, where these are given. The value `label_ignore` is allowed everywhere beside them.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    label_shape: tuple[int, ...] = ()
    label_dtype: str = "float32"
    classes: Classes | None = None
    label_low: Number | None = None
    label_high: Number | None = None
    label_ignore: Number | None = None

    @property
    def numbered(self) -> bool:
        """Whether a label is the number of a class, where others are one value a class or no classes."""
        return self.label_dtype.startswith(("int", "uint"))

    @property
    def places(self) -> tuple[int, ...]:
        """Where classes are told apart: () for one output, (5,) for each of five steps."""
        return self.label_shape if self.numbered or self.classes is None else self.label_shape[:-1]

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value of a label."""
        if self.classes is not None:
            return 0.0, float(self.classes - 1) if self.numbered else 1.0
        low, high = self.label_low, self.label_high
        return -math.inf if low is None else low, math.inf if high is None else high


class Topics(RecordPart, frozen=True, kw_only=True):
    """The federation's topics by role."""

    control: str
    data: str
    aggregator: str


class LearningRateSchedule(RecordPart, frozen=True, kw_only=True):
    """How the clients' learning rate goes from round to round, by name, with its parameters."""

    name: str = "constant"
    params: dict[str, Json] = {}


class Training(RecordPart, frozen=True, kw_only=True):
    """What a client does with its data in one round.

    Optimizer, loss and metrics are names or Keras configs, as `mainstem.jobs.compiling` knows them.
    """

    batch_size: Annotated[int, said("Batch size", "Samples in one step of training.", asked=Asked(1, 1 << 20))] = 32
    epochs: Annotated[
        int, said("Epochs a round", "How often a client goes through its data in a round.", asked=Asked(1, 100_000))
    ] = 1
    optimizer: Annotated[
        Json,
        said("Optimizer", "A Keras name, or its JSON object; without one the model's own, else adam.", asked=Asked()),
    ] = "adam"
    loss: Annotated[
        Json,
        said(
            "Loss",
            "A Keras name, or its JSON object; without one the model's own, else categorical_crossentropy.",
            asked=Asked(),
        ),
    ] = "categorical_crossentropy"
    metrics: Annotated[
        tuple[Json, ...],
        said(
            "Metrics",
            "Keras names, separated by commas, or a JSON list; without any the model's own, else accuracy.",
            asked=Asked(),
        ),
    ] = ("accuracy",)
    learning_rate: Annotated[
        float | None, said("Learning rate", "Above 0; without one: the optimizer's own.", asked=Asked())
    ] = None
    learning_rate_schedule: Annotated[
        LearningRateSchedule,
        said("Learning rate by round", "What becomes of the learning rate from round to round.", asked=Asked()),
    ] = LearningRateSchedule()
    seed: Annotated[int, said("Seed", "Of what clients draw.", asked=Asked(0, (1 << 32) - 1))] = 0
    shuffle: Annotated[bool, said("Shuffle the samples in each epoch", "In the seed's order.", asked=Asked())] = True
    class_weight: Annotated[
        dict[str, Weight],
        said(
            "Class weights",
            'How much a sample of a class counts in the loss, by the class\' number: {"0": 1, "1": 5}; 1 without.',
            asked=Asked(),
        ),
    ] = {}


class Adaptation(RecordPart, frozen=True, kw_only=True):
    """What a site has of its own beside the federation's model."""

    adapt: Annotated[
        Literal["strict", "personal", "partial", "slice"],
        said(
            "A site's model",
            "How far it may differ from the federation's.",
            asked=Asked(),
            choices={
                "strict": "strict: every site exchanges the whole model",
                "personal": "personal: the tensors that personal names stay at each site",
                "partial": "partial: a site may have some tensors otherwise, and exchanges those that fit",
                "slice": "slice: a site may have a narrower model, the leading part of each tensor",
            },
        ),
    ] = "strict"
    personal: Annotated[
        tuple[Pattern, ...],
        msgspec.Meta(max_length=64),
        said(
            "Personal tensors",
            "Patterns of names, separated by commas: dense_2/*; class:BatchNormalization is all of such layers.",
            asked=Asked(),
        ),
    ] = ()
    ditto: Annotated[
        Strength | None,
        said(
            "Ditto's lambda",
            "Each site also trains a model of its own, drawn to the federation's by so much; without it, none.",
            asked=Asked(),
        ),
    ] = None


class StrategyChoice(RecordPart, frozen=True, kw_only=True):
    """An aggregation strategy by name, with its parameters."""

    name: str = "fedavg"
    params: dict[str, Json] = {}


class EncodingChoice(RecordPart, frozen=True, kw_only=True):
    """How changes travel, by name, with its parameters; `raw`: whole tensors do."""

    name: str = "raw"
    params: dict[str, Json] = {}


class Selection(RecordPart, frozen=True, kw_only=True):
    """How a round's clients are chosen, by name, with its parameters."""

    name: str = "all"
    params: dict[str, Json] = {}


class SiteKey(RecordPart, frozen=True, kw_only=True):
    """A site that may take part: its name, and the Ed25519 key that its clients sign with until then (log time)."""

    name: ClientId
    key: PublicKey
    until_ms: Count | None = None


class Admission(RecordPart, frozen=True, kw_only=True):
    """Who may take part: anyone (`open`), or clients whose records one of these sites has signed (`enrolled`)."""

    mode: Literal["open", "enrolled"] = "open"
    sites: tuple[SiteKey, ...] = ()


MOST_CLIENTS = 1_000_000
YEAR_MS = 31_536_000_000


class Rules(RecordPart, frozen=True, kw_only=True):
    """How rounds open and close. Times are milliseconds of log time.

    Beside each field's own bounds, which every reader checks, stand those within which people ask for it.
    """

    mode: Annotated[str, said("Mode", "When a round closes, and which updates it takes.", asked=Asked())] = "sync"
    rounds: Annotated[Positive, said("Rounds", "The run ends after so many commits.", asked=Asked(1, 1_000_000))] = 1
    min_clients: Annotated[
        Positive, said("Clients, at least", "The first round opens with so many.", asked=Asked(1, MOST_CLIENTS))
    ] = 1
    max_clients: Annotated[
        Positive,
        said("Clients, at most", "Who comes later is told that it is full.", asked=Asked(1, MOST_CLIENTS)),
    ] = 1000
    quorum: Annotated[
        Positive | None,
        said(
            "Quorum",
            "Updates that a round needs at its deadline; without it, the least clients.",
            asked=Asked(1, MOST_CLIENTS),
        ),
    ] = None
    deadline_ms: Annotated[
        Positive,
        said(
            "A round's deadline",
            "So long after it opened, a round closes with a quorum.",
            unit="ms",
            asked=Asked(1_000, YEAR_MS, "round_deadline"),
        ),
    ] = 600_000
    below_quorum: Annotated[
        Literal["extend", "fail"],
        said(
            "Too few by then",
            "What happens at a deadline below quorum.",
            asked=Asked(),
            choices={"extend": "extend the round", "fail": "fail the run"},
        ),
    ] = "extend"
    wait_limit_ms: Annotated[
        Count,
        said(
            "Give up after",
            "So long without enough clients, and the run fails.",
            unit="ms",
            asked=Asked(1_000, YEAR_MS, "wait_limit"),
        ),
    ] = 3_600_000
    final_wait_ms: Annotated[
        Count,
        said("Last evaluation", "So long the end waits for evaluations of the last version.", unit="ms"),
    ] = 60_000
    heartbeat_timeout_ms: Annotated[
        Positive, said("Silent after", "A member without a record for so long is shown as silent.", unit="ms")
    ] = 30_000
    max_update_bytes: Annotated[Positive, said("Largest update", "A larger one is refused.", unit="bytes")] = 8 << 30
    max_examples: Annotated[Positive, said("Most examples", "An update that claims more is refused.")] = 1 << 40
    target: Annotated[
        Positive | None,
        said("Target", "So many updates close a round; without it everyone is awaited.", asked=Asked(1, MOST_CLIENTS)),
    ] = None
    buffer: Annotated[Positive, said("Buffer", "So many updates close a round.", asked=Asked(1, MOST_CLIENTS))] = 10
    max_staleness: Annotated[
        int,
        msgspec.Meta(ge=0, le=1000),
        said("Oldest base", "An update may start so many commits behind the head.", unit="commits", asked=Asked()),
    ] = 10
    staleness_exponent: Annotated[
        float,
        msgspec.Meta(ge=0, le=16),
        said("Staleness exponent", "An update weighs (1 + staleness)^-this.", asked=Asked()),
    ] = 0.5
    selection: Annotated[Selection, said("A round asks", "Whom a round asks for an update.", asked=Asked())] = (
        Selection()
    )
    encoding_up: Annotated[
        EncodingChoice, said("Updates travel as", "How clients send what training changed.", asked=Asked())
    ] = EncodingChoice()
    encoding_down: Annotated[
        EncodingChoice, said("Versions travel as", "How clients fetch what a round changed.", asked=Asked())
    ] = EncodingChoice()
    keyframe_every: Annotated[
        Positive,
        said(
            "A whole version every",
            "Where versions travel as changes, so often one is published whole too, for those who have none.",
            unit="rounds",
            asked=Asked(1, 1000),
        ),
    ] = 10
    keep_updates: Annotated[
        Positive | None,
        said(
            "Keep updates of",
            "Of so many committed rounds the clients' updates stay in Kafka; without it, of all.",
            unit="rounds",
            asked=Asked(1, 1_000_000),
        ),
    ] = None
    admission: Annotated[Admission, said("Admission", "Whose clients may take part.")] = Admission()
    missed_limit: Annotated[
        Count,
        said(
            "Silent deadlines",
            "After so many in a row without a word a client is not waited for; 0: always.",
            asked=Asked(0, 1_000_000),
        ),
    ] = 3


class Data(RecordPart, frozen=True, kw_only=True):
    """Which streams fit: Kafka-ML's matching fields."""

    min_data: Annotated[
        int, said("Records of a stream, at least", "A stream of fewer does not fit.", asked=Asked(1, 1 << 53))
    ] = 1
    restriction: Annotated[
        Json,
        said(
            "Data restriction",
            'JSON that a stream must share exactly: {"set": "digits"}.',
            asked=Asked(name="data_restriction"),
        ),
    ] = None


class Base(RecordPart, frozen=True, kw_only=True):
    """The model that an update or a version starts from: the lifecycle record that set it."""

    seq: Count
    version: Count


class Metrics(RecordPart, frozen=True, kw_only=True):
    """Finite numbers by name; `examples` they were measured on.

    `undefined`: of how many clients a metric has no value, such as the AUC of samples of one class. Among several
    clients a value is the mean over those who have one, by their examples.
    """

    examples: Count
    values: Annotated[dict[Name, Number], msgspec.Meta(max_length=MOST_VALUES)] = {}
    undefined: Annotated[dict[Name, Positive], msgspec.Meta(max_length=MOST_VALUES)] = {}


class Report(RecordPart, frozen=True, kw_only=True):
    """What a client tells about one update beside its weights. Seconds are wall time.

    `evaluation` is of the base, `personal` of what the site had of its own in its place, on the same samples.
    `encoding_error` is how far the encoded change lies from the one that was to be sent, as a part of its L2 norm.
    """

    training: Metrics | None = None
    validation: Metrics | None = None
    evaluation: Metrics | None = None
    personal: Metrics | None = None
    train_seconds: float = 0.0
    upload_seconds: float = 0.0
    encoding_error: Annotated[float, msgspec.Meta(ge=0, le=1e200)] | None = None


class Member(RecordPart, frozen=True, kw_only=True):
    """A client as the aggregator knows it. `last_ms` is the log time of its newest record.

    `counted` is the `seq` of the newest base from which an update of it counted: no other from there or from before
    ever will. `seconds` is how long it last said that it trained, or how long a
    round that asked it was open without an answer, where that is more (0: unknown). `growing`: its updates may say
    more examples than the one before. `superseded` are its earlier incarnations, the newest last: none of them counts.
    `note` is what its `joined` told people. `status` is active, left, failed or removed. `missed` are the deadlines in
    a row that passed while a round waited for it and it said nothing. `site` is the one that it belongs to, where the
    run names those that it admits.
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
    site: Line = ""


class Accepted(RecordPart, frozen=True, kw_only=True):
    """An update that counts: where it is, what it hashes to, and what its round's strategy decided about it.

    `sha256` is over the model's tensors that it carries, `record` over its JSON at `offset`. `coefficient` is its
    weight in the aggregate, `score` what a rule that leaves updates out went by, `data.omissions` why that one did,
    `scale` what its change was multiplied by, where a bound did.
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
    steps: Count = 0
    loss: Number | None = None
    report: Report = Report()
    score: Number | None = None
    left_out: str = ""
    scale: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


class Refused(RecordPart, frozen=True, kw_only=True):
    """A record that does not count, and why."""

    client: str | None
    offset: int
    reason: str
    detail: str


class Snapshot(RecordPart, frozen=True, kw_only=True):
    """What the next round needs, complete: a successor starts from here and nowhere else.

    `position` is the next offset to read of the aggregator topic's partition 0, `time_ms` the round time at its close.
    `forgotten` is the newest `counted` of those who are gone and no longer named: who joins anew begins with it, so
    that nothing counts twice.
    """

    position: int
    time_ms: int
    members: tuple[Member, ...] = ()
    forgotten: Count | None = None


class Closed(RecordPart, frozen=True, kw_only=True):
    """Why and when a round closed: by `all` answers, at its `target`, a full `buffer`, or the `deadline`."""

    by: str
    offset: int
    time_ms: int


class PageRef(RecordPart, frozen=True, kw_only=True):
    """A page of a long record: its offset in the same topic and its value's sha256."""

    offset: int
    sha256: str
