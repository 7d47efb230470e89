"""An error that names the field of a request which caused it; and what a library's error says, as one sentence."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from mainstem.errors import MainstemError

_NOISE: Final = re.compile(r"\x1b\[\d+m|\{\{function_node [^}]*\}\}|\[\[\{\{node [^}]*\}\}\]\]|\[Op:[^\]]*\]")
_FRAME: Final = re.compile(r'File ".*", line \d+, in |Detected at node |Graph execution error|Stack trace for op')
_NODE: Final = re.compile(r"(?:Detected at node ['\"]?|\{\{node )([^\s'\"}]+)")
_ROOT: Final = re.compile(r"\(0\) [A-Z_]+: +(.*)")


class FieldError(MainstemError):
    """What a person gave is wrong: `field` says where (`template.params.units`), `line` in which line of source."""

    def __init__(self, field: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.line = line

    def answer(self) -> dict[str, object]:
        """The error as the workshop answers it: where, what, and in which line."""
        return {"ok": False, "error": {"field": self.field, "message": self.message, "line": self.line}}


def first_sentence(error: BaseException, limit: int = 400) -> str:
    """The gist of a library's error message: its first paragraph, on one line, at most `limit` characters.

    Of an error in a graph of TensorFlow's it is what the operation objected to, which comes after the program's stack.
    """
    text = str(error).strip()
    if text.startswith("Graph execution error"):
        lines = [line for line in text.splitlines() if not _FRAME.match(line.strip())]
        text = "\n".join(lines).strip()
        root = _ROOT.search(text)
        text = root[1] if root else text
    text = _NOISE.sub("", text.split("\n\n")[0])
    # TensorFlow goes on to list a batch's labels, which are nobody's business.
    text = " ".join(text.split("Label values:")[0].split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cause(error: BaseException, layers: Collection[str] = ()) -> str:
    """The gist of what a layer objected to, and which of `layers` it was, or the loss, where the error tells.

    Keras wraps it in messages that repeat the whole config.
    """
    place = ""
    inner: BaseException | None = error
    while inner is not None:
        place = _place(str(inner), layers) or place
        error, inner = inner, inner.__cause__ or inner.__context__
    text = first_sentence(error)
    return f"{text} (in {place})" if place and place not in text else text


def _place(text: str, layers: Collection[str]) -> str:
    """The innermost of `layers` in the path of the graph's node that failed."""
    node = _NODE.search(text)
    scopes = node[1].split("/")[:-1] if node else []
    for scope in reversed(scopes):
        # A scope that is entered again is numbered: `embedding` becomes `embedding_1`.
        for name in (re.sub(r"_\d+$", "", scope), scope):
            if name in layers:
                return f"the layer {name!r}"
    return "the loss" if "compile_loss" in scopes else ""
