"""Models and configurations over REST."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backend.accounts.roles import user_of
from backend.audit.recording import note
from backend.catalog import exports, services
from backend.catalog.blueprints import TEMPLATES
from backend.catalog.forests import FRAMEWORK
from backend.catalog.models import Configuration, Model
from backend.catalog.serializers import (
    ConfigurationSerializer,
    DuplicateSerializer,
    ModelCreateSerializer,
    ModelDetailSerializer,
    ModelSerializer,
)
from backend.rest import downloads
from backend.rest.problems import Problem


class ModelViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Model],
):
    """Models: what is trained. A model's content never changes; name and description may."""

    queryset = Model.objects.select_related("created_by", "weights").prefetch_related("configurations")
    filterset_fields = {"name": ["exact", "icontains"], "kind": ["exact"], "framework": ["exact"]}
    ordering_fields = ["name", "created_at", "parameters"]
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> QuerySet[Model]:
        """In lists without what is long and not shown there."""
        found = super().get_queryset()
        return found.defer("architecture", "layers", "tensors", "origin") if self.action == "list" else found

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """The long form for one model, the short one in lists."""
        return ModelSerializer if self.action == "list" else ModelDetailSerializer

    @extend_schema(
        request={"application/json": ModelCreateSerializer, "multipart/form-data": ModelCreateSerializer},
        responses={201: ModelDetailSerializer},
    )
    def create(self, request: Request) -> Response:
        """Build a model from a template, Keras JSON, a `.keras` file, source, or a forest's parameters."""
        form = ModelCreateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        model = services.build_model(form.validated_data, user_of(request))
        return Response(ModelDetailSerializer(model).data, status.HTTP_201_CREATED)

    def perform_update(self, serializer: BaseSerializer[Model]) -> None:
        """Name and description."""
        services.change_model(serializer)

    def perform_destroy(self, instance: Model) -> None:
        """Only where nothing needs it."""
        services.delete_model(instance)

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=False, pagination_class=None)
    def templates(self, request: Request) -> Response:
        """The templates and their parameters."""
        return Response(TEMPLATES)

    @extend_schema(responses={(200, downloads.OCTETS): OpenApiTypes.BINARY})
    def file(self, request: Request, pk: int) -> HttpResponseBase:
        """The model with its initial weights as a `.keras` file."""
        model = self.get_object()
        if model.framework == FRAMEWORK:
            raise Problem(
                status.HTTP_409_CONFLICT,
                "A forest has no .keras file: its parameters are its architecture, and its versions have an XGBoost "
                "JSON, at results/{federation}/versions/{number}/model.json.",
            )
        etag = exports.key_of(model.architecture, model.weights.sha256)
        if (unchanged := downloads.not_modified(request._request, etag)) is not None:
            return unchanged
        weights = model.weights
        path = exports.keras_file(
            model.architecture, weights.sha256, lambda: exports.cached(f"{weights.sha256}.npz", weights.write)
        )
        note("model.download", model)
        return downloads.send(path, f"{model.name}.keras", etag)


class ConfigurationViewSet(viewsets.ModelViewSet[Configuration]):
    """Configurations: which models are trained on the same data."""

    queryset = Configuration.objects.select_related("created_by").prefetch_related("models")
    serializer_class = ConfigurationSerializer
    filterset_fields = {"name": ["exact", "icontains"], "models": ["exact"]}
    ordering_fields = ["name", "created_at"]

    def perform_create(self, serializer: BaseSerializer[Configuration]) -> None:
        """Remember who made it."""
        services.save_configuration(serializer, user_of(self.request))

    def perform_update(self, serializer: BaseSerializer[Configuration]) -> None:
        """Name, description and models."""
        services.save_configuration(serializer, user_of(self.request))

    def perform_destroy(self, instance: Configuration) -> None:
        """Models and federations stay."""
        services.delete_configuration(instance)

    @extend_schema(request=DuplicateSerializer, responses={201: ConfigurationSerializer})
    @action(detail=True, methods=["post"])
    def duplicate(self, request: Request, pk: str) -> Response:
        """A copy under another name."""
        form = DuplicateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        copy = services.duplicate(self.get_object(), form.validated_data.get("name"), user_of(request))
        return Response(ConfigurationSerializer(copy).data, status.HTTP_201_CREATED)
