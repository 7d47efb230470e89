"""`/api/datasources/`, `/api/injections/`, `/api/uploads/` and `/api/topics/`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backend.accounts.permissions import ActPermission
from backend.accounts.roles import user_of
from backend.rest.problems import Problem
from backend.rest.query import OFFSET_DIGITS, number_of
from backend.streams import announcing, injections, topics, uploads
from backend.streams.decoding import as_json
from backend.streams.models import DataSource, Injection, Upload
from backend.streams.options import OptionsSerializer
from backend.streams.serializers import (
    AnnouncedSerializer,
    AnnouncementSerializer,
    DataSourceSerializer,
    InjectionSerializer,
    MessageSerializer,
    TopicDetailSerializer,
    TopicSerializer,
    UploadCreateSerializer,
    UploadSerializer,
)
from mainstem.protocol.topics import federation_of


class DataSourceViewSet(viewsets.ReadOnlyModelViewSet[DataSource]):
    """The streams that sites have announced, the newest first, refused announcements included."""

    queryset = DataSource.objects.all()
    serializer_class = DataSourceSerializer
    filterset_fields = ("input_format", "incremental", "topic")
    ordering_fields = ("id", "timestamp_ms", "total_msg")

    @extend_schema(request=AnnouncementSerializer, responses={201: AnnouncedSerializer})
    def create(self, request: Request) -> Response:
        """Announce a stream, as an injection script does at its end. A topic of samples that is missing is made."""
        form = AnnouncementSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        announced = announcing.announce(form.validated_data)
        return Response(AnnouncedSerializer(announced).data, status.HTTP_201_CREATED)


class InjectionViewSet(
    mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Injection]
):
    """Sample data to inject: real digits, divided among clients. The launcher takes them within a second."""

    queryset = Injection.objects.select_related("created_by")
    serializer_class = InjectionSerializer
    filterset_fields = ("state",)
    ordering_fields = ("id",)

    def perform_create(self, serializer: BaseSerializer[Injection]) -> None:
        """Remember who asked."""
        injections.ask(serializer, user_of(self.request))


class UploadViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[Upload]
):
    """Files of samples: sent, looked at with the options that they need, then injected into a stream."""

    permission_classes = (ActPermission,)
    queryset = Upload.objects.select_related("created_by")
    serializer_class = UploadSerializer
    ordering_fields = ("id",)

    @extend_schema(request={"multipart/form-data": UploadCreateSerializer}, responses={201: UploadSerializer})
    def create(self, request: Request) -> Response:
        """Keep the files for a day, and look at them: `found` is what the model will see, `problem` why it will not."""
        form = UploadCreateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        options = {name: value for name, value in form.validated_data.items() if name != "file"}
        upload = uploads.store(form.validated_data["file"], user_of(request))
        return Response(UploadSerializer(uploads.look(upload, options)).data, status.HTTP_201_CREATED)

    def perform_destroy(self, instance: Upload) -> None:
        """Forget the files."""
        uploads.delete(instance)

    @extend_schema(request=OptionsSerializer, responses=UploadSerializer)
    @action(detail=True, methods=["post"])
    def look(self, request: Request, pk: str) -> Response:
        """Look at the files again, with other options."""
        return Response(UploadSerializer(uploads.look(self.get_object(), self._options(request))).data)

    @extend_schema(request=OptionsSerializer, responses={201: InjectionSerializer})
    @action(detail=True, methods=["post"])
    def inject(self, request: Request, pk: str) -> Response:
        """Inject the files, with these options where some are given. The launcher takes them within a second."""
        upload = self.get_object()
        if request.data:
            uploads.look(upload, self._options(request))
        return Response(InjectionSerializer(uploads.inject(upload, user_of(request))).data, status.HTTP_201_CREATED)

    @staticmethod
    def _options(request: Request) -> dict[str, Any]:
        form = OptionsSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        found: dict[str, Any] = form.validated_data
        return found


AT = OpenApiParameter("at", str, description="data: the Kafka of the data streams, where it is another.")


class TopicViewSet(viewsets.ViewSet):
    """Kafka's topics: whose they are, who reads them, their messages decoded. 503 while Kafka is away."""

    lookup_url_kwarg = "name"
    lookup_value_regex = r"[A-Za-z0-9._-]{1,249}"

    @extend_schema(parameters=[AT], responses=TopicSerializer(many=True))
    def list(self, request: Request) -> Response:
        """All topics but Kafka's own."""
        found = topics.overview(self._where())
        reasons = topics.kept_because([one.name for one in found])
        return Response([asdict(one) | _told(one.name, reasons[one.name]) for one in found])

    @extend_schema(parameters=[AT], responses=TopicDetailSerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        """One topic with its partitions and the consumers' lag."""
        found = topics.inspection(self._where(), name)
        if found is None:
            raise Problem(status.HTTP_404_NOT_FOUND, f"There is no topic {name}.")
        return Response(asdict(found) | _told(name, topics.kept_because([name])[name]))

    @extend_schema(
        parameters=[
            AT,
            OpenApiParameter("partition", int, description="0"),
            OpenApiParameter("from", int, description="The first offset; without it, the newest are shown."),
        ],
        responses=MessageSerializer(many=True),
    )
    @action(detail=True)
    def messages(self, request: Request, name: str) -> Response:
        """At most 20 messages, decoded with the protocol's schema where they are of it."""
        partition, start = self._number("partition") or 0, self._number("from")
        where = self._where()
        found = topics.inspection(where, name)
        part = next((one for one in found.partitions if one.number == partition), None) if found else None
        if part is None:
            raise Problem(status.HTTP_404_NOT_FOUND, f"There is no partition {partition} of a topic {name}.")
        newest = max(part.first, part.end - topics.AT_ONCE)
        begin = newest if start is None else min(max(part.first, start), part.end)
        return Response([as_json(message) for message in topics.messages(where, name, partition, begin, part.end)])

    @extend_schema(
        parameters=[AT, OpenApiParameter("confirm", str, required=True, description="The topic's name, to be sure.")],
        responses={204: None},
    )
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a topic of a federation that is over."""
        topics.delete(self._where(), name, request.query_params.get("confirm", ""))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _where(self) -> topics.KafkaCluster:
        return topics.cluster(self.request.query_params.get("at", ""))

    def _number(self, name: str) -> int | None:
        asked = self.request.query_params.get(name)
        number = number_of(asked, OFFSET_DIGITS)
        if asked is not None and number is None:
            raise Problem(status.HTTP_400_BAD_REQUEST, f"{name} must be a whole number.", field=name)
        return number


def _told(name: str, reason: str) -> dict[str, Any]:
    return {"purpose": topics.purpose(name), "federation": federation_of(name), "kept_because": reason}
