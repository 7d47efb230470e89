"""The projection of a run: its raw control records and the rows folded from them."""

from __future__ import annotations

from django.db import models

from backend.deployments.models.deployment import Deployment
from mainstem.protocol.log import Record
from mainstem.protocol.signing import HEADER


class ControlRecord(models.Model):
    """A record of a control topic as it came: the run itself, from which every other row can be made again."""

    cluster_id = models.CharField(max_length=64)
    topic_id = models.CharField(max_length=64)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    timestamp_ms = models.BigIntegerField()
    federation = models.CharField(max_length=8, db_index=True)
    kind = models.CharField(max_length=20, blank=True)
    value = models.BinaryField(null=True)
    signature = models.BinaryField(null=True)
    """The header by which its writer signed it; None where it is not signed."""
    problem = models.TextField(blank=True)
    """Why it counts for nothing; empty for a record that counts."""

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster_id", "topic_id", "partition", "offset"], name="control_record_place"
            )
        ]

    def __str__(self) -> str:
        return f"{self.topic}@{self.offset}"

    def equals(self, record: Record) -> bool:
        """Whether this is what the log holds there: the same bytes, stamped at the same time."""
        value = None if self.value is None else bytes(self.value)
        return (self.timestamp_ms, value) == (record.timestamp_ms, record.value)

    @property
    def headers(self) -> dict[str, bytes]:
        """Those of its headers that were kept."""
        return {} if self.signature is None else {HEADER: bytes(self.signature)}

    @classmethod
    def of(cls, deployment: Deployment) -> models.QuerySet[ControlRecord]:
        """The records of the deployment's control topic, in the order of the log."""
        return cls.objects.filter(cluster_id=deployment.cluster_id, topic_id=deployment.topic_id, partition=0).order_by(
            "offset"
        )


class Version(models.Model):
    """A global model: the manifest of its weights, and where it comes from."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    seq = models.IntegerField()
    parent = models.IntegerField(null=True)
    sha256 = models.CharField(max_length=64, db_index=True)
    nbytes = models.BigIntegerField()
    fetched = models.BigIntegerField(null=True)
    """Bytes that a client fetches which has the parent: fewer, where versions travel as changes."""
    weights = models.JSONField()
    offset = models.BigIntegerField()
    created_ms = models.BigIntegerField()
    evaluation = models.JSONField(null=True)
    """What the clients measured of this version on their own data, as far as it is known."""
    unchanged = models.BooleanField(default=False)
    """Whether it holds the very weights of its parent."""

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["deployment", "number"], name="version_number")]

    def __str__(self) -> str:
        return f"version {self.number} of {self.deployment_id}"


class Round(models.Model):
    """A committed round. After a rollback a number may recur; `seq` never does."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="rounds")
    seq = models.IntegerField()
    number = models.IntegerField()
    version = models.IntegerField()
    base_version = models.IntegerField()
    strategy = models.JSONField(default=dict)
    opened_ms = models.BigIntegerField()
    closed_ms = models.BigIntegerField()
    closed_by = models.CharField(max_length=20)
    committed_ms = models.BigIntegerField()
    examples = models.BigIntegerField(default=0)
    accepted = models.IntegerField(default=0)
    left_out = models.IntegerField(default=0)
    """Of the accepted updates those that the round's strategy left out of its version."""
    refused = models.IntegerField(default=0)
    refused_more = models.JSONField(default=dict)
    evaluation = models.JSONField(null=True)
    personal = models.JSONField(null=True)
    writer = models.CharField(max_length=100)
    offset = models.BigIntegerField()
    final = models.BooleanField(default=False)
    unchanged = models.BooleanField(default=False)
    """Whether its version holds the very weights of the one before."""

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["deployment", "seq"], name="round_seq")]

    def __str__(self) -> str:
        return f"round {self.number} of {self.deployment_id}"

    @property
    def counted(self) -> int:
        """How many updates are part of its version."""
        return self.accepted - self.left_out


class ClientRound(models.Model):
    """One client's accepted update in a round, what the round's strategy decided about it, and what it measured.

    `steps` are those of the client's optimizer in this training, `loss` is that of the base on the samples that it
    trained on, where the strategy asks for it. Seconds are wall time at the client. `encoding_error` is the part of its
    change that the encoding left for the next one, by L2 norms.
    """

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="clients")
    client = models.CharField(max_length=64, db_index=True)
    examples = models.BigIntegerField()
    steps = models.BigIntegerField(default=0)
    loss = models.FloatField(null=True)
    coefficient = models.FloatField()
    scale = models.FloatField(default=1)
    """What its change was multiplied by before it counted."""
    score = models.FloatField(null=True)
    """What the strategy judged it by, where it judges."""
    left_out = models.CharField(max_length=200, blank=True)
    """Why the strategy left it out; empty for an update that counts."""
    sha256 = models.CharField(max_length=64)
    nbytes = models.BigIntegerField()
    offset = models.BigIntegerField()
    base_version = models.IntegerField()
    number = models.BigIntegerField()
    received_ms = models.BigIntegerField()
    training = models.JSONField(null=True)
    validation = models.JSONField(null=True)
    evaluation = models.JSONField(null=True)
    """Of the base, on the client's own data."""
    personal = models.JSONField(null=True)
    """Of what the site had of its own in the base's place, on the same samples."""
    train_seconds = models.FloatField(default=0)
    upload_seconds = models.FloatField(default=0)
    encoding_error = models.FloatField(null=True)

    class Meta:
        ordering = ["round_id", "client"]
        constraints = [models.UniqueConstraint(fields=["round", "client", "offset"], name="client_round_offset")]

    def __str__(self) -> str:
        return f"{self.client} in round {self.round_id}"


class Refusal(models.Model):
    """A client's record that does not count, and why. `offset` is in the aggregator topic."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="refusals")
    client = models.CharField(max_length=64, null=True)
    offset = models.BigIntegerField()
    round = models.IntegerField()
    reason = models.CharField(max_length=40)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["offset"]
        constraints = [models.UniqueConstraint(fields=["deployment", "offset"], name="refusal_offset")]

    def __str__(self) -> str:
        return f"{self.reason} at {self.offset}"


class Member(models.Model):
    """A client as the newest record tells: waiting, training, accepted, refused, silent, left, failed, removed."""

    GONE = ("left", "failed", "removed")

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="members")
    client = models.CharField(max_length=64)
    state = models.CharField(max_length=20)
    awaited = models.BooleanField(default=False)
    examples = models.BigIntegerField(default=0)
    last_ms = models.BigIntegerField(default=0)
    detail = models.TextField(blank=True)
    evaluation = models.JSONField(null=True)
    personal = models.JSONField(null=True)

    class Meta:
        ordering = ["client"]
        constraints = [models.UniqueConstraint(fields=["deployment", "client"], name="member_client")]

    def __str__(self) -> str:
        return f"{self.client} of {self.deployment_id}"

    @property
    def gone(self) -> bool:
        """Whether it takes part no longer."""
        return self.state in self.GONE
