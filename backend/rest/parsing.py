"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

from backend.rest.strict_json import JsonError, json_value


class JsonParser(JSONParser):
    """Bodies of requests, as `json_value` takes them; always UTF-8 (RFC 8259, section 8.1)."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body's value; raises ParseError, ValidationError."""
        try:
            return json_value(stream.read().decode("utf-8"))
        except JsonError as error:
            if error.field:
                raise ValidationError({error.field: [str(error)]}) from error
            raise ParseError(str(error)) from error
        except UnicodeDecodeError as error:
            raise ParseError(f"This is not JSON: it is not UTF-8 at byte {error.start}.") from error
