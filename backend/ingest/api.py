"""`/api/ingest/`: what the two control loggers post."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backend.accounts.permissions import LoggerPermission
from backend.deployments.projection import projection
from backend.rest.envelope import EnvelopeSerializer, TakenSerializer
from backend.streams import intake
from mainstem.protocol.topics import DATA_CONTROL


class IngestControlView(APIView):
    """Takes records of the control topics from the control logger; each counts once however often it comes."""

    permission_classes = (LoggerPermission,)

    @extend_schema(request=EnvelopeSerializer, responses=TakenSerializer)
    def post(self, request: Request) -> Response:
        """Store a batch and fold it into the runs' tables."""
        form = EnvelopeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        taken = projection.take(form.validated_data["cluster_id"], form.entries())
        answer = {"accepted": taken.accepted, "duplicates": taken.duplicates, "refused": taken.refused}
        return Response(TakenSerializer(answer).data)


class IngestDataView(APIView):
    """Takes records of FEDERATED_DATA_CONTROL_TOPIC from the data logger; each counts once however often it comes."""

    permission_classes = (LoggerPermission,)

    @extend_schema(request=EnvelopeSerializer, responses=TakenSerializer)
    def post(self, request: Request) -> Response:
        """Store a batch. The launcher asks Kafka about its streams and starts the Jobs that they make possible."""
        form = EnvelopeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._take(form))

    @transaction.atomic
    def _take(self, form: EnvelopeSerializer) -> dict[str, Any]:
        accepted = 0
        refused: list[dict[str, Any]] = []
        duplicates = 0
        for topic_id, record in form.entries():
            reason = f"the record is of topic {record.topic}; {DATA_CONTROL} is expected"
            if record.topic == DATA_CONTROL:
                source, new = intake.take(form.validated_data["cluster_id"], topic_id, record)
                duplicates += not new
                if not new or not source.problem:
                    accepted += new
                    continue
                reason = source.problem
            refused.append(
                {"topic": record.topic, "partition": record.partition, "offset": record.offset, "reason": reason}
            )
        return {"accepted": accepted, "duplicates": duplicates, "refused": refused}
