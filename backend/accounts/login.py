"""Checking a name and password, with guessing slowed down."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth import authenticate
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from backend.accounts.models import LoginFailure, User
from mainstem.errors import MainstemError

WIDER = 10
"""A name from all addresses, and an address over all names, may fail so many times more often."""


class TooManyFailuresError(MainstemError):
    """The name or address failed too often; `wait` is in seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__(f"Too many wrong passwords: try again in {wait // 60 + 1} minutes.")
        self.wait = wait


def check(request: HttpRequest, username: str, password: str) -> User | None:
    """The user of that name and password, or None; raises TooManyFailuresError before the password is looked at."""
    name, address = username.casefold()[:150], request.META.get("REMOTE_ADDR", "")[:64]
    window = timedelta(seconds=settings.LOGIN_WINDOW_SECONDS)
    recent = LoginFailure.objects.filter(at__gt=timezone.now() - window)
    limit = settings.LOGIN_FAILURES
    both = recent.filter(username=name, address=address)
    for failures, most in ((both, limit), (recent.filter(Q(username=name) | Q(address=address)), limit * WIDER)):
        times = list(failures.order_by("-at").values_list("at", flat=True)[:most])
        if len(times) == most:
            raise TooManyFailuresError(max(1, int((times[-1] + window - timezone.now()).total_seconds())))
    user = authenticate(request, username=username, password=password)
    if isinstance(user, User):
        both.delete()
        return user
    LoginFailure.objects.create(username=name, address=address)
    LoginFailure.objects.filter(at__lt=timezone.now() - window).delete()
    return None
