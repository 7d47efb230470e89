"""A run's outcome as the API shows it. Times are milliseconds since the epoch, by the log's clock."""

from __future__ import annotations

from typing import Any

from django.db.models import prefetch_related_objects
from django.utils.functional import cached_property
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backend.deployments.models import ClientRound, ControlRecord, Deployment, Refusal, Round, Version
from backend.runs.api.serializers import MemberSerializer
from backend.runs.charts.participation import scored_by, tally

NEWEST = 50
"""Rounds, versions and refusals that a run's result shows at once, at most."""
MOST_CLIENTS = 2000
"""Clients of all its rounds together."""
MOST_MEMBERS = 1000


class VersionSerializer(serializers.ModelSerializer[Version]):
    """A global model. `current`: the run's model is it or descends from it; one that was rolled back is not."""

    current = serializers.SerializerMethodField()
    missing = serializers.ListField(
        child=serializers.CharField(),
        source="deployment.personal_tensors",
        read_only=True,
        help_text="Tensors that stay at each site: the version has version 0's in their place.",
    )

    class Meta:
        model = Version
        fields = [
            "number",
            "seq",
            "parent",
            "sha256",
            "nbytes",
            "fetched",
            "offset",
            "created_ms",
            "evaluation",
            "unchanged",
            "current",
            "missing",
        ]

    def get_current(self, version: Version) -> bool:
        """By the head's lineage."""
        return version.number in version.deployment.lineage


class VersionDetailSerializer(VersionSerializer):
    """A global model with the manifest of its weights."""

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "weights"]


class ClientRoundSerializer(serializers.ModelSerializer[ClientRound]):
    """A client's update in a round, and what the round's strategy decided about it.

    `steps` are those that its optimizer took (0: not said), `loss` is the base's on the samples that it trained on
    (null where no strategy asked for it): by these and `examples` strategies weigh. `coefficient`
    is its weight, `scale` what its change was multiplied by before, `score` what it was judged by (null where the
    strategy judges nobody), `left_out` why it is no part of the version (empty where it is).
    """

    class Meta:
        model = ClientRound
        fields = [
            "client", "examples", "steps", "loss", "coefficient", "scale", "score", "left_out", "sha256", "nbytes",
            "offset", "base_version", "number", "received_ms", "training", "validation", "evaluation", "personal",
            "train_seconds", "upload_seconds", "encoding_error",
        ]  # fmt: skip


class RoundSerializer(serializers.ModelSerializer[Round]):
    """A committed round with its clients' metrics. `left_out` of its `accepted` updates are no part of its version."""

    clients = ClientRoundSerializer(many=True, read_only=True)
    current = serializers.SerializerMethodField()
    scored_by = serializers.SerializerMethodField(
        help_text="What the clients' `score` is; empty where the strategy judges nobody."
    )

    class Meta:
        model = Round
        fields = [
            "number", "seq", "version", "base_version", "strategy", "opened_ms", "closed_ms", "closed_by",
            "committed_ms", "examples", "accepted", "left_out", "scored_by", "refused", "refused_more", "evaluation",
            "personal", "writer", "offset", "final", "unchanged", "clients", "current",
        ]  # fmt: skip

    def get_current(self, round_: Round) -> bool:
        """Whether the run's model descends from the round's version."""
        return round_.version in round_.deployment.lineage

    def get_scored_by(self, round_: Round) -> str:
        """In the strategy's own words."""
        return scored_by(round_.strategy)


class ParticipationSerializer(serializers.Serializer[Any]):
    """How often a client's updates counted and were left out, in the rounds that the run's model descends from.

    `turns`: how many would have counted on average, had each round left out as many updates as it did, by lot.
    `overlooked`: it is left out so often that the run's `notices` name it.
    """

    client = serializers.CharField()
    updates = serializers.IntegerField()
    counted = serializers.IntegerField()
    left_out = serializers.IntegerField()
    turns = serializers.FloatField()
    overlooked = serializers.BooleanField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Of a row of `participation.counts`."""
        return super().to_representation(tally(instance))


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
            "strategy", "opened_ms", "ended_ms", "doubt", "amended", "lost", "unwitnessed",
        ]  # fmt: skip


class PartSerializer(serializers.Serializer[Any]):
    """How much of a list is shown, of how many rows, and where all of them are in pages."""

    shown = serializers.IntegerField()
    count = serializers.IntegerField()
    address = serializers.CharField()


class ResultDetailSerializer(serializers.ModelSerializer[Deployment]):
    """A run with its newest rounds, versions and refusals, and its first members: bounded, however long it is.

    Rounds and versions are in their order. `pages` says of each list how much is shown, and where the rest is.
    """

    rounds = serializers.SerializerMethodField()
    versions = serializers.SerializerMethodField()
    members = serializers.SerializerMethodField()
    refusals = serializers.SerializerMethodField()
    pages = serializers.SerializerMethodField()

    class Meta:
        model = Deployment
        fields = [
            "federation", "name", "state", "detail", "round", "version", "sha256", "evaluation", "personal",
            "personal_tensors", "parent", "strategy", "training", "rules", "data", "input", "adaptation", "head",
            "opened_ms", "ended_ms", "rounds", "versions", "members",
            "refusals", "pages", "doubt", "amended", "lost", "unwitnessed",
        ]  # fmt: skip

    @extend_schema_field(RoundSerializer(many=True))
    def get_rounds(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The newest: as many whole ones as hold `MOST_CLIENTS` clients between them, one at least."""
        newest: list[Round] = []
        clients = 0
        for row in deployment.rounds.order_by("-seq")[:NEWEST]:
            clients += row.accepted
            if newest and clients > MOST_CLIENTS:
                break
            newest.append(row)
        prefetch_related_objects(newest, "clients")
        return self._kept("rounds", RoundSerializer(newest[::-1], many=True))

    @extend_schema_field(VersionSerializer(many=True))
    def get_versions(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The newest."""
        newest = deployment.versions.defer("weights").order_by("-number")[:NEWEST]
        return self._kept("versions", VersionSerializer(list(newest)[::-1], many=True))

    @extend_schema_field(MemberSerializer(many=True))
    def get_members(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The first."""
        return self._kept("members", MemberSerializer(deployment.members.all()[:MOST_MEMBERS], many=True))

    @extend_schema_field(RefusalSerializer(many=True))
    def get_refusals(self, deployment: Deployment) -> list[dict[str, Any]]:
        """The newest, the last one first."""
        return self._kept("refusals", RefusalSerializer(deployment.refusals.order_by("-offset")[:NEWEST], many=True))

    @extend_schema_field(serializers.DictField(child=PartSerializer()))
    def get_pages(self, deployment: Deployment) -> dict[str, Any]:
        """By the list's name."""
        return {
            name: {
                "shown": shown,
                "count": getattr(deployment, name).count(),
                "address": f"/api/results/{deployment.federation}/{name}/",
            }
            for name, shown in self._shown.items()
        }

    def _kept(self, name: str, rows: serializers.BaseSerializer[Any]) -> list[dict[str, Any]]:
        found = list(rows.data)
        self._shown[name] = len(found)
        return found

    @cached_property
    def _shown(self) -> dict[str, int]:
        return {}


class ControlRecordSerializer(serializers.ModelSerializer[ControlRecord]):
    """A record of the control topic, without its bytes."""

    class Meta:
        model = ControlRecord
        fields = ["offset", "timestamp_ms", "kind", "problem"]
