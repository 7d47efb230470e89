"""Training Jobs, one for each stream of each federation."""

from __future__ import annotations

from django.db import models

from backend.deployments.models import Deployment
from backend.streams.models import DataSource


class JobState(models.TextChoices):
    """Where a Job stands."""

    PENDING = "pending", "pending"
    STARTING = "starting", "starting"
    """Handed to the cluster, which has not started it yet; `detail` says why."""
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    STOPPED = "stopped", "stopped"


class Job(models.Model):
    """A stream's training for a federation. `name` derives from both, so that there is never a second one.

    `slot` is one of the federation's `max_clients` places; a Job that has given up has none.
    """

    name = models.CharField(max_length=63, unique=True)
    federation = models.CharField(max_length=8, db_index=True)
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="jobs")
    """None once the deployment is deleted: the Job is then ended and its row removed."""
    source = models.ForeignKey(DataSource, on_delete=models.PROTECT, related_name="jobs")
    client_id = models.CharField(max_length=64)
    slot = models.IntegerField(null=True)
    records = models.BigIntegerField(null=True)
    """How many records of exact ranges could be read when it was made: every attempt trains on these, or fails."""
    wanted = models.BooleanField(default=True)
    """False once a person has stopped it, until a person retries it."""
    state = models.CharField(max_length=10, choices=JobState, default=JobState.PENDING, db_index=True)
    detail = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    """Of the last attempt; negative is the signal that killed it."""
    attempts = models.IntegerField(default=0)
    failures = models.IntegerField(default=0)
    """Failed attempts that still count towards the back-off limit."""
    due_at = models.DateTimeField(null=True)
    """Not to be started before."""
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        constraints = (models.UniqueConstraint(fields=["federation", "slot"], name="job_slot"),)

    def __str__(self) -> str:
        return self.name


class Report(models.Model):
    """What the launcher says of itself every few seconds; there is one row. Who is silent has ended, or hangs."""

    part = models.CharField(max_length=16, primary_key=True)
    at = models.DateTimeField()
    trouble = models.TextField(blank=True)
    """What hangs, or has failed for a minute."""

    def __str__(self) -> str:
        return self.part


class Lease(models.Model):
    """Who looks after this database: one launcher, and the platform that it belongs to. See `backend.launchers.lease`.

    There is one row, made by the first who came and kept after the last.
    """

    name = models.CharField(max_length=16, primary_key=True)
    owner = models.CharField(max_length=64, blank=True)
    """A random name of whoever holds it; empty where it was given back."""
    told = models.CharField(max_length=300, blank=True)
    """What that is, for people."""
    place = models.CharField(max_length=200, blank=True)
    """Machine, boot and PID namespace: within it a process is known by its number and start."""
    pid = models.IntegerField(default=0)
    start = models.BigIntegerField(null=True)
    since = models.DateTimeField()
    expires_at = models.DateTimeField()
    login = models.CharField(max_length=64, blank=True)
    """Of which secrets the first logins were made last, as a keyed hash."""

    def __str__(self) -> str:
        return self.told
