"""Data sources as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backend.streams.models import DataSource


class DataSourceSerializer(serializers.ModelSerializer[DataSource]):
    """A stream, or a refused record with its `problem`."""

    raw = serializers.SerializerMethodField(help_text="The announcement as it came; its beginning if it is long.")

    class Meta:
        model = DataSource
        fields = (
            "id", "topic", "input_format", "input_config", "description", "restrictions", "validation_rate",
            "test_rate", "total_msg", "incremental", "unsupervised_topic", "addressed_to", "problem", "cluster_id",
            "topic_id", "partition", "offset", "timestamp_ms", "received_at", "raw",
        )  # fmt: skip
        read_only_fields = fields

    def get_raw(self, source: DataSource) -> str:
        """Bytes that are no text show as replacement characters."""
        return bytes(source.value or b"")[:8192].decode("utf-8", "replace")


class FitSerializer(serializers.Serializer[Any]):
    """Whether a stream fits a federation; `reason` says why it does not, or why its Job has to wait."""

    federation = serializers.CharField()
    deployment = serializers.IntegerField()
    name = serializers.CharField()
    fits = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True)
    job = serializers.CharField(allow_null=True)
