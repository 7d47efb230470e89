"""Tokens, one's own account, and the users (admins only)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from backend.accounts import login, services
from backend.accounts.models import ApiToken, User
from backend.accounts.permissions import AdminPermission, AnyRolePermission
from backend.accounts.roles import role_of
from backend.accounts.serializers import LoginSerializer, NewTokenSerializer, TokenSerializer, UserSerializer
from backend.config.problems import Problem


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
        _, key = ApiToken.issue(user, form.validated_data["name"])
        answer = {"token": key, "username": user.username, "role": role_of(user)}
        return Response(NewTokenSerializer(answer).data, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """End the token of this request."""
        if not isinstance(request.auth, ApiToken):
            raise Problem(status.HTTP_400_BAD_REQUEST, "This request carries no token that could be ended.")
        request.auth.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


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

    permission_classes = [AnyRolePermission]
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.none()

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Only one's own."""
        user = self.request.user
        return ApiToken.objects.filter(user=user) if isinstance(user, User) else ApiToken.objects.none()


class UserViewSet(viewsets.ModelViewSet[User]):
    """Users and their roles; for admins."""

    permission_classes = [AdminPermission]
    serializer_class = UserSerializer
    queryset = User.objects.order_by("username").prefetch_related("groups")
    filterset_fields = ["username", "is_active"]

    def perform_update(self, serializer: BaseSerializer[User]) -> None:
        """Refuse what would lock the acting admin out."""
        assert isinstance(self.request.user, User)
        services.change_user(serializer, self.request.user)

    def perform_destroy(self, instance: User) -> None:
        """Refuse to delete oneself."""
        assert isinstance(self.request.user, User)
        services.delete_user(instance, self.request.user)
