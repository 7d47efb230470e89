"""The roles, what each may do, and who holds which."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from django.contrib.auth.models import AnonymousUser, Group
from django.http import HttpRequest
from rest_framework.request import Request

from backend.accounts.models import Scope, User


class Role(StrEnum):
    """A role is a Django group of that name. `logger` is for the control loggers' token only."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    LOGGER = "logger"


PEOPLE = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""The roles of people, the mightiest first."""


REACH: Final[dict[str, Role]] = {Scope.READ: Role.VIEWER, Scope.OPERATE: Role.OPERATOR, Scope.ADMIN: Role.ADMIN}
"""The mightiest role of a person that a token of that scope may act in."""


def role_of(user: User | AnonymousUser) -> Role | None:
    """The user's mightiest role, as far as the token reaches by which they ask; None for who has none.

    A superuser is an admin. A logger's token has the whole role or nothing of it.
    """
    if not user.is_authenticated or not user.is_active:
        return None
    names = {Role.ADMIN} if user.is_superuser else set(user.groups.values_list("name", flat=True))
    held = next((role for role in Role if role in names), None)
    if held not in PEOPLE or user.scope == Scope.ADMIN:
        return held if user.scope == Scope.ADMIN else None
    return max(held, REACH[user.scope], key=PEOPLE.index)


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
