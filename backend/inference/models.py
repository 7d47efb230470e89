"""Deployed versions: what answers which topic, and how its replicas stand."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from backend.deployments.models import Deployment
from mainstem.serving.spec import EXACTLY_ONCE, OUTPUTS, group_of


class ServingState(models.TextChoices):
    """Where the replicas stand."""

    STARTING = "starting", "starting"
    RUNNING = "running", "running"
    FAILING = "failing", "failing"
    """A replica ended or cannot start; `detail` says why, and it is tried again."""
    STOPPED = "stopped", "stopped"
    """No replica is wanted."""
    ENDING = "ending", "ending"
    """Its replicas are being ended; then it is gone."""


class Inference(models.Model):
    """A version that reads an input topic and writes its predictions to an output topic.

    `replicas` are wanted, `ready` of them answer. The topics are at the data streams' Kafka.
    """

    name = models.CharField(max_length=40, unique=True)
    federation = models.CharField(max_length=8, db_index=True)
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="inferences")
    """None once the federation is deleted: its replicas are then ended and the row removed."""
    version = models.IntegerField()
    sha256 = models.CharField(max_length=64)
    replicas = models.IntegerField(default=1)
    input_topic = models.CharField(max_length=249, db_index=True)
    output_topic = models.CharField(max_length=249)
    input_format = models.CharField(max_length=10)
    input_config = models.JSONField(default=dict)
    partitions = models.IntegerField(default=4)
    """Of a topic that is made for it; one that exists keeps its own."""
    answers = models.CharField(max_length=10, default=OUTPUTS)
    """The form of its answers, one of `mainstem.serving.spec.FORMS`."""
    delivery = models.CharField(max_length=20, default=EXACTLY_ONCE)
    """How often an answer comes, one of `mainstem.serving.spec.DELIVERIES`."""
    prepared = models.BooleanField(default=False)
    """Whether both topics are there."""
    state = models.CharField(max_length=10, choices=ServingState, default=ServingState.STARTING, db_index=True)
    ready = models.IntegerField(default=0)
    detail = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name

    @property
    def group(self) -> str:
        """Its replicas' consumer group."""
        return group_of(self.name)
