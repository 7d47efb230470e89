"""A printed command against the parser of its program: for what is not run here, and for commands within sentences."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import os
import re

from inject_scripts import inject_dummy_training_data, inject_files
from mainstem.cli.main import parser
from tests.docs.blocks import ROOT

OURS = ("run.sh", "test.sh", "build.sh", "port_fwd.sh", "kustomize/make-secrets.sh")
SCRIPTS = {"inject_dummy_training_data.py": inject_dummy_training_data, "inject_files.py": inject_files}


def fault(words: list[str]) -> str | None:
    """What is wrong with a command, in a sentence; None where its program would take it, or is none of ours."""
    program, arguments = words[0], words[1:]
    name = program.removeprefix("./")
    if program in ("mainstem", ".venv/bin/mainstem"):
        return _mainstem(arguments)
    if name in OURS:
        if not os.access(ROOT / name, os.X_OK):
            return f"{name} cannot be run"
        return _mainstem(["up", *arguments]) if name == "run.sh" else _options(name, arguments)
    if re.fullmatch(r"(\.venv/bin/)?python3?", program):
        return _python(arguments)
    if program == "kubectl":
        return _kubectl(arguments)
    return None


def _mainstem(arguments: list[str]) -> str | None:
    if not arguments or "..." in arguments:
        return None
    if arguments[0] == "inject" and "--script" not in arguments:
        return _taken(lambda: inject_dummy_training_data._options(arguments[1:]))
    return _taken(lambda: parser().parse_args(arguments))


def _python(arguments: list[str]) -> str | None:
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        return None if _is_module(arguments[1]) else f"there is no module {arguments[1]}"
    if not arguments or arguments[0].startswith("-"):
        return None
    if not (ROOT / arguments[0]).is_file():
        return f"there is no file {arguments[0]}"
    script = SCRIPTS.get(os.path.basename(arguments[0]))
    return _taken(lambda: script._options(arguments[1:])) if script else None


def _kubectl(arguments: list[str]) -> str | None:
    for option, value in itertools.pairwise(arguments):
        if option in ("-k", "-f") and arguments[0] == "apply" and value != "-" and not (ROOT / value).exists():
            return f"there is no {value}"
    return None


def _options(name: str, arguments: list[str]) -> str | None:
    """A shell script's own options stand in its text."""
    text = (ROOT / name).read_text("utf-8")
    options = [word for word in arguments if word.startswith("--") and word != "--"]
    missing = [option for option in options if option not in text]
    return f"{name} does not know {missing[0]}" if missing else None


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _taken(parse: object) -> str | None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parse()  # type: ignore[operator]
    except (SystemExit, argparse.ArgumentError) as error:
        if getattr(error, "code", 1) not in (0, None):
            return said.getvalue().strip().rpartition("\n")[2]
    return None
