"""Versions as files and as predictions, over REST."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.catalog import exports
from backend.config import downloads
from backend.config.serializers import Serializer
from backend.deployments.models import Deployment, Version
from backend.inference import versions


class PredictSerializer(Serializer):
    """Samples as nested lists."""

    inputs = serializers.JSONField()


class PredictionSerializer(serializers.Serializer[Any]):
    """The model's outputs as nested lists."""

    shape = serializers.ListField(child=serializers.IntegerField())
    outputs = serializers.JSONField()


def _find(federation: str, number: int) -> tuple[Deployment, Version]:
    deployment = get_object_or_404(Deployment, federation=federation)
    return deployment, get_object_or_404(deployment.versions, number=number)


class KerasFileView(APIView):
    """A version as a `.keras` file."""

    @extend_schema(responses={(200, downloads.OCTETS): OpenApiTypes.BINARY})
    def get(self, request: Request, federation: str, number: int) -> HttpResponseBase:
        """Made from the log the first time, cached afterwards."""
        deployment, version = _find(federation, number)
        etag = exports.key_of(deployment.architecture, version.sha256)
        unchanged = downloads.not_modified(request._request, etag)
        if unchanged is not None:
            return unchanged
        path = versions.keras_file(deployment, version)
        return downloads.send(path, f"{federation}-v{number}.keras", etag)


class WeightsFileView(APIView):
    """A version's tensors as an npz: `t0000`, `t0001`, ... in the manifest's order."""

    @extend_schema(responses={(200, downloads.OCTETS): OpenApiTypes.BINARY})
    def get(self, request: Request, federation: str, number: int) -> HttpResponseBase:
        """Read from the log the first time, cached afterwards."""
        deployment, version = _find(federation, number)
        unchanged = downloads.not_modified(request._request, version.sha256)
        if unchanged is not None:
            return unchanged
        path = versions.weights_file(deployment, version)
        return downloads.send(path, f"{federation}-v{number}.npz", version.sha256)


class PredictView(APIView):
    """What a version says of samples."""

    @extend_schema(request=PredictSerializer, responses=PredictionSerializer)
    def post(self, request: Request, federation: str, number: int) -> Response:
        """Predict."""
        deployment, version = _find(federation, number)
        form = PredictSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(versions.predict(deployment, version, form.validated_data["inputs"]))
