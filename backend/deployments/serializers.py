"""Deployments as the API shows and takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.accounts.models import User
from backend.catalog.models import Configuration, Model
from backend.catalog.services import LARGEST_SEED
from backend.config import environment as env
from backend.deployments.columns import plain
from backend.deployments.models import Deployment, Member
from mainstem.errors import ConfigError
from mainstem.job_settings import JOB_FIELDS, JobSettings, own_settings
from mainstem.modes import MODES
from mainstem.selection import SELECTIONS
from mainstem.topics import check_federation_id

KAFKA_ML_NAMES = {"agg_rounds": "rounds", "agg_strategy": "strategy"}
"""Kafka-ML's names of its federated fields, and ours."""

MOST_CLIENTS = 1_000_000


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class NameOrObjectField(serializers.Field[Any, Any, Any, Any]):
    """A Keras name such as "adam", or Keras' serialized object."""

    def to_internal_value(self, data: Any) -> Any:
        """A name or an object; whether Keras knows it is `mainstem.compiling`'s to say."""
        if isinstance(data, str) and 0 < len(data.strip()) <= 200:
            return data.strip()
        if isinstance(data, dict) and isinstance(data.get("class_name"), str) and len(json.dumps(data)) <= 20_000:
            return plain(data)
        raise serializers.ValidationError('This must be a name such as "adam" or an object with class_name and config.')

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


@extend_schema_field(OpenApiTypes.ANY)
class JsonField(serializers.Field[Any, Any, Any, Any]):
    """A JSON value, or text that holds one."""

    def to_internal_value(self, data: Any) -> Any:
        """The value."""
        if isinstance(data, str):
            try:
                data = json.loads(data) if data.strip() else None
            except (ValueError, RecursionError) as error:
                raise serializers.ValidationError(f"This is not JSON: {error}") from error
        return plain(data)

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


class NamedSerializer(serializers.Serializer[Any]):
    """A strategy or a selection by name, with its parameters."""

    name = serializers.CharField(max_length=60)
    params = serializers.DictField(required=False, default=dict)

    def to_internal_value(self, data: Any) -> Any:
        """A bare name is enough; names are of any case."""
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, Mapping) and isinstance(data.get("name"), str):
            data = {**data, "name": data["name"].lower()}
        return super().to_internal_value(data)


