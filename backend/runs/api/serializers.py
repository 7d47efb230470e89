"""Deployments as the API shows and takes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.accounts.models import User
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment, Member
from backend.deployments.planning import storage
from backend.rest import kafka_ml
from backend.rest.fields import JsonField, JsonObjectField, NameField, field_of
from backend.rest.serializers import Serializer
from backend.runs.reasons.notices import notices
from backend.runs.reasons.troubles import detail_of, reasons_of
from backend.sites import admission
from mainstem.errors import ConfigError
from mainstem.jobs.kubernetes.limits import JobLimits, own_settings
from mainstem.jobs.kubernetes.settings import JOB_FIELDS, JobSettings
from mainstem.protocol.topics import check_federation_id
from mainstem.rounds.parameters import PARAMETERS, help_of

ALONE = ("rounds", "min_clients", "max_clients")
"""Each is 1 where a deployment is not federated."""


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class NameOrObjectField(serializers.Field[Any, Any, Any, Any]):
    """A Keras name such as "adam", or Keras' serialized object."""

    def to_internal_value(self, data: Any) -> Any:
        """A name or an object; whether Keras knows it is `mainstem.jobs.compiling`'s to say."""
        if isinstance(data, str) and 0 < len(data.strip()) <= 200:
            return data.strip()
        if isinstance(data, dict) and isinstance(data.get("class_name"), str) and len(json.dumps(data)) <= 20_000:
            return data
        raise serializers.ValidationError('This must be a name such as "adam" or an object with class_name and config.')

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


class NamedSerializer(Serializer):
    """A strategy, a selection, an encoding or a schedule by name, with its parameters."""

    name = serializers.CharField(max_length=60)
    params = JsonObjectField(required=False, default=dict)

    def to_internal_value(self, data: Any) -> Any:
        """A bare name is enough; names are of any case."""
        if isinstance(data, str):
            data = {"name": data}
        if isinstance(data, Mapping) and isinstance(data.get("name"), str):
            data = {**data, "name": data["name"].lower()}
        return super().to_internal_value(data)


class NamesField(serializers.ListField):
    """Names as a list, or as Kafka-ML has a model's metrics: in a text, with commas between them."""

    def to_internal_value(self, data: Any) -> list[Any]:
        """The list."""
        if isinstance(data, str):
            data = [name.strip() for name in data.split(",") if name.strip()]
        return super().to_internal_value(data)


