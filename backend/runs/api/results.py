"""What a run has come to: rounds, clients' metrics, versions, refusals, the log itself."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backend.deployments.models import ControlRecord, Deployment
from backend.rest.filters import KnownOrdering
from backend.rest.pagination import Pages
from backend.runs.api.result_serializers import (
    ControlRecordSerializer,
    ParticipationSerializer,
    RefusalSerializer,
    ResultDetailSerializer,
    ResultSerializer,
    RoundSerializer,
    VersionDetailSerializer,
    VersionSerializer,
)
from backend.runs.api.serializers import MemberSerializer
from backend.runs.charts import participation


class RoundPages(Pages):
    """Of rounds, each with all its clients: fewer in a page than of other rows."""

    max_page_size = 100


@extend_schema_view(retrieve=extend_schema(responses=ResultDetailSerializer))
class ResultViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Deployment]):
    """Results by federation id. Everything here is read from the federation's control topic."""

    queryset = Deployment.objects.defer("architecture")
    lookup_field = "federation"
    lookup_value_regex = "[a-z0-9]{8}"
    filterset_fields = {"state": ["exact", "in"], "name": ["exact", "icontains"], "parent": ["exact"]}
    ordering_fields = ["name", "created_at", "round"]

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """The long form for one run."""
        return ResultDetailSerializer if self.action == "retrieve" else ResultSerializer

    def _page(self, rows: QuerySet[Any], serializer: type[BaseSerializer[Any]]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True).data)

    @extend_schema(responses=RoundSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=RoundPages)
    def rounds(self, request: Request, federation: str) -> Response:
        """Rounds with their clients, in pages."""
        return self._page(self.get_object().rounds.prefetch_related("clients"), RoundSerializer)

    @extend_schema(responses=MemberSerializer(many=True), filters=False)
    @action(detail=True)
    def members(self, request: Request, federation: str) -> Response:
        """Who takes or took part, in pages."""
        return self._page(self.get_object().members.all(), MemberSerializer)

    @extend_schema(responses=ParticipationSerializer(many=True), filters=False)
    @action(detail=True)
    def participation(self, request: Request, federation: str) -> Response:
        """How often each client's updates counted, and how often the strategy left them out, in pages by name."""
        return self._page(participation.counts(self.get_object()), ParticipationSerializer)

    @extend_schema(responses=RefusalSerializer(many=True), filters=False)
    @action(detail=True)
    def refusals(self, request: Request, federation: str) -> Response:
        """Refused records, the newest first, in pages."""
        return self._page(self.get_object().refusals.order_by("-offset"), RefusalSerializer)

    @extend_schema(responses=ControlRecordSerializer(many=True), filters=False)
    @action(detail=True)
    def records(self, request: Request, federation: str) -> Response:
        """The control topic's records as they came, in pages; those that count for nothing say why."""
        deployment = self.get_object()
        return self._page(ControlRecord.of(deployment).defer("value"), ControlRecordSerializer)

    @extend_schema(
        parameters=[OpenApiParameter("ordering", str, description="number; -number has the newest first.")],
        responses=VersionSerializer(many=True),
        filters=False,
    )
    @action(detail=True, ordering_fields=["number"])
    def versions(self, request: Request, federation: str) -> Response:
        """Global versions, in pages."""
        rows = get_object_or_404(self.get_queryset(), federation=federation).versions.defer("weights")
        return self._page(KnownOrdering().filter_queryset(request, rows, self), VersionSerializer)

    @extend_schema(responses=VersionDetailSerializer)
    @action(detail=True, url_path=r"versions/(?P<number>[0-9]{1,9})", url_name="version")
    def version(self, request: Request, federation: str, number: str) -> Response:
        """One version with the manifest of its weights."""
        found = get_object_or_404(self.get_object().versions, number=int(number))
        return Response(VersionDetailSerializer(found).data)
