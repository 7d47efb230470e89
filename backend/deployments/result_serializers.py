"""A run's outcome as the API shows it. Times are milliseconds since the epoch, by the log's clock."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backend.deployments.models import ClientRound, ControlRecord, Deployment, Refusal, Round, Version
from backend.deployments.serializers import MemberSerializer


class VersionSerializer(serializers.ModelSerializer[Version]):
    """A global model. `current`: the run's model is it or descends from it; one that was rolled back is not."""

    current = serializers.SerializerMethodField()

    class Meta:
        model = Version
        fields = [
            "number",
            "seq",
            "parent",
            "sha256",
            "nbytes",
            "offset",
            "created_ms",
            "evaluation",
            "unchanged",
            "current",
        ]

    def get_current(self, version: Version) -> bool:
        """By the head's lineage."""
        return version.number in version.deployment.lineage


class VersionDetailSerializer(VersionSerializer):
    """A global model with the manifest of its weights."""

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "weights"]


class ClientRoundSerializer(serializers.ModelSerializer[ClientRound]):
    """A client's update in a round."""

    class Meta:
        model = ClientRound
        fields = [
            "client", "examples", "coefficient", "sha256", "nbytes", "offset", "base_version", "number", "received_ms",
            "training", "validation", "evaluation", "train_seconds", "upload_seconds",
        ]  # fmt: skip


class RoundSerializer(serializers.ModelSerializer[Round]):
    """A committed round with its clients' metrics."""

    clients = ClientRoundSerializer(many=True, read_only=True)
    current = serializers.SerializerMethodField()

    class Meta:
        model = Round
        fields = [
            "number", "seq", "version", "base_version", "strategy", "opened_ms", "closed_ms", "closed_by",
            "committed_ms", "examples", "accepted", "refused", "refused_more", "evaluation", "writer", "offset",
            "final", "unchanged", "clients", "current",
        ]  # fmt: skip

    def get_current(self, round_: Round) -> bool:
        """Whether the run's model descends from the round's version."""
        return round_.version in round_.deployment.lineage


class RefusalSerializer(serializers.ModelSerializer[Refusal]):
    """A record that did not count, and why."""

    class Meta:
        model = Refusal
        fields = ["client", "offset", "round", "reason", "detail"]


class ResultSerializer(serializers.ModelSerializer[Deployment]):
    """A run in a list."""

    rounds = serializers.IntegerField(source="rules.rounds", read_only=True, default=0)

    class Meta:
        model = Deployment
        fields = [
            "federation", "name", "state", "detail", "round", "rounds", "version", "sha256", "evaluation", "parent",
            "strategy", "opened_ms", "ended_ms", "doubt", "amended", "lost",
        ]  # fmt: skip


class ResultDetailSerializer(serializers.ModelSerializer[Deployment]):
    """A run with its rounds, versions, members, and the newest refusals."""

    rounds = RoundSerializer(many=True, read_only=True)
    versions = VersionSerializer(many=True, read_only=True)
    members = MemberSerializer(many=True, read_only=True)
    refusals = serializers.SerializerMethodField()

    class Meta:
        model = Deployment
        fields = [
            "federation", "name", "state", "detail", "round", "version", "sha256", "evaluation", "parent", "strategy",
            "training", "rules", "data", "input", "head", "opened_ms", "ended_ms", "rounds", "versions", "members",
            "refusals", "doubt", "amended", "lost",
        ]  # fmt: skip

    def get_refusals(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The newest hundred."""
        return list(RefusalSerializer(deployment.refusals.order_by("-offset")[:100], many=True).data)


class ControlRecordSerializer(serializers.ModelSerializer[ControlRecord]):
    """A record of the control topic, without its bytes."""

    class Meta:
        model = ControlRecord
        fields = ["offset", "timestamp_ms", "kind", "problem"]
