"""Tokens, one's own account, and the users (admins only)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from backend.accounts import login, services, sessions
from backend.accounts.models import ApiToken, Scope, User, UserSession
from backend.accounts.permissions import AdminPermission, AnyRolePermission, WholeTokenPermission
from backend.accounts.roles import role_of, user_of
from backend.accounts.serializers import (
    AnyTokenSerializer,
    EndSessionsSerializer,
    LoginSerializer,
    NewTokenSerializer,
    SessionSerializer,
    TokenSerializer,
    UserSerializer,
)
from backend.audit.models import Means
from backend.rest.problems import Problem


class TokenView(APIView):
    """`POST` a name and password for a token; `DELETE` ends the token that the request carries."""

    serializer_class = LoginSerializer

    def get_permissions(self) -> list[Any]:
        """Anybody may try to log in."""
        return [AllowAny()] if self.request.method in ("POST", "OPTIONS") else [AnyRolePermission()]

    def get_authenticators(self) -> list[Any]:
        """A stale token or cookie must not keep anybody from logging in."""
        return [] if self.request is not None and self.request.method == "POST" else super().get_authenticators()

    @extend_schema(request=LoginSerializer, responses={201: NewTokenSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        """Make a token."""
        form = LoginSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            user = login.check(request._request, form.validated_data["username"], form.validated_data["password"])
        except login.TooManyFailuresError as error:
            raise Problem(status.HTTP_429_TOO_MANY_REQUESTS, str(error), wait=error.wait) from error
        if user is None:
            raise Problem(status.HTTP_400_BAD_REQUEST, "The user name or password is wrong.", field="password")
        return _shown(services.issue_token(user, form.validated_data, by=Means.PASSWORD))

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """End the token of this request."""
        if not isinstance(request.auth, ApiToken):
            raise Problem(status.HTTP_400_BAD_REQUEST, "This request carries no token that could be ended.")
        services.end_token(request.auth)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _shown(made: tuple[ApiToken, str]) -> Response:
    token, key = made
    token.user.scope = Scope(token.scope)
    answer = {"id": token.pk, "token": key, "scope": token.scope, "expires_at": token.expires_at}
    answer |= {"username": token.user.username, "role": role_of(token.user)}
    return Response(NewTokenSerializer(answer).data, status.HTTP_201_CREATED)


class AccountView(APIView):
    """Who one is here."""

    permission_classes = (AnyRolePermission,)

    @extend_schema(responses=UserSerializer)
    def get(self, request: Request) -> Response:
        """One's own account."""
        assert isinstance(request.user, User)
        return Response(UserSerializer(request.user).data)


class OwnTokenViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[ApiToken]):
    """One's own tokens, without their keys."""

    permission_classes = [WholeTokenPermission]
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()

    @extend_schema(request=TokenSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make a token; the key is in this answer and nowhere else."""
        form = TokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        maker = request.auth if isinstance(request.auth, ApiToken) else None
        return _shown(services.issue_token(user_of(request), form.validated_data, maker=maker))

    def perform_destroy(self, instance: ApiToken) -> None:
        """Programs that use it get 401 from now on."""
        services.end_token(instance)

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Only one's own."""
        user = self.request.user
        return ApiToken.objects.filter(user=user) if isinstance(user, User) else ApiToken.objects.none()


class TokenViewSet(OwnTokenViewSet):
    """Everybody's tokens; for admins."""

    permission_classes = [AdminPermission]
    serializer_class = AnyTokenSerializer
    http_method_names = ["get", "delete", "head", "options"]
    filterset_fields = {"user__username": ["exact"], "scope": ["exact"]}

    def get_queryset(self) -> QuerySet[ApiToken]:
        """All."""
        return ApiToken.objects.select_related("user")


class OwnSessionViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[UserSession]):
    """Where one is logged in."""

    permission_classes = [WholeTokenPermission]
    serializer_class = SessionSerializer
    queryset = UserSession.objects.none()

    def get_queryset(self) -> QuerySet[UserSession]:
        """One's own that live."""
        user = self.request.user
        return sessions.living().filter(user=user) if isinstance(user, User) else UserSession.objects.none()

    def perform_destroy(self, instance: UserSession) -> None:
        """Its browser must log in again."""
        sessions.end(instance, self.request._request.session.session_key)


class SessionViewSet(OwnSessionViewSet):
    """Where everybody is logged in; for admins."""

    permission_classes = [AdminPermission]
    filterset_fields = {"user__username": ["exact"]}

    def get_queryset(self) -> QuerySet[UserSession]:
        """All that live."""
        return sessions.living()

    @extend_schema(request=EndSessionsSerializer, responses={204: None})
    @action(detail=False, methods=["post"], url_path="end", url_name="end")
    def end(self, request: Request) -> Response:
        """End everybody's sessions, or one user's; but the one that asks."""
        form = EndSessionsSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        sessions.end_all(form.validated_data["user"], but=request._request.session.session_key or "")
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserViewSet(viewsets.ModelViewSet[User]):
    """Users and their roles; for admins."""

    permission_classes = [AdminPermission]
    serializer_class = UserSerializer
    queryset = User.objects.order_by("username").prefetch_related("groups")
    filterset_fields = ["username", "is_active"]

    def perform_create(self, serializer: BaseSerializer[User]) -> None:
        """A user with a role."""
        services.save_user(serializer)

    def perform_update(self, serializer: BaseSerializer[User]) -> None:
        """Refuse what would lock the acting admin out."""
        assert isinstance(self.request.user, User)
        services.change_user(serializer, self.request.user)

    def perform_destroy(self, instance: User) -> None:
        """Refuse to delete oneself."""
        assert isinstance(self.request.user, User)
        services.delete_user(instance, self.request.user)
