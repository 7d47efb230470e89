"""Deployments over REST. `{id}` is the federation id, or the row's number (at most 7 digits)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from backend.accounts.roles import user_of
from backend.deployments import services, witnesses
from backend.deployments.models import Deployment
from backend.rest.serializers import expect_nothing
from backend.runs.api.serializers import (
    AdmissionChangeSerializer,
    DeadlineSerializer,
    DeploymentCreateSerializer,
    DeploymentDetailSerializer,
    DeploymentSerializer,
    DestroysSerializer,
    RemovalSerializer,
    RollbackSerializer,
)
from backend.runs.api.witnesses import (
    AcceptSerializer,
    EndSerializer,
    WitnessPermission,
    WitnessSerializer,
    answer,
)
from backend.runs.reasons.troubles import with_troubles
from backend.sites.admission import renewed, resuming
from mainstem.protocol.witness import Witness

ID = r"[a-z0-9]{8}|[0-9]{1,7}"


def find(deployments: QuerySet[Deployment], name: str) -> Deployment:
    """The deployment of that federation id or number; raises Http404."""
    key = {"federation": name} if len(name) == 8 else {"pk": int(name)}
    return get_object_or_404(deployments, **key)


ONE_OR_MORE = PolymorphicProxySerializer(
    component_name="CreatedDeployments",
    serializers=[DeploymentDetailSerializer, DeploymentDetailSerializer(many=True)],
    resource_type_field_name=None,
    many=False,
)


@extend_schema_view(retrieve=extend_schema(responses=DeploymentDetailSerializer))
class DeploymentViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[Deployment]
):
    """Deployments: what is training. Creating and acting answer at once; Kafka follows within a second."""

    queryset = Deployment.objects.select_related("model", "created_by").defer("architecture")
    filterset_fields = {
        "state": ["exact", "in"],
        "name": ["exact", "icontains"],
        "configuration": ["exact"],
        "model": ["exact"],
        "parent": ["exact"],
        "external": ["exact"],
        "federation": ["exact"],
    }
    ordering_fields = ["name", "created_at", "state", "round"]
    lookup_value_regex = ID
    lookup_url_kwarg = "id"

    def get_queryset(self) -> QuerySet[Deployment]:
        """With what stands in their way, where many are listed."""
        rows = super().get_queryset()
        return with_troubles(rows) if self.action == "list" else rows

    def get_object(self) -> Deployment:
        """By federation id or number."""
        return find(self.get_queryset(), self.kwargs["id"])

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """The long form for one deployment."""
        return DeploymentSerializer if self.action == "list" else DeploymentDetailSerializer

    @extend_schema(request=DeploymentCreateSerializer, responses={201: ONE_OR_MORE})
    def create(self, request: Request) -> Response:
        """Open a federation of the configuration's model; of several models one each, answered as a list."""
        form = DeploymentCreateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        made = services.create(form.validated_data, user_of(request))
        several = len(made) > 1
        shown = DeploymentDetailSerializer(made if several else made[0], many=several)
        return Response(shown.data, status.HTTP_201_CREATED)

    @extend_schema(
        parameters=[OpenApiParameter("confirm", str, required=True, description="The federation id, to be sure.")],
        responses={202: DeploymentDetailSerializer},
    )
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete the deployment with its topics and results; `destroys/` says beforehand what goes."""
        deployment = self.get_object()
        services.delete(deployment, request.query_params.get("confirm", ""))
        return self._shown(deployment)

    @extend_schema(responses=DestroysSerializer)
    @action(detail=True)
    def destroys(self, request: Request, id: str) -> Response:
        """What deleting this destroys."""
        return Response(DestroysSerializer(services.destroys(self.get_object())).data)

    @extend_schema(request=None, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, id: str) -> Response:
        """Pause the run; what the open round has received is kept."""
        expect_nothing(request)
        deployment = self.get_object()
        services.stop(deployment, user_of(request))
        return self._shown(deployment)

    @extend_schema(request=None, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, id: str) -> Response:
        """Go on from the last commit."""
        expect_nothing(request)
        deployment = self.get_object()
        services.resume(deployment, user_of(request), resuming(deployment))
        return self._shown(deployment)

    @extend_schema(request=RollbackSerializer, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, id: str) -> Response:
        """Make an earlier version the run's model again and go on from there, also after the run's end."""
        form = RollbackSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deployment = self.get_object()
        services.rollback(deployment, form.validated_data["version"], user_of(request))
        return self._shown(deployment)

    @extend_schema(request=RemovalSerializer, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, id: str) -> Response:
        """Put a client out: no round waits for it, and its process is refused; a new one may join."""
        form = RemovalSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deployment = self.get_object()
        services.remove(deployment, form.validated_data["client"], user_of(request))
        return self._shown(deployment)

    @extend_schema(request=DeadlineSerializer, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def deadline(self, request: Request, id: str) -> Response:
        """Give the rounds another deadline."""
        form = DeadlineSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deployment = self.get_object()
        services.change_deadline(deployment, form.validated_data["round_deadline"], user_of(request))
        return self._shown(deployment)

    @extend_schema(request=AdmissionChangeSerializer, responses={202: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def admission(self, request: Request, id: str) -> Response:
        """Admit these sites from now on, and no others."""
        form = AdmissionChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deployment = self.get_object()
        services.admit(deployment, form.validated_data["admission"], user_of(request))
        return self._shown(deployment)

    @extend_schema(methods=["get"], responses=WitnessSerializer)
    @extend_schema(methods=["post"], request=EndSerializer, responses={202: WitnessSerializer})
    @action(detail=True, methods=["get", "post"], permission_classes=[WitnessPermission])
    def witness(self, request: Request, id: str) -> Response:
        """What was witnessed of the log's end; POST a witness that was kept elsewhere, and the log is compared."""
        deployment = self.get_object()
        if request.method != "POST":
            return answer(deployment)
        form = EndSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        witnesses.bring(deployment.pk, Witness(**form.validated_data))
        return answer(deployment, status.HTTP_202_ACCEPTED)

    @extend_schema(request=AcceptSerializer, responses=WitnessSerializer)
    @action(detail=True, methods=["post"], url_path="witness/accept", permission_classes=[WitnessPermission])
    def accept(self, request: Request, id: str) -> Response:
        """Go on from what the log holds, though more was witnessed; it is recorded who said so, and why."""
        form = AcceptSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deployment = self.get_object()
        witnesses.accept(deployment.pk, form.validated_data["hash"], form.validated_data["why"], user_of(request))
        return answer(deployment)

    @extend_schema(request=None, responses={201: DeploymentDetailSerializer})
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, id: str) -> Response:
        """Open a new federation with the same model and parameters, which names this one as its parent."""
        expect_nothing(request)
        deployment = self.get_object()
        made = services.restart(deployment, user_of(request), renewed(deployment.rules))
        return Response(DeploymentDetailSerializer(made).data, status.HTTP_201_CREATED)

    @staticmethod
    def _shown(deployment: Deployment) -> Response:
        deployment.refresh_from_db()
        return Response(DeploymentDetailSerializer(deployment).data, status.HTTP_202_ACCEPTED)
