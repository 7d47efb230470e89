"""Who may send how long a body, and where: judged by its announced length, before a byte of it is read or stored.

Without a length there is no body to us: chunked ones are taken to be empty (as Django does).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.exceptions import AuthenticationFailed

from backend.accounts.authentication import TokenAuthentication
from backend.accounts.models import User
from backend.accounts.roles import Role, role_of
from backend.gate.arriving import SMALL_BYTES
from backend.rest.problems import refuse

ORDINARY_BYTES: Final = 1 << 20
LONG: Final = frozenset(
    {"ingest-control", "ingest-data", "version-predict", "model-list", "model-new-page", "model-check"}
)
"""Views that take bodies of MAINSTEM_MAX_BODY_BYTES; others take a MiB."""
FILES: Final = {
    **dict.fromkeys(("model-list", "model-new-page", "model-check"), "MAX_UPLOAD_BYTES"),
    **dict.fromkeys(("upload-list", "datasource-upload"), "MAX_DATA_BYTES"),
}
"""Views that take forms with files, and the setting that bounds them."""
SENDERS: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.LOGGER})
"""Whose bodies may be longer than SMALL_BYTES, which suffices for every login."""


class BodyMiddleware:
    """Goes before whatever reads a body: Django's check against CSRF does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on: who asks, and for what, is not known yet."""
        return self._next(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponse | None:
        """413 where the body is too long for the address, 401 or 403 where its sender may not send so much."""
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return None
        limit = _most(request)
        if length <= min(SMALL_BYTES, limit):
            return None
        try:
            role = role_of(sender) if (sender := _sender(request)) is not None else None
        except AuthenticationFailed as error:
            return _unknown(request, str(error.detail))
        if sender is None:
            return _unknown(request, f"The request has {length:,} bytes: to send so much, log in first.")
        if role not in SENDERS:
            return refuse(request, 403, "Your role does not allow this.")
        if length > limit:
            return refuse(request, 413, f"The request has {length:,} bytes; at most {limit:,} are taken here.")
        return None


def _most(request: HttpRequest) -> int:
    view = request.resolver_match.view_name if request.resolver_match is not None else ""
    if request.content_type == "multipart/form-data" and view in FILES:
        return int(getattr(settings, FILES[view]))
    return int(settings.MAX_BODY_BYTES if view in LONG else min(ORDINARY_BYTES, settings.MAX_BODY_BYTES))


def _sender(request: HttpRequest) -> User | None:
    """Whose session or token it is, as REST looks for them; raises AuthenticationFailed."""
    if request.path.startswith("/api/") and (found := TokenAuthentication().authenticate(request)) is not None:
        return found[0]
    return request.user if isinstance(request.user, User) else None


def _unknown(request: HttpRequest, detail: str) -> HttpResponse:
    answer = refuse(request, 401, detail)
    if request.path.startswith("/api/"):
        answer.headers["WWW-Authenticate"] = "Token"
    return answer
