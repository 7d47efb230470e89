"""Sessions of people: where each is logged in, and ending them."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from rest_framework import status

from backend.accounts.models import User, UserSession
from backend.accounts.roles import Role, at_least
from backend.audit.recording import recorded
from backend.rest.problems import Problem
from backend.site.speakers import address_of

CONFIRMED, SEEN = "confirmed_at", "seen_at"
"""Of a session: when its password was given last, and when it was last noted that it asks. Seconds since the epoch."""
SEEN_EVERY: Final = 300.0


def begin(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Somebody logged in, or has a new key after a new password; what remains of ended sessions is forgotten."""
    request.session[CONFIRMED] = request.session[SEEN] = time.time()
    key, told = request.session.session_key, request.META.get("HTTP_USER_AGENT", "")
    UserSession.objects.filter(user=user).exclude(key__in=_alive()).delete()
    assert key is not None  # Django gives each login a key of its own
    now = {"user": user, "seen_at": timezone.now(), "address": address_of(request)[:64], "agent": told[:200]}
    UserSession.objects.update_or_create(key=key, defaults=now)


class SessionsMiddleware:
    """Notes now and then that a session is still in use."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Once in `SEEN_EVERY`: a write for every request would be too much."""
        seen = request.session.get(SEEN)
        if seen is not None and time.time() - seen > SEEN_EVERY:
            request.session[SEEN] = time.time()
            UserSession.objects.filter(key=request.session.session_key).update(
                seen_at=timezone.now(), address=address_of(request)[:64]
            )
        return self._next(request)


def _alive() -> QuerySet[Session, str]:
    return Session.objects.filter(expire_date__gt=timezone.now()).values_list("session_key", flat=True)


def living() -> QuerySet[UserSession]:
    """Sessions that have neither ended nor expired."""
    return UserSession.objects.filter(key__in=_alive()).select_related("user")


def end(found: UserSession, asking: str | None = None) -> None:
    """Its browser must log in again; its live pages end within seconds. Raises Problem where it is the one asking."""
    if found.key == asking:
        raise Problem(status.HTTP_409_CONFLICT, "This is the session that asks: log out instead.")
    with recorded("session.close", (str(found.pk), str(found))):
        Session.objects.filter(session_key=found.key).delete()
        found.delete()


def end_all(username: str = "", *, but: str = "") -> int:
    """End everybody's sessions, or one user's, but the one of that key; how many."""
    rows = list(living().exclude(key=but).filter(**({"user__username": username} if username else {})))
    for row in rows:
        end(row)
    return len(rows)


def forget(user: User) -> None:
    """A new password ends a user's sessions: Django refuses them, and they are listed no more."""
    user.sessions.all().delete()


def may_look(session: str) -> bool:
    """Whether the session with that key is still one of a person who may see pages.

    It is not once they logged out or changed their password, when it expired, and when their role was taken. Raises
    django.db.Error where the database cannot be asked.
    """
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
    return at_least(get_user(request), Role.VIEWER)
