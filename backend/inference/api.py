"""Versions as files and as predictions, over REST."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.audit.recording import note
from backend.catalog import exports
from backend.deployments.models import Deployment, Version
from backend.inference import versions
from backend.rest import downloads
from backend.rest.serializers import Serializer


class PredictSerializer(Serializer):
    """Samples as nested lists."""

    inputs = serializers.JSONField()


class PredictionSerializer(serializers.Serializer[Any]):
    """The model's outputs as nested lists."""

    shape = serializers.ListField(child=serializers.IntegerField())
    outputs = serializers.JSONField()
    missing = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Tensors that stay at each site: these outputs are made with version 0's in their place.",
    )


def _find(federation: str, number: int) -> tuple[Deployment, Version]:
    deployment = get_object_or_404(Deployment, federation=federation)
    return deployment, get_object_or_404(deployment.versions, number=number)


def named(deployment: Deployment, version: Version) -> tuple[str, str]:
    """A version's id and name in records of who did what."""
    return f"{deployment.federation}/{version.number}", deployment.name


class _FileView(APIView):
    """A version as a file: how it is called, and what makes it from the log the first time and finds it afterwards."""

    name: str
    file: Callable[[Deployment, Version], Path]

    def etag(self, deployment: Deployment, version: Version) -> str:
        """What tells this file from others of the name."""
        return exports.key_of(deployment.architecture, version.sha256)

    @extend_schema(responses={(200, downloads.OCTETS): OpenApiTypes.BINARY})
    def get(self, request: Request, federation: str, number: int) -> HttpResponseBase:
        """Made from the log the first time, cached afterwards."""
        deployment, version = _find(federation, number)
        etag = self.etag(deployment, version)
        unchanged = downloads.not_modified(request._request, etag)
        if unchanged is not None:
            return unchanged
        path = self.file(deployment, version)
        note("version.download", named(deployment, version), detail=self.name)
        name = f"{federation}-v{number}{Path(self.name).suffix}"
        return downloads.send(path, name, etag, versions.missing_header(deployment))


class KerasFileView(_FileView):
    """A version as a `.keras` file."""

    name, file = "model.keras", staticmethod(versions.keras_file)


class XgboostFileView(_FileView):
    """A version of a forest as XGBoost's JSON."""

    name, file = "model.json", staticmethod(versions.xgboost_file)


class WeightsFileView(_FileView):
    """A version's tensors as an npz: `t0000`, `t0001`, ... in the manifest's order."""

    name, file = versions.WEIGHTS_FILE, staticmethod(versions.weights_file)

    def etag(self, deployment: Deployment, version: Version) -> str:
        """See `_FileView`: whatever they are the weights of."""
        return version.sha256


class PredictView(APIView):
    """What a version says of samples."""

    @extend_schema(request=PredictSerializer, responses=PredictionSerializer)
    def post(self, request: Request, federation: str, number: int) -> Response:
        """Predict."""
        deployment, version = _find(federation, number)
        form = PredictSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(versions.predict(deployment, version, form.validated_data["inputs"]))
