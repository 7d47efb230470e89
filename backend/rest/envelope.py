"""What a control logger posts: records of one Kafka cluster, as JSON with base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.rest.serializers import Serializer
from mainstem.protocol.log import Record
from mainstem.protocol.signing import HEADER

MOST_RECORDS = 5_000
_LARGEST = (1 << 63) - 1


@extend_schema_field(OpenApiTypes.BYTE)
class Base64Field(serializers.Field[bytes, Any, str, Any]):
    """Bytes as base64 text."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "This is not base64."}

    def to_internal_value(self, data: Any) -> bytes:
        """Decode; anything but base64 text is a validation error."""
        try:
            return base64.b64decode(data, validate=True)
        except (TypeError, ValueError, binascii.Error):
            self.fail("invalid")

    def to_representation(self, value: bytes) -> str:
        """Encode."""
        return base64.b64encode(value).decode("ascii")


class EntrySerializer(Serializer):
    """One record and the ids of where it is."""

    topic = serializers.CharField(max_length=249)
    topic_id = serializers.CharField(max_length=64, allow_blank=True)
    partition = serializers.IntegerField(min_value=0, max_value=(1 << 31) - 1)
    offset = serializers.IntegerField(min_value=0, max_value=_LARGEST)
    timestamp_ms = serializers.IntegerField(min_value=-1, max_value=_LARGEST)
    key_b64 = Base64Field(allow_null=True, default=None)
    value_b64 = Base64Field(allow_null=True, default=None)
    signature_b64 = Base64Field(allow_null=True, default=None)


class EnvelopeSerializer(Serializer):
    """A batch, the records of each partition in their order."""

    cluster_id = serializers.CharField(max_length=64)
    records = serializers.ListField(child=EntrySerializer(), max_length=MOST_RECORDS)

    def entries(self) -> Iterator[tuple[str, Record]]:
        """Topic id and record, in order. Only after `is_valid`."""
        for entry in self.validated_data["records"]:
            yield (
                entry["topic_id"],
                Record(
                    entry["topic"],
                    entry["partition"],
                    entry["offset"],
                    entry["timestamp_ms"],
                    entry["key_b64"],
                    entry["value_b64"],
                    {} if entry["signature_b64"] is None else {HEADER: entry["signature_b64"]},
                ),
            )


class RefusedSerializer(serializers.Serializer[Any]):
    """A record that was kept but counts for nothing."""

    topic = serializers.CharField()
    partition = serializers.IntegerField()
    offset = serializers.IntegerField()
    reason = serializers.CharField()


class TakenSerializer(serializers.Serializer[Any]):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    refused = RefusedSerializer(many=True)
