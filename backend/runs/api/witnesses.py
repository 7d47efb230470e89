"""What the REST API says and takes of a log's witness."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts.roles import Role, at_least, role_of
from backend.deployments import witnesses
from backend.deployments.models import Deployment
from backend.rest.serializers import Serializer


class WitnessPermission(BasePermission):
    """Viewers read, and so do aggregators, by the loggers' token; admins import and accept."""

    message = "Your role does not allow this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user's role reaches what the method needs."""
        if request.method in SAFE_METHODS:
            return at_least(request.user, Role.VIEWER) or role_of(request.user) is Role.LOGGER
        return at_least(request.user, Role.ADMIN)


class EndSerializer(Serializer):
    """The end of a chain: how many lifecycle records it has, and the newest one's sha256."""

    count = serializers.IntegerField(min_value=1, max_value=(1 << 53) - 1)
    hash = serializers.RegexField(r"^[0-9a-f]{64}\Z")


class AcceptanceSerializer(serializers.Serializer[Any]):
    """What a person decided: `accepted` is the run's, and `witnessed` is given up."""

    number = serializers.IntegerField()
    accepted = EndSerializer()
    witnessed = EndSerializer(allow_null=True)
    by = serializers.CharField()
    why = serializers.CharField()
    time_ms = serializers.IntegerField()


class WitnessSerializer(serializers.Serializer[Any]):
    """What was witnessed of a federation's log."""

    federation = serializers.CharField()
    witness = EndSerializer(allow_null=True, help_text="The newest end that was seen and not given up.")
    end = EndSerializer(allow_null=True, help_text="Where the log ends, as far as it was read.")
    doubt = serializers.CharField(help_text="Why the log is about to be read again; empty where it is not.")
    unwitnessed = serializers.CharField(help_text="What is wrong with the log's end; empty where nothing is.")
    accepted = serializers.IntegerField(help_text="The number of the newest acceptance; 0: there is none.")
    acceptances = AcceptanceSerializer(many=True)


class AcceptSerializer(Serializer):
    """Which end of the log is accepted, and why."""

    hash = serializers.RegexField(r"^[0-9a-f]{64}\Z", help_text="`end.hash` of the witness, as it was read.")
    why = serializers.CharField(max_length=1000)


def answer(deployment: Deployment, status: int = 200) -> Response:
    """What is known of the deployment's log."""
    deployment.refresh_from_db()
    return Response(WitnessSerializer(msgspec.to_builtins(witnesses.state_of(deployment))).data, status)
