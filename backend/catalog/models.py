"""What to train: models, their initial weights, and configurations that group models."""

from __future__ import annotations

import hashlib
import os
from typing import IO

from django.conf import settings
from django.db import models, transaction

PART_BYTES = 4 << 20
"""Size of a blob's pieces: no statement or row grows with the model."""


class Blob(models.Model):
    """Bytes that every web replica must see, kept once by content."""

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.sha256[:12]} ({self.size} bytes)"

    @classmethod
    def store(cls, source: IO[bytes]) -> Blob:
        """The blob of a file's bytes, made where it does not exist yet; a piece of them is in memory at a time."""
        source.seek(0)
        digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
        size = source.seek(0, os.SEEK_END)
        with transaction.atomic():
            blob, created = cls.objects.get_or_create(sha256=digest, defaults={"size": size})
            if created:
                source.seek(0)
                for index in range(-(-size // PART_BYTES)):
                    BlobPart.objects.create(blob=blob, index=index, data=source.read(PART_BYTES))
        return blob

    def write(self, sink: IO[bytes]) -> None:
        """Its bytes into a file, a piece at a time."""
        for part in self.parts.order_by("index").iterator(chunk_size=1):
            sink.write(part.data)


class BlobPart(models.Model):
    """A piece of a blob."""

    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="parts")
    index = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["blob", "index"], name="blob_part")]

    def __str__(self) -> str:
        return f"part {self.index} of {self.blob_id}"


class ModelKind(models.TextChoices):
    """How a model came here."""

    TEMPLATE = "template", "template"
    JSON = "json", "Keras JSON"
    KERAS = "keras", ".keras file"
    SOURCE = "source", "Python source"
    FOREST = "forest", "boosted trees"


class Model(models.Model):
    """A model as the workshop built it: architecture (Keras JSON, or a forest's), initial weights, what they look like.

    Its content never changes; only name and description do. `weights` holds an npz of arrays `t0000`, `t0001`, ...
    in the order of `tensors`. `input_shape` is without the batch dimension.
    """

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, max_length=4000)
    framework = models.CharField(max_length=10, default="tf")
    kind = models.CharField(max_length=10, choices=ModelKind)
    origin = models.JSONField(default=dict)
    """What it was made from: template name and parameters, source text, the file's name, a forest's parameters."""
    seed = models.BigIntegerField(default=0)
    architecture = models.TextField()
    weights = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    tensors = models.JSONField(default=list)
    input_shape = models.JSONField(default=list)
    input_dtype = models.CharField(max_length=20, default="float32")
    output_shape = models.JSONField(default=list)
    output_dtype = models.CharField(max_length=20, default="float32")
    layers = models.JSONField(default=list)
    parameters = models.BigIntegerField(default=0)
    compile = models.JSONField(null=True)
    """Optimizer, loss, metrics, learning rate that the file or source compiled it with, or null; `lost` says by field
    what of them no federation can keep."""
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name


class Configuration(models.Model):
    """A named set of models that are trained on the same data."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, max_length=4000)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    models = models.ManyToManyField(Model, related_name="configurations")  # last: it hides the module of this name

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name
