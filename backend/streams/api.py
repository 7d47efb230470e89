"""`/api/datasources/` and the data logger's `/api/ingest/data/`."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts.permissions import LoggerPermission
from backend.launchers import matching
from backend.streams import intake
from backend.streams.envelope import EnvelopeSerializer, TakenSerializer
from backend.streams.models import DataSource
from backend.streams.serializers import DataSourceSerializer, FitSerializer
from mainstem.topics import DATA_CONTROL


class DataSourceViewSet(viewsets.ReadOnlyModelViewSet[DataSource]):
    """The streams that sites have announced, the newest first, refused announcements included."""

    queryset = DataSource.objects.all()
    serializer_class = DataSourceSerializer
    filterset_fields = ("input_format", "incremental", "topic")
    ordering_fields = ("id", "timestamp_ms", "total_msg")

    @extend_schema(responses=FitSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def fits(self, request: Request, pk: str) -> Response:
        """Each open federation with whether this stream fits it, why not, and the Job that trains on it there."""
        return Response(FitSerializer(matching.explain(self.get_object()), many=True).data)


class IngestDataView(APIView):
    """Takes records of FEDERATED_DATA_CONTROL_TOPIC from the data logger; each counts once however often it comes."""

    permission_classes = (LoggerPermission,)

    @extend_schema(request=EnvelopeSerializer, responses=TakenSerializer)
    def post(self, request: Request) -> Response:
        """Store a batch and start the Jobs that its streams make possible."""
        form = EnvelopeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        answer, fresh = self._take(form)
        matching.match(sources=fresh)
        return Response(answer)

    @transaction.atomic
    def _take(self, form: EnvelopeSerializer) -> tuple[dict[str, Any], list[DataSource]]:
        fresh: list[DataSource] = []
        refused: list[dict[str, Any]] = []
        duplicates = 0
        for topic_id, record in form.entries():
            reason = f"the record is of topic {record.topic}; {DATA_CONTROL} is expected"
            if record.topic == DATA_CONTROL:
                source, new = intake.take(form.validated_data["cluster_id"], topic_id, record)
                duplicates += not new
                if not new or not source.problem:
                    if new:
                        fresh.append(source)
                    continue
                reason = source.problem
            refused.append(
                {"topic": record.topic, "partition": record.partition, "offset": record.offset, "reason": reason}
            )
        return {"accepted": len(fresh), "duplicates": duplicates, "refused": refused}, fresh
