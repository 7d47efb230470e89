"""`/api/inferences/`: versions that answer topics."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from backend.accounts.roles import user_of
from backend.inference import services
from backend.inference.models import Inference
from backend.inference.serializers import (
    InferenceCreateSerializer,
    InferenceSerializer,
    ScaleSerializer,
    TrafficSerializer,
)
from backend.inference.traffic import traffic
from backend.launchers.api import tail_of
from backend.launchers.options import replica_logs


@extend_schema_view(list=extend_schema(responses=InferenceSerializer(many=True)))
class InferenceViewSet(viewsets.ReadOnlyModelViewSet[Inference]):
    """Deployed versions, the newest first. Creating and scaling answer at once; replicas follow within seconds."""

    queryset = Inference.objects.select_related("created_by", "deployment")
    serializer_class = InferenceSerializer
    lookup_field = "name"
    lookup_value_regex = "[a-z0-9-]+"
    filterset_fields = ("federation", "version", "state", "input_topic", "output_topic")
    ordering_fields = ("id", "name", "created_at")

    @extend_schema(request=InferenceCreateSerializer, responses={201: InferenceSerializer})
    def create(self, request: Request) -> Response:
        """Deploy a version."""
        form = InferenceCreateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        made = services.create(form.validated_data, user_of(request))
        return Response(InferenceSerializer(made).data, status.HTTP_201_CREATED)

    @extend_schema(request=ScaleSerializer, responses=InferenceSerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        """Change the number of replicas."""
        inference = self.get_object()
        form = ScaleSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        services.scale(inference, form.validated_data["replicas"])
        inference.refresh_from_db()
        return Response(InferenceSerializer(inference).data)

    @extend_schema(responses={202: InferenceSerializer})
    def destroy(self, request: Request, name: str) -> Response:
        """End its replicas and forget their place in the input topic; the topics stay."""
        inference = self.get_object()
        services.end(inference)
        inference.refresh_from_db()
        return Response(InferenceSerializer(inference).data, status.HTTP_202_ACCEPTED)

    @extend_schema(responses=TrafficSerializer, filters=False)
    @action(detail=True, pagination_class=None)
    def traffic(self, request: Request, name: str) -> Response:
        """What was answered, what was refused, what waits."""
        return Response(TrafficSerializer(traffic(self.get_object())).data)

    @extend_schema(
        parameters=[OpenApiParameter("tail", int, description="How many bytes of its end (65536).")],
        responses={(200, "text/plain"): OpenApiTypes.STR},
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def log(self, request: Request, name: str) -> HttpResponse:
        """The end of its replicas' output."""
        text = replica_logs().log(self.get_object().name, tail_of(request))
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
