"""Headers and limits that hold for every answer and request."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from backend.config.problems import refuse

Handler = Callable[[HttpRequest], HttpResponseBase]

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' data:"
)
"""No inline script or style anywhere; `data:` images are the API page's icons."""


class HeadersMiddleware:
    """Adds the content security policy and what Django's own middleware leaves out."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on and dress its answer."""
        response = self._next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class BodyLimitMiddleware:
    """Refuses a body by its announced length, before a byte of it is read."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 413 where the body is too long."""
        upload = (request.content_type or "") == "multipart/form-data"
        limit = settings.MAX_UPLOAD_BYTES if upload else settings.MAX_BODY_BYTES
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        if length > limit:
            return refuse(request, 413, f"The request has {length:,} bytes; at most {limit:,} are taken here.")
        return self._next(request)
