"""An error that names the field of a request which caused it."""

from __future__ import annotations

from mainstem.errors import MainstemError


class FieldError(MainstemError):
    """What a person gave is wrong: `field` says where (`template.params.units`), `line` in which line of source."""

    def __init__(self, field: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.line = line


def first_sentence(error: BaseException, limit: int = 400) -> str:
    """The gist of a library's error message: its first paragraph, on one line, at most `limit` characters."""
    text = str(error).strip().split("\n\n")[0]
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
