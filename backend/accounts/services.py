"""Changes of users that could lock the acting admin out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import status
from rest_framework.serializers import BaseSerializer

from backend.accounts.models import User
from backend.config.problems import Problem


def change_user(serializer: BaseSerializer[User], actor: User | AnonymousUser) -> User:
    """Save a checked change; raises Problem where it would take the actor's own admin role away."""
    data: dict[str, Any] = serializer.validated_data
    if serializer.instance == actor and (data.get("role", "admin") != "admin" or data.get("is_active") is False):
        raise Problem(status.HTTP_409_CONFLICT, "You cannot take your own admin role away.", field="role")
    return serializer.save()


def delete_user(user: User, actor: User | AnonymousUser) -> None:
    """Delete a user with their tokens; raises Problem where it is the actor."""
    if user == actor:
        raise Problem(status.HTTP_409_CONFLICT, "You cannot delete yourself.")
    user.delete()
