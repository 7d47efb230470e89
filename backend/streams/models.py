"""Announced data streams, each a record of FEDERATED_DATA_CONTROL_TOPIC."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from mainstem.streams.announcement import DataAnnouncement

RAW_BYTES = 1 << 16
"""How much of a refused record is kept to look at."""


class DataSource(models.Model):
    """A stream as its announcement describes it, or a record that is none, with the `problem` that it has.

    A record is the same one for ever by (`cluster_id`, `topic_id`, `partition`, `offset`), as long as Kafka is not
    restored from an older copy. Partition `NOWHERE` is that of announcements which the log then no longer holds.
    """

    NOWHERE: ClassVar[int] = -1

    cluster_id = models.CharField(max_length=64)
    topic_id = models.CharField(max_length=64)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    timestamp_ms = models.BigIntegerField()
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    """The record's bytes; of a refused one the first 64 KiB."""
    problem = models.TextField(blank=True)
    """Why the record announces no stream; empty for a stream."""

    topic = models.TextField(blank=True)
    """Its offset ranges, `t:p:start:end,...`, or a bare topic name."""
    input_format = models.CharField(max_length=10, blank=True)
    input_config = models.JSONField(default=dict)
    description = models.TextField(blank=True)
    restrictions = models.JSONField(null=True)
    validation_rate = models.FloatField(default=0)
    test_rate = models.FloatField(default=0)
    total_msg = models.BigIntegerField(null=True)
    incremental = models.BooleanField(default=False)
    unsupervised_topic = models.CharField(max_length=249, blank=True)
    addressed_to = models.CharField(max_length=64, blank=True)
    """The federation that the announcement's key names, and no other is meant; empty: nobody in particular."""

    stream_ids = models.JSONField(default=dict)
    """Of its data topics by name, as they were first seen: a topic deleted and made again has another one."""
    readable = models.BigIntegerField(null=True)
    """How many records of exact ranges can be read; None until they were counted, and of a stream without ends."""
    standing = models.CharField(max_length=10, blank=True)
    """`mainstem.streams.survey.Standing`; empty until Kafka was asked."""
    notice = models.TextField(blank=True)
    """What people should know of it: why no Job may train on it, or what is missing."""
    surveyed_at = models.DateTimeField(null=True)
    """When Kafka was last asked."""
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=["cluster_id", "topic_id", "partition", "offset"], name="data_source_place"),
        )

    def __str__(self) -> str:
        return self.topic[:80] or f"refused record {self.offset}"

    @property
    def announcement(self) -> DataAnnouncement:
        """The stream as the matching rule sees it. Only for rows without a `problem`."""
        return DataAnnouncement(
            topic=self.topic,
            input_format=self.input_format,
            input_config=self.input_config,
            description=self.description,
            restrictions=self.restrictions,
            validation_rate=self.validation_rate,
            test_rate=self.test_rate,
            total_msg=self.total_msg,
            incremental=self.incremental,
            unsupervised_topic=self.unsupervised_topic or None,
            federation=self.addressed_to or None,
            readable=self.readable,
        )

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that name this record for ever: of the sha256 of its place."""
        place = f"{self.cluster_id},{self.topic_id},{self.partition},{self.offset}"
        return hashlib.sha256(place.encode()).hexdigest()[:12]


class InjectionState(models.TextChoices):
    """Where an injection stands."""

    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"


class Upload(models.Model):
    """Files of samples that somebody has sent, to look at and to inject; gone once in a stream, or after a day."""

    names = models.JSONField(default=list)
    """Of its files; several are CIFAR-10's batches, or MNIST's images and labels."""
    size = models.BigIntegerField()
    options = models.JSONField(default=dict)
    """How to read them and where to: `streams.options`, as they were last looked at with."""
    found = models.JSONField(null=True)
    """What `inject_files --dry-run --json` says of them."""
    problem = models.TextField(blank=True)
    """Why they cannot be injected so; empty where they can."""
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return ", ".join(self.names)


class UploadPart(models.Model):
    """A piece of one of an upload's files: no statement or row grows with the file."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts")
    file = models.IntegerField()
    index = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["upload", "file", "index"], name="upload_part"),)

    def __str__(self) -> str:
        return f"part {self.index} of file {self.file} of {self.upload_id}"


class Injection(models.Model):
    """What somebody asked to have injected by the launcher process: real digits divided among clients, or an upload."""

    clients = models.IntegerField(default=3, validators=[MinValueValidator(1), MaxValueValidator(1000)])
    train_samples = models.IntegerField(default=500, validators=[MinValueValidator(1), MaxValueValidator(1796)])
    test_samples = models.IntegerField(default=50, validators=[MinValueValidator(0), MaxValueValidator(1796)])
    alpha = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.001), MaxValueValidator(1000)])
    """Of the Dirichlet distribution that skews the clients' labels; None: all alike."""
    seed = models.BigIntegerField(default=0, validators=[MinValueValidator(0), MaxValueValidator((1 << 32) - 1)])
    topic = models.CharField(max_length=200, default="digits")
    input_format = models.CharField(max_length=10, default="RAW")
    restriction = models.JSONField(null=True, blank=True)
    upload = models.ForeignKey(Upload, null=True, on_delete=models.SET_NULL, related_name="injections")
    files = models.TextField(blank=True)
    """The names of the upload's files, which outlast it; empty: digits."""
    options = models.JSONField(default=dict)
    """Of an upload: see `Upload.options`."""
    state = models.CharField(max_length=10, choices=InjectionState, default=InjectionState.WAITING, db_index=True)
    detail = models.TextField(blank=True)
    """How far it is, what was announced, or why it failed."""
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return (
            f"{self.files} into {self.topic}" if self.files else f"digits for {self.clients} clients into {self.topic}"
        )