class DeploymentCreateSerializer(serializers.Serializer[Any]):
    """A new deployment. Everything but `configuration` has a default; times are seconds."""

    configuration = serializers.PrimaryKeyRelatedField[Configuration](queryset=Configuration.objects.all())
    model = serializers.PrimaryKeyRelatedField[Model](
        queryset=Model.objects.all(),
        required=False,
        help_text="One of the configuration's models; all of them without it.",
    )
    name = serializers.CharField(max_length=100, required=False)
    federation = serializers.CharField(
        max_length=8, required=False, help_text="A fixed id of 8 characters a-z, 0-9, which was never used before."
    )
    rounds = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False, help_text="5")
    strategy = NamedSerializer(required=False)
    min_data = serializers.IntegerField(min_value=1, max_value=1 << 53, required=False, help_text="1")
    data_restriction = JsonField(required=False, allow_null=True)
    min_clients = serializers.IntegerField(min_value=1, max_value=MOST_CLIENTS, required=False, help_text="1")
    max_clients = serializers.IntegerField(min_value=1, max_value=MOST_CLIENTS, required=False, help_text="1000")
    quorum = serializers.IntegerField(
        min_value=1, max_value=MOST_CLIENTS, required=False, allow_null=True, help_text="min_clients"
    )
    round_deadline = serializers.FloatField(min_value=1, max_value=31_536_000, required=False, help_text="600")
    wait_limit = serializers.FloatField(min_value=1, max_value=31_536_000, required=False, help_text="3600")
    below_quorum = serializers.ChoiceField(choices=["extend", "fail"], required=False, help_text="extend")
    mode = serializers.ChoiceField(choices=sorted(MODES), required=False, help_text="sync")
    target = serializers.IntegerField(
        min_value=1,
        max_value=MOST_CLIENTS,
        required=False,
        allow_null=True,
        help_text="sync: so many updates close a round; without it, everyone is awaited.",
    )
    buffer = serializers.IntegerField(
        min_value=1, max_value=MOST_CLIENTS, required=False, help_text="10; buffered: so many updates close a round."
    )
    max_staleness = serializers.IntegerField(
        min_value=0, max_value=1000, required=False, help_text="10; buffered, async: commits behind the head."
    )
    staleness_exponent = serializers.FloatField(
        min_value=0, max_value=16, required=False, help_text="0.5; an update weighs (1 + staleness)^-this."
    )
    selection = NamedSerializer(required=False, help_text=", ".join(SELECTIONS))
    keep_updates = serializers.IntegerField(
        min_value=1,
        max_value=1_000_000,
        required=False,
        allow_null=True,
        help_text="Of how many committed rounds the clients' updates stay in Kafka; without it, of all.",
    )
    batch_size = serializers.IntegerField(min_value=1, max_value=1 << 20, required=False, help_text="32")
    epochs = serializers.IntegerField(min_value=1, max_value=100_000, required=False, help_text="1")
    optimizer = NameOrObjectField(required=False)
    loss = NameOrObjectField(required=False)
    metrics = serializers.ListField(child=NameOrObjectField(), max_length=20, required=False)
    learning_rate = serializers.FloatField(
        required=False, allow_null=True, help_text="Above 0, below 1,000,000; the optimizer's own."
    )
    seed = serializers.IntegerField(min_value=0, max_value=LARGEST_SEED, required=False, help_text="0")
    shuffle = serializers.BooleanField(required=False)
    class_weight = serializers.DictField(
        child=serializers.FloatField(),
        required=False,
        help_text='How much a sample of a class counts in the loss: {"0": 1, "1": 5}. Others count 1.',
    )
    job = JsonField(
        required=False,
        allow_null=True,
        help_text="How its Jobs run on Kubernetes, where that differs from the defaults: " + ", ".join(JOB_FIELDS),
    )
    check = serializers.BooleanField(
        required=False, help_text="Have the workshop compile the model with these settings first; takes seconds."
    )

    def to_internal_value(self, data: Any) -> Any:
        """Take Kafka-ML's names of fields as well, and refuse names that nobody knows: a typo is no default."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        data = {KAFKA_ML_NAMES.get(name, name): data[name] for name in data}
        unknown = [str(name) for name in data if name not in self.fields and name != "federated"]
        if unknown:
            raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such parameter."))
        return super().to_internal_value(data)

    def validate_job(self, value: Any) -> dict[str, Any]:
        """Each field, and that the image is one that the operator allows."""
        allowed = env.words("MAINSTEM_JOB_IMAGES")
        try:
            return own_settings({} if value is None else value, JobSettings.from_environ(os.environ), allowed)
        except ConfigError as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_federation(self, value: str) -> str:
        """Its characters."""
        try:
            return check_federation_id(value)
        except ConfigError as error:
            raise serializers.ValidationError(str(error)) from error


class MemberSerializer(serializers.ModelSerializer[Member]):
    """A client of a federation, as the newest records tell."""

    class Meta:
        model = Member
        fields = ["client", "state", "awaited", "examples", "last_ms", "detail", "evaluation"]


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """A deployment: its federation, where the run stands, and its parameters."""

    model_name = serializers.CharField(source="model.name", read_only=True, default=None)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    rounds = serializers.IntegerField(source="rules.rounds", read_only=True, default=0)
    min_clients = serializers.IntegerField(source="rules.min_clients", read_only=True, default=1)
    max_clients = serializers.IntegerField(source="rules.max_clients", read_only=True, default=1000)

    class Meta:
        model = Deployment
        fields = [
            "id", "federation", "name", "state", "detail", "error", "configuration", "model", "model_name", "parent",
            "external", "framework", "round", "rounds", "version", "sha256", "min_clients", "max_clients", "phase",
            "needed", "deadline_ms", "strategy", "evaluation", "opened_ms", "ended_ms", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class DeploymentDetailSerializer(DeploymentSerializer):
    """One deployment with its protocol objects, and who is in and whom the round waits for."""

    members = MemberSerializer(many=True, read_only=True)
    waits_for = serializers.SerializerMethodField()
    pending = serializers.SerializerMethodField()

    class Meta(DeploymentSerializer.Meta):
        fields = [
            *DeploymentSerializer.Meta.fields, "training", "rules", "data", "input", "job", "head", "revision",
            "superseded", "undecodable", "members", "waits_for", "pending",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_waits_for(self, deployment: Deployment) -> list[str]:
        """The clients whose update the open round still needs."""
        return deployment.waits_for(deployment.members.all())

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_pending(self, deployment: Deployment) -> list[str]:
        """What is still to be written to Kafka: open, command, delete."""
        return list(deployment.outbox.filter(done_at=None).values_list("kind", flat=True))


class DestroysSerializer(serializers.Serializer[Any]):
    """What deleting a deployment destroys."""

    federation = serializers.CharField()
    topics = serializers.ListField(child=serializers.CharField())
    rounds = serializers.IntegerField()
    versions = serializers.IntegerField()
    jobs = serializers.IntegerField()
    inferences = serializers.ListField(child=serializers.CharField())
    restarted_as = serializers.ListField(child=serializers.CharField())


class RollbackSerializer(serializers.Serializer[Any]):
    """The version to go on from."""

    version = serializers.IntegerField(min_value=0, max_value=(1 << 31) - 1)


class DeadlineSerializer(serializers.Serializer[Any]):
    """Another deadline of a round, in seconds."""

    round_deadline = serializers.FloatField(min_value=1, max_value=31_536_000)
