"""Deployed versions as the API shows and takes them."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from backend.inference.models import Inference
from backend.rest import kafka_ml
from backend.rest.fields import JsonObjectField
from backend.rest.serializers import Serializer
from mainstem.serving.spec import DELIVERIES, EXACTLY_ONCE, FORMS, OUTPUTS

MOST_REPLICAS = 32
MOST_PARTITIONS = 256


class InferenceSerializer(serializers.ModelSerializer[Inference]):
    """A deployed version: what is wanted, and how it stands."""

    created_by = serializers.CharField(source="created_by.username", read_only=True, allow_null=True, default=None)
    missing = serializers.ListField(
        child=serializers.CharField(),
        source="deployment.personal_tensors",
        read_only=True,
        default=list,
        help_text="Tensors that stay at each site: the version has version 0's in their place.",
    )

    class Meta:
        model = Inference
        fields = (
            "name", "federation", "version", "sha256", "replicas", "ready", "state", "detail", "input_topic",
            "output_topic", "input_format", "input_config", "answers", "delivery", "partitions", "group",
            "created_by", "created_at", "missing",
        )  # fmt: skip
        read_only_fields = fields


class InferenceCreateSerializer(Serializer):
    """What a version is deployed with; only the version itself has no default."""

    foreign: ClassVar[kafka_ml.Names] = kafka_ml.INFERENCES

    federation = serializers.CharField(max_length=8)
    version = serializers.IntegerField(min_value=0, max_value=(1 << 31) - 1)
    name = serializers.CharField(required=False, max_length=100)
    replicas = serializers.IntegerField(required=False, default=1, min_value=0, max_value=MOST_REPLICAS)
    input_topic = serializers.CharField(required=False, max_length=300)
    output_topic = serializers.CharField(required=False, max_length=300)
    input_format = serializers.CharField(required=False, default="RAW", max_length=10)
    input_config = JsonObjectField(required=False)
    answers = serializers.ChoiceField(FORMS, required=False, default=OUTPUTS)
    delivery = serializers.ChoiceField(DELIVERIES, required=False, default=EXACTLY_ONCE)
    partitions = serializers.IntegerField(required=False, default=4, min_value=1, max_value=MOST_PARTITIONS)


class ScaleSerializer(Serializer):
    """How many replicas are wanted; 0 stops all, and keeps the place in the input topic."""

    replicas = serializers.IntegerField(min_value=0, max_value=MOST_REPLICAS)


class InputPartitionSerializer(serializers.Serializer[Any]):
    """A partition of the input topic: `committed` is the next record to be answered, `lag` how many wait."""

    partition = serializers.IntegerField()
    committed = serializers.IntegerField(allow_null=True)
    end = serializers.IntegerField()
    lag = serializers.IntegerField()


class TrafficSerializer(serializers.Serializer[Any]):
    """What was answered: exact, since it is committed together with the answers."""

    members = serializers.IntegerField()
    answered = serializers.IntegerField()
    refused = serializers.IntegerField()
    lag = serializers.IntegerField()
    partitions = InputPartitionSerializer(many=True)
