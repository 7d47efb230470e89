"""Deployments: one federation each, and what is still to be written to Kafka for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from django.conf import settings
from django.db import models

from backend.catalog.models import Configuration, Model
from mainstem.protocol.adapting import missing
from mainstem.protocol.control import topics_of
from mainstem.protocol.messages import Announcement, Data, InputSpec
from mainstem.protocol.witness import Witness, objection

if TYPE_CHECKING:
    from backend.deployments.models.runs import Member


class State(models.TextChoices):
    """Where a federation stands. `opening` and `deleting` wait for Kafka, `lost` was open when a topic of it went;
    the others are read from the log."""

    OPENING = "opening", "opening"
    WAITING = "waiting", "waiting for clients"
    RUNNING = "running", "running"
    STOPPED = "stopped", "stopped"
    FINISHED = "finished", "finished"
    FAILED = "failed", "failed"
    LOST = "lost", "without topics"
    DELETING = "deleting", "deleting"


OPEN = (State.OPENING, State.WAITING, State.RUNNING)
"""Of runs that go on, or will once they can."""


class FederationId(models.Model):
    """An id that was given away once; kept for ever, so that it never names another federation."""

    id = models.CharField(max_length=8, primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)
    """Set once the federation was deleted: late records of it are dropped."""

    def __str__(self) -> str:
        return self.id


class Deployment(models.Model):
    """A federation. `training`, `strategy`, `rules`, `data`, `input`, `adaptation` are the protocol's objects.

    Local ones come from a configuration; external ones were seen in the log only and have no catalog entry.
    Everything under "projection" is folded from control records and may be rebuilt at any time.
    """

    federation = models.CharField(max_length=8, unique=True)
    name = models.CharField(max_length=100)
    configuration = models.ForeignKey(Configuration, null=True, on_delete=models.SET_NULL, related_name="deployments")
    model = models.ForeignKey(Model, null=True, on_delete=models.SET_NULL, related_name="deployments")
    parent = models.CharField(max_length=8, null=True)
    external = models.BooleanField(default=False)
    framework = models.CharField(max_length=10, default="tf")
    training = models.JSONField(default=dict)
    strategy = models.JSONField(default=dict)
    rules = models.JSONField(default=dict)
    data = models.JSONField(default=dict)
    input = models.JSONField(default=dict)
    adaptation = models.JSONField(default=dict)
    job = models.JSONField(default=dict)
    """The deployment's own `JobSettings`: how its Jobs run on a cluster, where that differs from the defaults."""
    revision = models.IntegerField(default=1)
    nonce = models.CharField(max_length=32, blank=True)
    """Names our version 0 in the log, so that a retry recognises its own work."""
    error = models.TextField(blank=True)
    """Why the outbox could not reach Kafka the last time; empty when all is written."""
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    # projection
    state = models.CharField(max_length=10, choices=State, default=State.OPENING, db_index=True)
    detail = models.TextField(blank=True)
    cluster_id = models.CharField(max_length=64, blank=True)
    topic_id = models.CharField(max_length=64, blank=True)
    folded = models.BigIntegerField(default=0)
    """The next offset of the control topic to fold."""
    refolds = models.IntegerField(default=0)
    """How often the rows were made anew because a record came late; tells readers in memory that they are stale."""
    architecture = models.TextField(blank=True)
    tensors = models.JSONField(default=list)
    """Name, dtype and shape of each of the model's tensors, as `opened` has them."""
    round = models.IntegerField(default=0)
    version = models.IntegerField(default=0)
    head = models.JSONField(default=dict)
    """`seq`, `hash`, `offset` of the chain's head, and its `lineage`: the versions that its model descends from."""
    phase = models.CharField(max_length=20, blank=True)
    needed = models.IntegerField(default=0)
    deadline_ms = models.BigIntegerField(null=True)
    opened_ms = models.BigIntegerField(null=True)
    ended_ms = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    """Of the head version's tensors."""
    evaluation = models.JSONField(null=True)
    personal = models.JSONField(null=True)
    """What the clients measured at the end of their own models, in the place of the last version."""
    personal_tensors = models.JSONField(default=list)
    """The names of those that stay at each site: every version has version 0's in their place."""
    failures = models.JSONField(default=list)
    """`client` and `detail` of clients that gave up without being a member, as the newest progress tells."""
    trouble = models.TextField(blank=True)
    """What keeps the aggregator from going on; empty when it does."""
    doubt = models.TextField(blank=True)
    """Why the rows are not believed until the log was read again; empty where they are."""
    amended = models.TextField(blank=True)
    """What these rows told once and the log does not hold; empty where that never happened."""
    lost = models.TextField(blank=True)
    """Which of its topics Kafka does not have; empty where all are there."""
    lost_count = models.BigIntegerField(default=0)
    """How many lifecycle records were witnessed, where the log does not hold the newest of them; 0 where it does."""
    lost_hash = models.CharField(max_length=64, blank=True)
    """The sha256 of that one. Neither is made again with the rows: they tell what the log does not."""
    superseded = models.IntegerField(default=0)
    undecodable = models.IntegerField(default=0)
    forged = models.IntegerField(default=0)
    """How many records of its control topic the platform has not signed: they count for nothing."""

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.federation})"

    @property
    def identity(self) -> tuple[str, str]:
        """Its id and name in records of who did what."""
        return self.federation, self.name

    @property
    def announcement(self) -> Announcement:
        """What is announced of it on FEDERATED_MODEL_CONTROL_TOPIC."""
        return Announcement(
            federation=self.federation,
            name=self.name,
            revision=self.revision,
            framework=self.framework,
            input=msgspec.convert(self.input, InputSpec),
            data=msgspec.convert(self.data, Data),
            min_clients=self.rules.get("min_clients", 1),
            max_clients=self.rules.get("max_clients", 1000),
            topics=topics_of(self.federation),
        )

    def waits_for(self, members: Iterable[Member]) -> list[str]:
        """The clients whose update the open round still needs."""
        if self.ended:
            return []
        return [member.client for member in members if member.awaited]

    @property
    def lineage(self) -> frozenset[int]:
        """The versions that the run's model descends from; those that were rolled back are not among them."""
        return frozenset(self.head.get("lineage", ()))

    @property
    def chain_end(self) -> Witness | None:
        """How many lifecycle records were folded, and the newest one's sha256; None where there are none."""
        return Witness(count=self.head["seq"] + 1, hash=self.head["hash"]) if self.head else None

    @property
    def lost_end(self) -> Witness | None:
        """What was witnessed and the log does not hold; None where it holds all."""
        return Witness(count=self.lost_count, hash=self.lost_hash) if self.lost_count else None

    def lose(self, witness: Witness | None) -> None:
        """Note that the log does not hold the witness; None: that it holds all."""
        self.lost_count = 0 if witness is None else witness.count
        self.lost_hash = "" if witness is None else witness.hash

    @property
    def witness(self) -> Witness | None:
        """The newest end of the log that was seen and that nobody has given up."""
        return self.lost_end or self.chain_end

    @property
    def unwitnessed(self) -> str:
        """The sentence about a log that has lost its tail, or has another one; empty where it has not."""
        lost, end = self.lost_end, self.chain_end
        if lost is None or self.doubt:  # in doubt the log is about to be read again
            return ""
        return f"{objection(self.federation, 0 if end is None else end.count, lost)}: until then no round is committed."

    @property
    def missing(self) -> str:
        """What every version lacks, as a sentence without its full stop; empty where it lacks nothing."""
        return missing(self.personal_tensors)

    @property
    def ended(self) -> bool:
        """Whether no round of it is open."""
        return self.state in (State.STOPPED, State.FINISHED, State.FAILED, State.LOST, State.DELETING)


class OutboxKind(models.TextChoices):
    """What is to be written."""

    OPEN = "open", "open"
    COMMAND = "command", "command"
    DELETE = "delete", "delete"


class OutboxEntry(models.Model):
    """Something that must reach Kafka; done in order for each deployment, retried until it is."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="outbox")
    kind = models.CharField(max_length=10, choices=OutboxKind)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    attempts = models.IntegerField(default=0)
    due_at = models.DateTimeField(auto_now_add=True)
    """When to try (again); a publisher at work moves it ahead as its lease."""
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["done_at", "due_at"])]

    def __str__(self) -> str:
        return f"{self.kind} of {self.deployment_id}"
