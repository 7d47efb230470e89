"""What a role may do with a resource, by the request's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from backend.accounts.models import Scope
from backend.accounts.roles import Role, at_least, role_of, user_of

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


class WholeTokenPermission(BasePermission):
    """One's own logins: who has any role reads them; to change them a token needs its user's whole reach."""

    message = "This token's scope does not allow this: use one of scope admin, or the pages."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether it is a session, or a token of scope admin, of a viewer or more."""
        if not at_least(request.user, Role.VIEWER):
            return False
        return request.method in SAFE_METHODS or user_of(request).scope == Scope.ADMIN


class AnyRolePermission(BasePermission):
    """Everyone who is logged in and has a person's role, whatever the method: one's own account."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the user is a viewer or more."""
        return at_least(request.user, Role.VIEWER)
