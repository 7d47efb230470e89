"""Who acts now, by which means, from where: kept while a request is answered or a command runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from django.http import HttpRequest

from backend.audit.models import Means
from backend.site.speakers import address_of

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_command: ContextVar[str] = ContextVar("command", default="")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`token` is its number and name; never its key."""

    who: str
    by: Means
    token: str = ""
    address: str = ""


@contextlib.contextmanager
def answering(request: HttpRequest) -> Iterator[None]:
    """What happens meanwhile is done by whose request this is."""
    outer = _request.set(request)
    try:
        yield
    finally:
        _request.reset(outer)


@contextlib.contextmanager
def commanded(name: str) -> Iterator[None]:
    """What happens meanwhile is done by a command of that name."""
    outer = _command.set(name)
    try:
        yield
    finally:
        _command.reset(outer)


def now() -> Circumstances:
    """Of this moment. REST knows whose token it is only when a view begins, so it is asked for late."""
    request = _request.get()
    if request is None:
        command = _command.get()
        return Circumstances(command or "platform", Means.COMMAND if command else Means.PLATFORM)
    user, token = getattr(request, "user", None), getattr(request, "auth", None)
    who = user.get_username() if user is not None else ""
    if token is not None:
        return Circumstances(who, Means.TOKEN, f"#{token.pk} {token.name}".strip(), address_of(request))
    return Circumstances(who, Means.SESSION if who else Means.PASSWORD, "", address_of(request))
