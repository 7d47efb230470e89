"""Sites over REST. One is made by `enrol/`, with a token of `sites/tokens/`; nothing deletes one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from backend.accounts.permissions import ActPermission
from backend.accounts.roles import user_of
from backend.sites import services
from backend.sites.models import Enrolment, Site
from backend.sites.serializers import (
    EnrolledSerializer,
    EnrolmentSerializer,
    EnrolSerializer,
    NewEnrolmentSerializer,
    RevocationSerializer,
    SiteRowSerializer,
    SiteSerializer,
)


@extend_schema_view(retrieve=extend_schema(responses=SiteSerializer))
class SiteViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.UpdateModelMixin, viewsets.GenericViewSet[Site]
):
    """Sites: who may take part in runs that admit enrolled ones alone."""

    queryset = Site.objects.prefetch_related("owners")
    http_method_names = ["get", "patch", "post", "head", "options"]
    filterset_fields = {"name": ["exact", "icontains"], "key": ["exact"], "own": ["exact"]}
    ordering_fields = ["name", "created_at", "valid_until"]

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """The long form for one site."""
        return SiteRowSerializer if self.action == "list" else SiteSerializer

    def perform_update(self, serializer: BaseSerializer[Site]) -> None:
        """Owners, end, allow list."""
        services.change(serializer)

    @extend_schema(request=RevocationSerializer, responses=SiteSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """For good. Runs that admit it are asked to put it out: the answer names them."""
        site = self.get_object()
        form = RevocationSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        services.revoke(site, user_of(request), form.validated_data["why"])
        site.refresh_from_db()
        return Response(SiteSerializer(site).data)


class EnrolmentViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[Enrolment]):
    """One-time tokens by which sites are enrolled, without their texts."""

    permission_classes = [ActPermission]
    queryset = Enrolment.objects.select_related("owner")
    serializer_class = EnrolmentSerializer
    filterset_fields = {"name": ["exact"]}

    @extend_schema(request=EnrolmentSerializer, responses={201: NewEnrolmentSerializer})
    def create(self, request: Request) -> Response:
        """Make one; its text is in this answer and nowhere else."""
        form = EnrolmentSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        made, text = services.invite(form.validated_data, user_of(request))
        return Response({"token": text, **EnrolmentSerializer(made).data}, status.HTTP_201_CREATED)

    def perform_destroy(self, instance: Enrolment) -> None:
        """Withdraw it, unless it was used."""
        services.withdraw(instance)


class EnrolView(APIView):
    """`POST` by a site that has a token: no login, the token is the right."""

    serializer_class = EnrolSerializer
    permission_classes = (AllowAny,)
    authentication_classes = ()

    @extend_schema(request=EnrolSerializer, responses={201: EnrolledSerializer, 200: EnrolledSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        """Enrol the site; again with the same key: the same answer."""
        form = EnrolSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        site, fresh = services.enrol(request._request, form.validated_data)
        shown = {"name": site.name, "key": site.key, "valid_until": site.valid_until, "platform": settings.PLATFORM_KEY}
        return Response(EnrolledSerializer(shown).data, status.HTTP_201_CREATED if fresh else status.HTTP_200_OK)
