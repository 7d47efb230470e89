"""Errors as RFC 9457 problem details for programs, and as a plain page for people."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import Error, IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import render
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from backend.project import database
from mainstem.errors import ConfigError, LogError, MainstemError, UnreadableError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_ORIGIN = re.compile(r"Origin checking failed - (https?://\S+) does not match")

_SLOW = "The request did not come to its end in time: send it again."


class Problem(exceptions.APIException):
    """An error with its status and, where a field is to blame, that field."""

    def __init__(
        self,
        status_code: int,
        detail: str,
        *,
        field: str | None = None,
        line: int | None = None,
        wait: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.wait = wait
        self.status_code = status_code
        self.field = field
        self.line = line


def body(status_code: int, detail: str, instance: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The problem's members."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status_code).phrase,
        "status": status_code,
        "detail": detail,
        "instance": instance,
        "errors": errors or [],
    }


def handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: every error that it is given becomes a problem."""
    translated = _translate(error)
    if translated is None:
        return None  # a fault of ours: Django logs it and calls handler500
    set_rollback()
    request = context.get("request")
    instance = request.path if request is not None else ""
    errors = _errors(translated)
    detail = errors[0]["message"] if isinstance(translated, exceptions.ValidationError) else str(translated.detail)
    if isinstance(translated, exceptions.ValidationError) and errors[0]["field"]:
        detail = f"{errors[0]['field']}: {detail}"
    response = Response(
        body(translated.status_code, detail, instance, errors), translated.status_code, content_type=MEDIA_TYPE
    )
    if header := getattr(translated, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(translated, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response


def described(error: Exception) -> tuple[int, list[dict[str, Any]]]:
    """The status, and each sentence with the `field` (empty: none) and the `line` to blame, as REST would answer.

    A fault of ours is raised again.
    """
    translated = _translate(error)
    if translated is None:
        raise error
    errors = _errors(translated) or [{"field": "", "message": str(translated.detail)}]
    return translated.status_code, errors


def _translate(error: Exception) -> exceptions.APIException | None:
    match error:
        case exceptions.PermissionDenied() if sentence := strange_origin(str(error.detail)):
            return exceptions.PermissionDenied(sentence)
        case exceptions.APIException():
            return error
        case Http404():
            return exceptions.NotFound("There is nothing at this address.")
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case RequestDataTooBig():
            return Problem(413, f"The request is too long; at most {settings.MAX_BODY_BYTES:,} bytes are taken here.")
        case UnreadablePostError():
            return Problem(status.HTTP_408_REQUEST_TIMEOUT, _SLOW)
        case UnreadableError():
            return Problem(status.HTTP_410_GONE, str(error))
        case LogError():
            return Problem(status.HTTP_503_SERVICE_UNAVAILABLE, f"Kafka does not do this now: {error}")
        case Error() if sentence := database.unavailable(error):
            log.error("the database cannot be used: %s", error, exc_info=error)
            return Problem(status.HTTP_503_SERVICE_UNAVAILABLE, sentence)
        case IntegrityError() if column := database.field_in_use(error):
            sentence = f"There is one with this {column} already: choose another."
            return Problem(status.HTTP_409_CONFLICT, sentence, field=column)
        case IntegrityError() if database.gone(error):
            return Problem(
                status.HTTP_409_CONFLICT, "Something that this needs was deleted meanwhile: look, and ask again."
            )
        case ConfigError():
            return Problem(status.HTTP_400_BAD_REQUEST, str(error), field=getattr(error, "field", None))
        case MainstemError():
            return Problem(status.HTTP_409_CONFLICT, str(error))
    return None


def _errors(error: exceptions.APIException) -> list[dict[str, Any]]:
    if isinstance(error, exceptions.ValidationError):
        return list(_flatten("", error.detail))
    if not isinstance(error, Problem) or error.field is None:
        return []
    entry: dict[str, Any] = {"field": error.field, "message": str(error.detail)}
    return [entry | ({"line": error.line} if error.line is not None else {})]


def _flatten(field: str, detail: Any) -> Iterator[dict[str, Any]]:
    """DRF's nested errors as (field, message), the field as a dotted path."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            plain = name == "non_field_errors"
            yield from _flatten(field if plain else f"{field}.{name}" if field else str(name), inner)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            if not nested or inner:
                yield from _flatten(f"{field}.{index}" if nested else field, inner)
    else:
        yield {"field": field, "message": str(detail)}


def refuse(request: HttpRequest, status_code: int, detail: str) -> HttpResponse:
    """An answer from outside DRF: a problem under /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        text = json.dumps(body(status_code, detail, request.path))
        return HttpResponse(text, status=status_code, content_type=MEDIA_TYPE)
    title = HTTPStatus(status_code).phrase
    try:
        return render(request, "problem.html", {"title": title, "detail": detail}, status=status_code)
    except Error:  # who asks stands in the database, too
        return HttpResponse(f"{title}: {detail}\n", "text/plain; charset=utf-8", status_code)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    return refuse(request, 400, "The request cannot be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    return refuse(request, 403, "Your role does not allow this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return refuse(request, 404, "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; the fault itself is in the log."""
    error = sys.exc_info()[1] or Exception()
    if isinstance(error, UnreadablePostError):
        return refuse(request, 408, _SLOW)
    if sentence := database.unavailable(error):
        return refuse(request, 503, sentence)
    return refuse(request, 500, "Mainstem met a fault of its own; its log has the details.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    if sentence := strange_origin(reason):
        return refuse(request, 403, sentence)
    return refuse(request, 403, "The form is no longer valid: reload the page and send it again.")


def strange_origin(reason: str) -> str:
    """What Django says of a form that comes from an address which is not the server's, with the settings that mend it.

    Empty where it says something else.
    """
    found = _ORIGIN.search(reason)
    if found is None:
        return ""
    mend = "MAINSTEM_TRUSTED_ORIGINS must name it"
    if found[1].startswith("https:") and not settings.HTTPS:
        mend = f"the proxy must send X-Forwarded-Proto and MAINSTEM_HTTPS be true, or {mend}"
    return (
        f"This was sent from {found[1][:200]}, which this server does not know as its own address. "
        f"Where that is a proxy before it, {mend}; it is for whoever runs it to set."
    )
