"""Jobs, and what they could train on, as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from backend.launchers.models import Job


class JobSerializer(serializers.ModelSerializer[Job]):
    """A Job; `exit_code` is the last attempt's, negative for the signal that killed it."""

    client = serializers.CharField(source="client_id", read_only=True)
    deployment_id = serializers.IntegerField(read_only=True, allow_null=True)
    source_id = serializers.IntegerField(read_only=True)
    notice = serializers.CharField(source="source.notice", read_only=True, help_text="What its stream lacks, if any.")

    class Meta:
        model = Job
        fields = (
            "name", "federation", "deployment_id", "source_id", "client", "state", "wanted", "detail", "notice",
            "exit_code", "attempts", "failures", "created_at", "due_at", "started_at", "ended_at",
        )  # fmt: skip
        read_only_fields = fields


class FitSerializer(serializers.Serializer[Any]):
    """Whether a stream fits a federation; `reason` says why it does not, or why its Job has to wait."""

    federation = serializers.CharField()
    deployment = serializers.IntegerField()
    name = serializers.CharField()
    fits = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True)
    job = serializers.CharField(allow_null=True)
    note = serializers.CharField(allow_blank=True, help_text="What its Job leaves out of the stream, and why.")
