"""Headers and limits that hold for every answer and request."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode

from backend.rest.problems import refuse

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


class AddressMiddleware:
    """Refuses addresses that no database can seek."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 400 where the address holds a NUL."""
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return refuse(request, 400, "The address holds a NUL (%00), and nothing is called so: leave it out.")
        return self._next(request)


class CompressionMiddleware(GZipMiddleware):
    """Compresses text; a stream of events must not wait in a compressor, and a model's bytes gain nothing."""

    TEXT = ("text/html", "text/css", "text/plain", "text/csv", "text/javascript", "application/json", "image/svg+xml")

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """As Django's, for the types above only."""
        if response.headers.get("Content-Type", "").partition(";")[0] not in self.TEXT:
            return response
        return super().process_response(request, response)


class FragmentMiddleware:
    """Fragments of pages: htmx asks for them at the page's own address, so every page's answer says what it varies by.

    A fragment that was asked for after the session ended sends the whole page to the login, and back here after.
    """

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Turn a redirect to the login page into one that htmx follows with the whole page."""
        response = self._next(request)
        if request.path.startswith("/api/"):
            return response
        login = resolve_url(settings.LOGIN_URL)
        if request.headers.get("HX-Request") and response.headers.get("Location", "").startswith(login):
            there = urlsplit(request.headers.get("HX-Current-URL", "/"))
            back = urlencode({"next": there._replace(scheme="", netloc="").geturl()})
            response = HttpResponse(status=204, headers={"HX-Redirect": f"{login}?{back}"})
            patch_vary_headers(response, ("HX-Current-URL",))
        patch_vary_headers(response, ("HX-Request",))
        return response


class LandingMiddleware:
    """An address that only takes forms leads to the page above it: a login sends people back to where they were."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Turn a 405 for reading a page into a redirect to the next address above that exists."""
        response = self._next(request)
        if response.status_code != 405 or request.method != "GET" or request.path.startswith("/api/"):
            return response
        path = request.path
        while path != "/":
            path = path.rstrip("/").rpartition("/")[0] + "/"
            with contextlib.suppress(Resolver404):
                resolve(path)
                break
        return HttpResponseRedirect(path)
