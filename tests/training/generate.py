"""Writes what Keras exports into `mainstem/jobs/compiling/keras.json` and `docs/keras.md`.

`python -m tests.training.generate`; a test says when they are not current.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from mainstem.jobs.compiling.specs import snake
from tests.training import keras_page

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "mainstem" / "jobs" / "compiling" / "keras.json"
PAGE = ROOT / "docs" / "keras.md"
BASES = {"losses": "Loss", "metrics": "Metric", "optimizers": "Optimizer"}


def table() -> dict[str, dict[str, dict[str, Any]]]:
    """Kind -> class -> its arguments, those that it cannot be made without, and the name that it gives itself."""
    import keras

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in BASES:
        module = getattr(keras, kind)
        exported = ((name, getattr(module, name)) for name in sorted(dir(module)))
        found[kind] = {name: _arguments(made) for name, made in exported if inspect.isclass(made)}
    return found


def _arguments(made: Any) -> dict[str, Any]:
    plain = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    parameters = [p for p in list(inspect.signature(made.__init__).parameters.values())[1:] if p.kind in plain]
    own = next((p.default for p in parameters if p.name == "name"), None)
    return {
        "arguments": [p.name for p in parameters],
        "required": [p.name for p in parameters if p.default is inspect.Parameter.empty],
        "name": own if isinstance(own, str) else snake(made.__name__),
    }


def text(found: dict[str, Any]) -> str:
    """The table as it stands in the file: a class a line."""
    kinds = []
    for kind, classes in found.items():
        lines = [f'    "{name}": {json.dumps(entry)}' for name, entry in classes.items()]
        kinds.append(f'  "{kind}": {{\n' + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


if __name__ == "__main__":
    TABLE.write_text(text(table()), "utf-8")
    PAGE.write_text(keras_page.page(PAGE.read_text("utf-8")), "utf-8")
