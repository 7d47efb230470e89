"""Files as answers, with an ETag so that nothing is sent twice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag

_Response = TypeVar("_Response", bound=HttpResponseBase)

OCTETS = "application/octet-stream"


def not_modified(request: HttpRequest, etag: str) -> HttpResponse | None:
    """304 where the client holds this content already, which the ETag names."""
    response = get_conditional_response(request, quote_etag(etag))
    return _dress(response, etag) if response is not None else None


def send(content: Path | bytes, name: str, etag: str, headers: Mapping[str, str] | None = None) -> HttpResponseBase:
    """The file as an attachment called `name`, with further headers."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    response = FileResponse(stream, as_attachment=True, filename=name, content_type=OCTETS)
    for header, value in (headers or {}).items():
        response.headers[header] = value
    return _dress(response, etag)


def csv_file(lines: Iterable[str], name: str) -> HttpResponseBase:
    """The lines as an attachment called `name`: streamed, so that a long one takes no memory."""
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _dress(response: _Response, etag: str) -> _Response:
    response.headers["ETag"] = quote_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
