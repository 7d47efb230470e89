"""Keeps whose request is being answered, and records what was refused to those who are logged in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from backend.audit import circumstances
from backend.audit.models import AuditEntry, Result
from backend.audit.recording import note

log = logging.getLogger(__name__)

REPEATED: Final = timedelta(minutes=1)
"""The same refusal, again and again, is recorded once in so long: a program in a loop fills no table."""
MOST_A_MINUTE: Final = 60
"""Refusals of one user's that are recorded in a minute."""


class AuditMiddleware:
    """Goes around whatever answers 403."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on."""
        with circumstances.answering(request):
            response = self._next(request)
            if response.status_code == 403:
                try:
                    _refused(request)
                except DatabaseError:
                    log.exception("a refusal could not be recorded")
            return response


def _refused(request: HttpRequest) -> None:
    """Of those without a login there is no end, and nothing to say: they are not recorded."""
    now = circumstances.now()
    if not now.who:
        return
    called = f"{request.method} {request.path}"
    recent = AuditEntry.objects.filter(who=now.who, action="call.refused", at__gt=timezone.now() - REPEATED)
    told = list(recent.values_list("object", "address")[:MOST_A_MINUTE])
    if len(told) < MOST_A_MINUTE and (called[:200], now.address[:64]) not in told:
        note("call.refused", (called, ""), Result.REFUSED)
