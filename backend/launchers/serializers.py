"""Jobs as JSON."""

from __future__ import annotations

from rest_framework import serializers

from backend.launchers.models import Job


class JobSerializer(serializers.ModelSerializer[Job]):
    """A Job; `exit_code` is the last attempt's, negative for the signal that killed it."""

    client = serializers.CharField(source="client_id", read_only=True)
    deployment_id = serializers.IntegerField(read_only=True, allow_null=True)
    source_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = Job
        fields = (
            "name", "federation", "deployment_id", "source_id", "client", "state", "wanted", "detail", "exit_code",
            "attempts", "failures", "created_at", "due_at", "started_at", "ended_at",
        )  # fmt: skip
        read_only_fields = fields
