"""Runs model source in a confined process and collects what it left: data, never objects."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from federated_training.engines.keras import architecture
from federated_training.problems import FieldError
from federated_training.workshop.child import ChildLimits, ConfinedProcess
from mainstem.runtime.trees import remove_tree

_MAX_SOURCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceResult:
    """What a run of source left: untrusted text and a file, which goes with the guest's directory."""

    architecture: str
    compiled: dict[str, Any] | None
    weights: Path


class Guest:
    """One run of source; `result` waits for it, `remove` takes away its directory."""

    def __init__(self, source: Any, seed: int, directory: Path, limits: ChildLimits) -> None:
        """Start it in the main thread. Raises FieldError when the source is no text."""
        parts = {part: _text(source, part) for part in ("imports", "code")}
        if not parts["code"].strip():
            raise FieldError("source.code", "The source is empty; it must leave a Keras model in `model`.")
        self._directory = Path(tempfile.mkdtemp(prefix="guest-", dir=directory))
        (self._directory / "request.json").write_text(json.dumps({**parts, "seed": seed}), "utf-8")
        self._child = ConfinedProcess(
            "workshop.guest", [self._directory], limits, name="The source", field="source.code"
        )

    def result(self) -> SourceResult:
        """Wait, and collect what the source left; raises FieldError with the source's own error, or ours."""
        refusal = self._child.ended()
        if refusal is not None:
            raise refusal
        answer = self._answer()
        error = answer.get("error")
        if isinstance(error, dict):
            line = error.get("line")
            raise FieldError(
                str(error.get("field"))[:60], str(error.get("message"))[:1000], line if type(line) is int else None
            )
        text, compiled = answer.get("architecture"), answer.get("compile")
        if not isinstance(text, str):
            raise FieldError("source.code", "The source did not leave a model.")
        return SourceResult(text, compiled if isinstance(compiled, dict) else None, self._directory / "weights.npz")

    def remove(self) -> None:
        """End the source, if it has not ended, and remove its directory."""
        self._child.stop()
        remove_tree(self._directory)

    def _answer(self) -> dict[str, Any]:
        text = _read_plain(self._directory / "answer.json", 2 * architecture.MAX_BYTES)
        if text is None:
            if self._child.cannot_be_confined():
                raise FieldError("source", f"The source was not run: {self._child.tail()[-300:]}")
            raise FieldError("source.code", f"The source {self._child.how()} before it left a model.")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FieldError("source.code", "The source left something other than a model.") from error
        return answer if isinstance(answer, dict) else {}


def wants_guest(request: Mapping[str, Any]) -> bool:
    """Whether the request holds source to run."""
    return request.get("op") == "build" and request.get("kind") == "source"


def start_guest(request: Mapping[str, Any], directory: Path, limits: ChildLimits) -> Guest | FieldError:
    """Start the request's source, or say why not."""
    seed = request.get("seed", 0)
    try:
        return Guest(request.get("source"), seed if type(seed) is int and 0 <= seed < 1 << 32 else 0, directory, limits)
    except FieldError as error:
        return error


def _text(source: Any, part: str) -> str:
    value = source.get(part) or "" if isinstance(source, dict) else None
    if not isinstance(value, str):
        raise FieldError(f"source.{part}", f"source.{part} must be text.")
    if len(value) > _MAX_SOURCE or "\0" in value:
        raise FieldError(f"source.{part}", f"source.{part} must be at most {_MAX_SOURCE >> 20} MiB of plain text.")
    return value


def _read_plain(path: Path, limit: int) -> str | None:
    """The text of a plain file of at most `limit` bytes; None for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    try:
        return content.decode() if len(content) <= limit else None
    except UnicodeDecodeError:
        return None
