"""Files as answers, with an ETag so that nothing is sent twice."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypeVar

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag

_Response = TypeVar("_Response", bound=HttpResponseBase)

OCTETS = "application/octet-stream"


def not_modified(request: HttpRequest, etag: str) -> HttpResponse | None:
    """304 where the client holds this content already, which the ETag names."""
    response = get_conditional_response(request, quote_etag(etag))
    return _dress(response, etag) if response is not None else None


def send(content: Path | bytes, name: str, etag: str) -> HttpResponseBase:
    """The file as an attachment called `name`."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    response = FileResponse(stream, as_attachment=True, filename=name, content_type=OCTETS)
    return _dress(response, etag)


def _dress(response: _Response, etag: str) -> _Response:
    response.headers["ETag"] = quote_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