class AdmissionChangeSerializer(Serializer):
    """Whose clients may take part. `admission` becomes the protocol's."""

    admission = serializers.ChoiceField(
        list(admission.MODES),
        required=False,
        help_text=f"Whose clients may take part: anyone (open), or those of enrolled sites; {admission.DEFAULT} "
        "without it.",
    )
    sites = NamesField(
        child=serializers.CharField(max_length=64),
        max_length=1000,
        required=False,
        help_text="Names of the sites that an enrolled run admits; without it all that are enrolled at this moment.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The sites by their keys."""
        return attrs | {"admission": admission.admission_of(attrs.get("admission"), attrs.pop("sites", None))}


class DeploymentCreateSerializer(AdmissionChangeSerializer):
    """A new deployment. Everything but `configuration` has a default; times are seconds."""

    foreign: ClassVar[kafka_ml.Names] = kafka_ml.DEPLOYMENTS

    configuration = serializers.PrimaryKeyRelatedField[Configuration](queryset=Configuration.objects.all())
    model = serializers.PrimaryKeyRelatedField[Model](
        queryset=Model.objects.all(),
        required=False,
        help_text="One of the configuration's models; all of them without it.",
    )
    name = NameField(required=False)
    federated = serializers.BooleanField(
        required=False,
        default=True,
        help_text="true; false: the first stream that fits trains once, alone (rounds, min_clients, max_clients 1).",
    )
    federation = serializers.CharField(
        max_length=8, required=False, help_text="A fixed id of 8 characters a-z, 0-9, which was never used before."
    )
    strategy = NamedSerializer(required=False)
    data_restriction = JsonField(required=False, allow_null=True)
    selection = NamedSerializer(required=False)
    encoding_up = NamedSerializer(required=False)
    encoding_down = NamedSerializer(required=False)
    learning_rate_schedule = NamedSerializer(required=False)
    optimizer = NameOrObjectField(required=False)
    loss = NameOrObjectField(required=False)
    metrics = NamesField(child=NameOrObjectField(), max_length=20, required=False)
    personal = NamesField(child=serializers.CharField(max_length=200), max_length=64, required=False)
    class_weight = serializers.DictField(child=serializers.FloatField(), required=False)
    job = JsonField(
        required=False,
        allow_null=True,
        help_text="How its Jobs run on Kubernetes, where that differs from the defaults: " + ", ".join(JOB_FIELDS),
    )
    check = serializers.BooleanField(
        required=False, help_text="Have the workshop compile the model with these settings first; takes seconds."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Those above, and one of each parameter; its sentence is the parameter's."""
        own = super().get_fields()
        for name, parameter in PARAMETERS.items():
            own.setdefault(name, field_of(parameter)).help_text = help_of(name)
        return own

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One client trains once where it is not federated, whatever else is asked for."""
        attrs = super().validate(attrs)
        if attrs["federated"]:
            return attrs
        wrong = {name: attrs[name] for name in ALONE if attrs.get(name, 1) != 1}
        if wrong:
            raise serializers.ValidationError(
                {
                    name: f"With federated false one client trains once, so that {name} is 1, not {value}: leave it "
                    "out, and give epochs."
                    for name, value in wrong.items()
                }
            )
        return attrs | dict.fromkeys(ALONE, 1)

    def validate_job(self, value: Any) -> dict[str, Any]:
        """Each field, and that the administrator allows it."""
        try:
            defaults, limits = JobSettings.from_environ(os.environ), JobLimits.from_environ(os.environ)
            return own_settings({} if value is None else value, defaults, limits)
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
        fields = ["client", "state", "awaited", "examples", "last_ms", "detail", "evaluation", "personal"]


class AdmissionSerializer(serializers.Serializer[Any]):
    """Whose clients may take part."""

    mode = serializers.CharField()
    sites = serializers.ListField(child=serializers.CharField(), help_text="Their names; empty where it is open.")


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """A deployment: its federation, where the run stands, and its parameters."""

    model_name = serializers.CharField(source="model.name", read_only=True, default=None)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    detail = serializers.SerializerMethodField(
        help_text="What the newest record says, and what stands in the run's way: which client gave up, and why."
    )
    rounds = serializers.IntegerField(source="rules.rounds", read_only=True, default=0)
    min_clients = serializers.IntegerField(source="rules.min_clients", read_only=True, default=1)
    max_clients = serializers.IntegerField(source="rules.max_clients", read_only=True, default=1000)
    admission = serializers.SerializerMethodField()

    class Meta:
        model = Deployment
        fields = [
            "id", "federation", "name", "state", "detail", "error", "configuration", "model", "model_name", "parent",
            "external", "framework", "round", "rounds", "version", "sha256", "min_clients", "max_clients", "phase",
            "needed", "deadline_ms", "strategy", "evaluation", "personal", "personal_tensors", "opened_ms", "ended_ms",
            "created_by", "created_at", "admission", "doubt", "amended", "lost", "unwitnessed",
        ]  # fmt: skip
        read_only_fields = fields

    def get_detail(self, deployment: Deployment) -> str:
        """What its newest record says, and what stands in the run's way."""
        return detail_of(deployment)

    @extend_schema_field(AdmissionSerializer)
    def get_admission(self, deployment: Deployment) -> dict[str, Any]:
        """Whose clients may take part."""
        return admission.shown(deployment.rules)


class FailureSerializer(serializers.Serializer[Any]):
    """Why a client that is no member gave up, in its own words."""

    client = serializers.CharField()
    detail = serializers.CharField()


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a run does not go on."""

    about = serializers.CharField(help_text="Who or what: clients, the data streams, a round, the log.")
    detail = serializers.CharField()
    advice = serializers.CharField(help_text="What to do next; empty where nothing is to be done.")
    wrong = serializers.BooleanField(help_text="true: a trouble; false: it merely waits.")
    jobs = serializers.ListField(child=serializers.CharField())
    streams = serializers.ListField(child=serializers.IntegerField())


class StorageSerializer(serializers.Serializer[Any]):
    """What the rounds to come will write to Kafka, and how much room its disk has."""

    needed_bytes = serializers.IntegerField()
    updates_bytes = serializers.IntegerField()
    versions_bytes = serializers.IntegerField()
    free_bytes = serializers.IntegerField(allow_null=True, help_text="null: Kafka's disk is not one of this machine")
    detail = serializers.CharField()
    warning = serializers.CharField(help_text="Empty where there is room enough.")


class DeploymentDetailSerializer(DeploymentSerializer):
    """One deployment with its protocol objects, and who is in and whom the round waits for."""

    members = MemberSerializer(many=True, read_only=True)
    failures = FailureSerializer(many=True, read_only=True)
    reasons = serializers.SerializerMethodField()
    waits_for = serializers.SerializerMethodField()
    pending = serializers.SerializerMethodField()
    notices = serializers.SerializerMethodField()
    storage = serializers.SerializerMethodField()

    class Meta(DeploymentSerializer.Meta):
        fields = [
            *DeploymentSerializer.Meta.fields, "training", "rules", "data", "input", "adaptation", "job", "head",
            "revision", "superseded", "undecodable", "forged", "members", "failures", "reasons", "waits_for", "pending",
            "notices", "storage",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ReasonSerializer(many=True))
    def get_reasons(self, deployment: Deployment) -> Any:
        """Why the run does not go on, and what to do next."""
        return ReasonSerializer(reasons_of(deployment), many=True).data

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_waits_for(self, deployment: Deployment) -> list[str]:
        """The clients whose update the open round still needs."""
        return deployment.waits_for(deployment.members.all())

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_pending(self, deployment: Deployment) -> list[str]:
        """What is still to be written to Kafka: open, command, delete."""
        return list(deployment.outbox.filter(done_at=None).values_list("kind", flat=True))

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_notices(self, deployment: Deployment) -> list[str]:
        """What its streams lack: records that were announced and cannot be read, a topic that is gone; and what of its
        model no version changes."""
        return notices(deployment)

    @extend_schema_field(StorageSerializer(allow_null=True))
    def get_storage(self, deployment: Deployment) -> dict[str, Any] | None:
        """What the run will need beside what is free; null where it has ended."""
        return storage.shown(deployment)


class DestroysSerializer(serializers.Serializer[Any]):
    """What deleting a deployment destroys."""

    federation = serializers.CharField()
    topics = serializers.ListField(child=serializers.CharField())
    rounds = serializers.IntegerField()
    versions = serializers.IntegerField()
    jobs = serializers.IntegerField()
    inferences = serializers.ListField(child=serializers.CharField())
    restarted_as = serializers.ListField(child=serializers.CharField())


class RollbackSerializer(Serializer):
    """The version to go on from."""

    version = serializers.IntegerField(min_value=0, max_value=(1 << 31) - 1)


class RemovalSerializer(Serializer):
    """The client to put out."""

    client = serializers.CharField(max_length=64)


class DeadlineSerializer(Serializer):
    """Another deadline of a round, in seconds."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The parameter's."""
        return {"round_deadline": field_of(PARAMETERS["round_deadline"], required=True)}
