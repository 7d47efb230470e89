"""`/api/jobs/`: training Jobs, their logs, and stopping or retrying one; and which federations a stream fits."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from backend.launchers import services
from backend.launchers.jobs import matching
from backend.launchers.models import Job
from backend.launchers.options import log_reader
from backend.launchers.serializers import FitSerializer, JobSerializer
from backend.rest.problems import Problem
from backend.rest.serializers import expect_nothing
from backend.streams.models import DataSource

LONGEST_TAIL = 4 << 20


def tail_of(request: Request) -> int:
    """How many bytes of a log's end are asked for; raises Problem."""
    tail = request.query_params.get("tail", "65536")
    if not tail.isascii() or not tail.isdigit() or not 0 < int(tail[:20]) <= LONGEST_TAIL:
        raise Problem(400, f"tail must be a number of bytes from 1 to {LONGEST_TAIL}.", field="tail")
    return int(tail)


class JobViewSet(viewsets.ReadOnlyModelViewSet[Job]):
    """Training Jobs, the newest first: one for each stream of each federation."""

    queryset = Job.objects.select_related("deployment", "source")
    serializer_class = JobSerializer
    lookup_field = "name"
    lookup_value_regex = "[a-z0-9-]+"
    filterset_fields = ("federation", "state")
    ordering_fields = ("id", "created_at", "started_at", "ended_at")

    @extend_schema(
        parameters=[OpenApiParameter("tail", int, description="How many bytes of its end (65536).")],
        responses={(200, "text/plain"): OpenApiTypes.STR},
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def log(self, request: Request, name: str) -> HttpResponse:
        """The end of the Job's output, over all its attempts."""
        job = self.get_object()
        return HttpResponse(log_reader().log(job.name, tail_of(request)), content_type="text/plain; charset=utf-8")

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, name: str) -> Response:
        """End the Job; it stays ended until somebody retries it."""
        expect_nothing(request)
        job = self.get_object()
        services.stop(job)
        return self._answer(job)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, name: str) -> Response:
        """Start a Job that has failed or was stopped once more, with its failures forgotten."""
        expect_nothing(request)
        job = self.get_object()
        services.retry(job)
        return self._answer(job)

    def _answer(self, job: Job) -> Response:
        job.refresh_from_db()
        return Response(self.get_serializer(job).data, status.HTTP_202_ACCEPTED)


class FitViewSet(viewsets.GenericViewSet[DataSource]):
    """What a stream fits."""

    queryset = DataSource.objects.all()
    serializer_class = FitSerializer
    pagination_class = None

    @extend_schema(responses=FitSerializer(many=True), filters=False)
    def list(self, request: Request, pk: int) -> Response:
        """Each open federation with whether this stream fits it, why not, and the Job that trains on it there."""
        return Response(self.get_serializer(matching.explain(self.get_object()), many=True).data)
