"""The password again, before what cannot be undone: pages ask for it, REST's tokens have their scope instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from rest_framework import status

from backend.accounts import login
from backend.accounts.authentication import carries_token
from backend.accounts.pages import viewers_only
from backend.accounts.roles import user_of
from backend.accounts.sessions import CONFIRMED
from backend.audit.recording import note
from backend.rest.problems import Problem, refuse
from backend.site.forms import Form, secret

GUARDED: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("model-detail", "deployment-detail", "topic-detail", "user-detail"), frozenset({"DELETE"})),
    "user-detail": frozenset({"PUT", "PATCH", "DELETE"}),
    **dict.fromkeys(
        ("user-list", "own-token-list", "session-end", "deployment-accept", "site-revoke", "enrolment-list"),
        frozenset({"POST"}),
    ),
    **dict.fromkeys(
        ("model-delete", "topic-delete", "user-new-page", "user-page", "user-delete", "account-token-new",
         "sessions-end", "site-revoke-page", "enrolment-new-page"),
        frozenset({"POST"}),
    ),
}  # fmt: skip
"""Addresses and methods: what deletes a model, a federation, a topic, a user, or gives up what a log has lost; what
makes or changes logins, a site's among them; what ends everybody's sessions, and what ends a site."""
GUARDED_ACTIONS: Final = frozenset({("deployment-act", "delete"), ("deployment-act", "accept")})


class StepUpMiddleware:
    """Asks a session whose password was given some time ago for it again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on: what it asks for is not known yet."""
        return self._next(request)

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        """To the page that asks for it, and from there back to where the button is; REST gets 403."""
        name = request.resolver_match.view_name if request.resolver_match is not None else ""
        guarded = request.method in GUARDED.get(name, ()) or (
            request.method == "POST" and (name, kwargs.get("action")) in GUARDED_ACTIONS
        )
        if not guarded or not request.user.is_authenticated or carries_token(request) or fresh(request):
            return None
        if request.path.startswith("/api/"):
            return refuse(request, 403, "Your password was given some time ago: give it again at /confirm/.")
        back = urlsplit(request.META.get("HTTP_REFERER", ""))._replace(scheme="", netloc="").geturl()
        return redirect(f"{resolve_url('confirm')}?{urlencode({'next': back or '/'})}")


def fresh(request: HttpRequest) -> bool:
    """Whether the session's password was given within MAINSTEM_STEP_UP_SECONDS."""
    given: float = request.session.get(CONFIRMED, 0.0)
    return time.time() - given < float(settings.STEP_UP_SECONDS)


class ConfirmForm(Form):
    """The password of who is logged in."""

    password = secret("Your password", known=True)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@viewers_only
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the password, and lead back."""
    form = ConfirmForm(request.POST or None)
    back = request.POST.get("next") or request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = "/"
    if form.is_bound and form.judged(lambda: _check(request, form)):
        request.session[CONFIRMED] = time.time()
        note("session.confirm", user_of(request))
        return redirect(back)
    context = {"form": form, "next": back, "minutes": max(1, settings.STEP_UP_SECONDS // 60)}
    return render(request, "accounts/confirm.html", context, status=form.status)


def _check(request: HttpRequest, form: ConfirmForm) -> bool:
    user = user_of(request)
    if login.check(request, user.get_username(), str(form.typed().get("password", ""))) != user:
        raise Problem(status.HTTP_400_BAD_REQUEST, "The password is wrong.", field="password")
    return True
