"""Data sources as JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from backend.accounts.models import User
from backend.catalog.services import LARGEST_SEED
from backend.rest import kafka_ml
from backend.rest.fields import FiniteField, JsonField
from backend.rest.serializers import Serializer, TableSerializer
from backend.streams.models import DataSource, Injection, Upload
from backend.streams.options import OptionsSerializer, TopicField
from mainstem.streams.codecs import FORMATS


class DataSourceSerializer(serializers.ModelSerializer[DataSource]):
    """A stream, or a refused record with its `problem`."""

    raw = serializers.SerializerMethodField(help_text="The announcement as it came; its beginning if it is long.")

    class Meta:
        model = DataSource
        fields = (
            "id", "topic", "input_format", "input_config", "description", "restrictions", "validation_rate",
            "test_rate", "total_msg", "incremental", "unsupervised_topic", "addressed_to", "problem", "cluster_id",
            "topic_id", "partition", "offset", "timestamp_ms", "received_at", "raw", "stream_ids", "readable",
            "standing", "notice", "surveyed_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_raw(self, source: DataSource) -> str:
        """Bytes that are no text show as replacement characters."""
        return bytes(source.value or b"")[:8192].decode("utf-8", "replace")


class AnnouncementSerializer(Serializer):
    """A stream to announce: the fields of Kafka-ML's control message, and the only federation that is meant."""

    foreign: ClassVar[kafka_ml.Names] = kafka_ml.DATASOURCES

    topic = serializers.CharField(
        max_length=100_000, help_text="topic:partition:start:end,... or a bare name; a topic that is missing is made."
    )
    input_format = serializers.ChoiceField(choices=FORMATS, default="RAW")
    input_config = JsonField(help_text="How a record becomes a sample.")
    description = serializers.CharField(max_length=1000, default="", allow_blank=True)
    dataset_restrictions = JsonField(required=False, allow_null=True)
    validation_rate = FiniteField(min_value=0, max_value=1, default=0)
    test_rate = FiniteField(min_value=0, max_value=1, default=0)
    total_msg = serializers.IntegerField(
        min_value=0, required=False, allow_null=True, help_text="Without it a bare name is a stream that grows."
    )
    incremental = serializers.BooleanField(required=False, allow_null=True, default=None)
    unsupervised_topic = serializers.CharField(max_length=249, required=False, allow_null=True, allow_blank=True)
    federation = serializers.RegexField(
        r"\A[a-z0-9]{8}\Z", required=False, allow_blank=True,
        error_messages={"invalid": "A federation's id is 8 characters of a-z and 0-9."},
    )  # fmt: skip


class AnnouncedSerializer(serializers.Serializer[Any]):
    """Where the announcement stands in FEDERATED_DATA_CONTROL_TOPIC, and the topics that were made for it."""

    topic = serializers.CharField()
    made = serializers.ListField(child=serializers.CharField())
    offset = serializers.IntegerField()


class InjectionSerializer(TableSerializer[Injection]):
    """Sample data to inject: real digits, the same for the same seed."""

    topic = TopicField(required=False)
    input_format = serializers.ChoiceField(choices=FORMATS, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=LARGEST_SEED, required=False)
    restriction = JsonField(required=False, allow_null=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Injection
        fields = (
            "id", "clients", "train_samples", "test_samples", "alpha", "seed", "topic", "input_format", "restriction",
            "files", "options", "state", "detail", "created_by", "created_at", "ended_at",
        )  # fmt: skip
        read_only_fields = ("files", "options", "state", "detail", "created_at", "ended_at")


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """Files of samples, and what was found in them when they were last looked at."""

    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Upload
        fields = ("id", "names", "size", "options", "problem", "found", "created_by", "created_at")
        read_only_fields = fields


class UploadCreateSerializer(OptionsSerializer):
    """Files of samples (`file`, several for CIFAR-10's batches or MNIST's two files) and how to read them."""

    file = serializers.ListField(
        child=serializers.FileField(max_length=200),
        min_length=1,
        max_length=settings.DATA_UPLOAD_MAX_NUMBER_FILES,
        error_messages={"min_length": "Choose a file.", "required": "Choose a file."},
    )


class TopicSerializer(serializers.Serializer[Any]):
    """A topic; `kept_because` says why it cannot be deleted here."""

    name = serializers.CharField()
    partitions = serializers.IntegerField()
    records = serializers.IntegerField()
    written = serializers.IntegerField()
    purpose = serializers.CharField()
    federation = serializers.CharField(allow_null=True)
    kept_because = serializers.CharField(allow_blank=True)


class PartitionSerializer(serializers.Serializer[Any]):
    """A partition's readable offsets, [first, end)."""

    number = serializers.IntegerField()
    first = serializers.IntegerField()
    end = serializers.IntegerField()


class ReaderSerializer(serializers.Serializer[Any]):
    """A consumer group at a partition."""

    group = serializers.CharField()
    state = serializers.CharField()
    members = serializers.IntegerField()
    partition = serializers.IntegerField()
    committed = serializers.IntegerField(allow_null=True)
    lag = serializers.IntegerField(allow_null=True)


class TopicDetailSerializer(serializers.Serializer[Any]):
    """A topic with its partitions and readers."""

    name = serializers.CharField()
    partitions = PartitionSerializer(many=True)
    readers = ReaderSerializer(many=True)
    purpose = serializers.CharField()
    federation = serializers.CharField(allow_null=True)
    kept_because = serializers.CharField(allow_blank=True)


class MessageSerializer(serializers.Serializer[Any]):
    """A message as text; `problem` says why it is not of the protocol."""

    offset = serializers.IntegerField()
    timestamp_ms = serializers.IntegerField()
    kind = serializers.CharField()
    key = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()
    size = serializers.IntegerField()
    problem = serializers.CharField()
