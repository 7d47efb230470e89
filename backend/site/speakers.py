"""Where a request comes from."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from backend.gate import peers


def address_of(request: HttpRequest) -> str:
    """As far as it is known: see MAINSTEM_TRUSTED_PROXIES."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return peers.speaker(request.META.get("REMOTE_ADDR", ""), forwarded, settings.TRUSTED_PROXIES)
