"""Sessions of people, outside of their requests."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from backend.accounts.roles import Role, at_least


def may_look(session: str) -> bool:
    """Whether the session with that key is still one of a person who may see pages.

    It is not once they logged out or changed their password, when it expired, and when their role was taken. Raises
    django.db.Error where the database cannot be asked.
    """
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
    return at_least(get_user(request), Role.VIEWER)
