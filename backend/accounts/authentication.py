"""Tokens for programs: `Authorization: Token <key>`."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from backend.accounts.models import ApiToken, User

SEEN_EVERY = timedelta(minutes=5)
"""How exact `used_at` is: a write for every request would be too much."""


class TokenAuthentication(BaseAuthentication):
    """Looks the key's hash up; needs no CSRF token, since no browser sends the header by itself."""

    def authenticate(self, request: Request | HttpRequest) -> tuple[User, ApiToken] | None:
        """The token's user; None where the header is absent; raises AuthenticationFailed."""
        words = request.META.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace").split()
        if not words or words[0].lower() != b"token":
            return None
        if len(words) != 2:
            raise AuthenticationFailed("The Authorization header must read: Token <key>.")
        digest = ApiToken.hash(words[1].decode("latin-1"))
        token = ApiToken.objects.select_related("user").filter(digest=digest).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("The token is not known or its user is switched off.")
        now = timezone.now()
        if token.used_at is None or now - token.used_at > SEEN_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes a missing login a 401."""
        return "Token"
