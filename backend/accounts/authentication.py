"""Tokens for programs: `Authorization: Token <key>`."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from backend.accounts.models import ApiToken, Scope, User

SEEN_EVERY = timedelta(minutes=5)
"""How exact `used_at` is: a write for every request would be too much."""


def words_of(request: Request | HttpRequest) -> list[bytes]:
    """Of the header."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    return header.encode("latin-1", "replace").split()


def carries_token(request: Request | HttpRequest) -> bool:
    """Whether it is a token, good or bad, by which the request asks: then no session counts."""
    return [word.lower() for word in words_of(request)[:1]] == [b"token"]


class TokenAuthentication(BaseAuthentication):
    """Looks the key's hash up; needs no CSRF token, since no browser sends the header by itself."""

    def authenticate(self, request: Request | HttpRequest) -> tuple[User, ApiToken] | None:
        """The token's user; None where the header is absent; raises AuthenticationFailed."""
        words = words_of(request)
        if not carries_token(request):
            return None
        if len(words) != 2:
            raise AuthenticationFailed("The Authorization header must read: Token <key>.")
        digest = ApiToken.hash(words[1].decode("latin-1"))
        token = ApiToken.objects.select_related("user").filter(digest=digest).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("The token is not known or its user is switched off.")
        if token.expired:
            raise AuthenticationFailed(f"The token expired at {token.expires_at:%Y-%m-%d %H:%M} UTC: make another one.")
        token.user.scope = Scope(token.scope)
        now = timezone.now()
        if token.used_at is None or now - token.used_at > SEEN_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes a missing login a 401."""
        return "Token"
