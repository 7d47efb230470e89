"""The roles, what each may do, and who holds which."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group
from django.http import HttpRequest
from rest_framework.request import Request

from backend.accounts.models import User


class Role(StrEnum):
    """A role is a Django group of that name. `logger` is for the control loggers' token only."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    LOGGER = "logger"


PEOPLE = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""The roles of people, the mightiest first."""


def role_of(user: User | AnonymousUser) -> Role | None:
    """The user's mightiest role; None for who has none. A superuser is an admin."""
    if not user.is_authenticated or not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMIN
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in Role if role in names), None)


def give(user: User, role: str) -> None:
    """The user has this role from now on, and no other; a database that lost the role's group gets it back."""
    user.groups.set([Group.objects.get_or_create(name=role)[0]])


def at_least(user: User | AnonymousUser, role: Role) -> bool:
    """Whether a person's role reaches `role` in the order admin, operator, viewer."""
    held = role_of(user)
    return held in PEOPLE and PEOPLE.index(held) <= PEOPLE.index(role)


def user_of(request: HttpRequest | Request) -> User:
    """Who asks, where only those who signed in get so far."""
    assert isinstance(request.user, User)
    return request.user


def context(request: HttpRequest) -> dict[str, Any]:
    """What templates know of the user: `role`, and whether they may act or delete."""
    user = getattr(request, "user", AnonymousUser())
    role = role_of(user)
    return {"role": role, "may_act": role in (Role.ADMIN, Role.OPERATOR), "may_delete": role is Role.ADMIN}
