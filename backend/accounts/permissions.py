"""What a role may do with a resource, by the request's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from backend.accounts.roles import Role, at_least, role_of

if TYPE_CHECKING:  # DRF's views import this module through the settings
    from rest_framework.views import APIView


class RolePermission(BasePermission):
    """Viewers read, operators create and act, admins also delete. Loggers have no place here."""

    message = "Your role does not allow this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user's role reaches what the method needs."""
        if request.method in SAFE_METHODS:
            return at_least(request.user, Role.VIEWER)
        return at_least(request.user, Role.ADMIN if request.method == "DELETE" else Role.OPERATOR)


class ActPermission(RolePermission):
    """The same where what is deleted is no more than what operators brought themselves."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user's role reaches what the method needs."""
        return at_least(request.user, Role.VIEWER if request.method in SAFE_METHODS else Role.OPERATOR)


class AdminPermission(BasePermission):
    """Admins only, whatever the method."""

    message = "Only an admin may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user is an admin."""
        return at_least(request.user, Role.ADMIN)


class LoggerPermission(BasePermission):
    """The control loggers' programs only: not even an admin writes what only the log may say."""

    message = "Only a logger's token may deliver records."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user is a logger."""
        return role_of(request.user) is Role.LOGGER


class AnyRolePermission(BasePermission):
    """Everyone who is logged in and has a person's role, whatever the method: one's own account."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user is a viewer or more."""
        return at_least(request.user, Role.VIEWER)
