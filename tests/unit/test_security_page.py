"""What `docs/security.md` claims of the whole code, and that the tests it names are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("mainstem", "backend", "federated_training", "inject_scripts", "control_logger", "data_control_logger")
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CONFINED = "federated_training/workshop/guest.py"
"""What runs the source that people give, where it can do no harm."""


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of every module, with the module's path."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield path.relative_to(ROOT).as_posix(), node


def imported(node: ast.AST) -> set[str]:
    """The top-level modules that a statement imports."""
    match node:
        case ast.Import():
            return {alias.name.partition(".")[0] for alias in node.names}
        case ast.ImportFrom():
            return {(node.module or "").partition(".")[0]}
        case _:
            return set()


def test_nothing_unpickles_or_runs_what_was_given() -> None:
    """No module imports an unpickler, opens arrays of objects, or runs text as code but in the confined process."""
    seen = 0
    for path, node in nodes():
        assert not imported(node) & UNSAFE, path
        if not isinstance(node, ast.Call):
            continue
        seen += 1
        name = ast.unparse(node.func)
        assert name not in ("eval", "exec", "compile", "builtins.eval", "builtins.exec") or path == CONFINED, path
        if name in ("np.load", "numpy.load"):
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert words.get("allow_pickle") == "False", path
    assert seen > 1000


def test_the_tests_that_the_page_names_are_there() -> None:
    """A protection without a test is not on the page."""
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"\btest_\w+\.py", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 10 and set(named) <= files
