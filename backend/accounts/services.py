"""Changes of users that could lock the acting admin out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils import timezone
from rest_framework import status
from rest_framework.serializers import BaseSerializer

from backend.accounts.models import ApiToken, Scope, User
from backend.audit.models import Means
from backend.audit.recording import note, recorded
from backend.rest.problems import Problem


def change_user(serializer: BaseSerializer[User], actor: User | AnonymousUser) -> User:
    """Save a checked change; raises Problem where it would take the actor's own admin role away."""
    data: dict[str, Any] = serializer.validated_data
    if serializer.instance == actor and (data.get("role", "admin") != "admin" or data.get("is_active") is False):
        raise Problem(status.HTTP_409_CONFLICT, "You cannot take your own admin role away.", field="role")
    return save_user(serializer)


def save_user(asked: BaseSerializer[User]) -> User:
    """Make the user that a checked request asks for, or change one. Of a password it is recorded that it is another."""
    if asked.instance is None:
        with recorded("user.create", detail=f"role {asked.validated_data['role']}") as act:
            made = asked.save()
            act.of(made)
        return made
    told = [f"role {value}" if name == "role" else name for name, value in sorted(asked.validated_data.items())]
    with recorded("user.change", asked.instance, ", ".join(told)):
        return asked.save()


def issue_token(
    user: User,
    asked: Mapping[str, Any],
    *,
    maker: ApiToken | None = None,
    by: Means | None = None,
) -> tuple[ApiToken, str]:
    """A new token of the user's, and the key itself; raises Problem.

    `asked` has `name`, and `scope` and `expires_at` where they are not the usual ones. One that is made by another,
    the `maker`, does not outlive it. `by` is given where the request is nobody's yet.
    """
    scope, expires = asked.get("scope", Scope.ADMIN), asked.get("expires_at")
    if expires is not None and expires <= timezone.now():
        raise Problem(status.HTTP_400_BAD_REQUEST, "This is over already: give a later time.", field="expires_at")
    if maker is not None and maker.expires_at is not None and (expires is None or expires > maker.expires_at):
        told = f"The token that asks ends at {maker.expires_at:%Y-%m-%d %H:%M} UTC: a new one must end by then."
        raise Problem(status.HTTP_400_BAD_REQUEST, told, field="expires_at")
    until = f"until {expires:%Y-%m-%d %H:%M} UTC" if expires is not None else "without an end"
    with transaction.atomic():
        token, key = ApiToken.issue(user, asked.get("name", ""), scope, expires)
        note("token.create", token.identity, detail=f"scope {scope}, {until}", who=user.username if by else None, by=by)
    return token, key


def end_token(token: ApiToken) -> None:
    """Programs that use it get 401 from now on."""
    with recorded("token.end", token.identity):
        ApiToken.objects.filter(pk=token.pk).delete()  # `token` keeps its number: it may be what the request came with


def delete_user(user: User, actor: User | AnonymousUser) -> None:
    """Delete a user with their tokens; raises Problem where it is the actor."""
    if user == actor:
        raise Problem(status.HTTP_409_CONFLICT, "You cannot delete yourself.")
    with recorded("user.delete", user):
        user.delete()
